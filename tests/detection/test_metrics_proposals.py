"""Class-agnostic recall against pycocotools' own class-agnostic mode."""

from __future__ import annotations

import contextlib
import io

import pytest
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from omma_detection.metrics import ProposalMetric

from .detections import judged, prediction, random_pairs, target


def referee(pairs: list, limits: list[int]) -> COCOeval:
    images, objects, results = [], [], []
    for guess, truth in pairs:
        image = truth["index"] + 1
        images.append({"id": image, "height": truth["height"], "width": truth["width"]})
        for box, label, crowd, area in zip(truth["boxes"], truth["labels"], truth["crowd"], truth["area"]):
            x, y, right, bottom = box.double().tolist()
            objects.append(
                {
                    "id": len(objects) + 1,
                    "image_id": image,
                    "category_id": int(label) + 1,
                    "bbox": [x, y, right - x, bottom - y],
                    "area": float(area),
                    "iscrowd": int(crowd),
                }
            )
        for box, label, score in zip(guess["boxes"], guess["labels"], guess["scores"]):
            x, y, right, bottom = box.double().tolist()
            results.append(
                {
                    "image_id": image,
                    "category_id": int(label) + 1,
                    "bbox": [x, y, right - x, bottom - y],
                    "score": float(score),
                }
            )
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = {
            "images": images,
            "annotations": objects,
            "categories": [{"id": i, "name": str(i)} for i in (1, 2, 3)],
        }
        truth.createIndex()
        judge = COCOeval(truth, truth.loadRes(results), "bbox")
        judge.params.useCats = 0
        judge.params.maxDets = limits
        judge.evaluate()
        judge.accumulate()
    return judge


def by_label(record: dict) -> dict:
    order = record["labels"].argsort(stable=True)
    return {key: value[order] if isinstance(value, torch.Tensor) else value for key, value in record.items()}


@pytest.mark.parametrize("seed", range(3))
def test_recall_is_that_of_pycocotools_without_categories(seed: int):
    # pycocotools ranks equal scores by category first, so what an image has comes in that order here.
    pairs = [(by_label(guess), by_label(truth)) for guess, truth in random_pairs(seed)]
    limits = [1, 3, 100]
    values = judged(ProposalMetric(max_detections=(1, 3, 100)), pairs, ("a", "b", "c")).compute()
    recall = referee(pairs, limits).eval["recall"]  # (IoU, class, area, limit)
    for i, limit in enumerate(limits):
        assert values[f"box/AR{limit}"] == pytest.approx(recall[:, 0, 0, i].mean(), abs=1e-6)


def test_a_proposal_of_any_label_finds_an_object():
    box = [[10, 10, 60, 60]]
    pairs = [(prediction(box, [0.9], [0]), target(0, box, [1]))]
    assert judged(ProposalMetric(), pairs, ("a", "b")).compute()["box/AR1000"] == pytest.approx(1)
