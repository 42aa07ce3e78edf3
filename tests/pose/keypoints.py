"""Random people and predictions of them, in COCO's form and in that of a metric."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from omma.structures import DataInfo, Prediction, Target
from omma_pose.datasets.skeletons import COCO

INFO = DataInfo(("person",), skeleton=COCO)


def crowd_of_people(
    images: int, seed: int, count: int = 17
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Annotations and results: near, far off and of nobody; equal scores, crowds, nobody's points."""
    rng = np.random.default_rng(seed)
    annotations, results = [], []
    for image in range(images):
        for _ in range(int(rng.integers(0, 6))):
            size = rng.uniform(20, 250, 2)
            corner = rng.uniform(0, 300, 2)
            places = corner + rng.random((count, 2)) * size
            seen = rng.integers(0, 3, count) * int(rng.random() > 0.1)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image,
                    "category_id": 1,
                    "bbox": [*corner, *size],
                    "area": float(size.prod() * 0.6),
                    "iscrowd": int(rng.random() < 0.1),
                    "num_keypoints": int((seen > 0).sum()),
                    "keypoints": np.concatenate([places, seen[:, None]], 1).ravel().tolist(),
                }
            )
            for _ in range(int(rng.integers(0, 3))):
                noise = rng.normal(0, size.mean() * rng.choice([0.01, 0.05, 0.2]), (count, 2))
                results.append(result(image, places + noise, round(float(rng.random()), 1)))
        for _ in range(int(rng.integers(0, 25)) if image % 7 == 0 else 0):
            results.append(result(image, rng.uniform(0, 400, (count, 2)), round(float(rng.random()), 1)))
    return annotations, results


def result(image: int, places: np.ndarray, score: float) -> dict[str, Any]:
    triples = np.concatenate([places, np.ones((len(places), 1))], 1).astype(np.float32).astype(np.float64)
    return {"image_id": image, "category_id": 1, "keypoints": triples.ravel().tolist(), "score": score}


def referee(
    annotations: list[dict[str, Any]],
    results: list[dict[str, Any]],
    images: int,
    *,
    sigmas: Sequence[float] = COCO.spreads,
    judged: Sequence[int] | None = None,
) -> np.ndarray:
    """The ten numbers of pycocotools, of all images or of those ``judged``."""
    from pycocotools.coco import COCO as Coco
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        truth = Coco()
        truth.dataset = {
            "images": [{"id": image} for image in range(images)],
            "annotations": annotations,
            "categories": [{"id": 1, "name": "person"}],
        }
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes([dict(r) for r in results]), "keypoints")
        evaluation.params.kpt_oks_sigmas = np.array(sigmas)
        if judged is not None:
            evaluation.params.imgIds = list(judged)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats


def part_of(records: list[dict[str, Any]], places: Sequence[int]) -> list[dict[str, Any]]:
    """Annotations or results with some of the key points alone."""
    found = []
    for record in records:
        triples = np.array(record["keypoints"]).reshape(-1, 3)[list(places)]
        labelled = int((triples[:, 2] > 0).sum())
        found.append({**record, "keypoints": triples.ravel().tolist(), "num_keypoints": labelled})
    return found


def targets_of(annotations: list[dict[str, Any]], images: int, count: int = 17) -> list[Target]:
    """One target for each image, with all that is in it."""
    found = []
    for image in range(images):
        own = [a for a in annotations if a["image_id"] == image]
        triples = torch.tensor([a["keypoints"] for a in own], dtype=torch.float64).reshape(-1, count, 3)
        boxes = torch.tensor([a["bbox"] for a in own], dtype=torch.float64).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        found.append(
            Target(
                index=image,
                id=image,
                path=f"{image}.jpg",
                height=480,
                width=640,
                boxes=boxes,
                labels=torch.zeros(len(own), dtype=torch.int64),
                crowd=torch.tensor([bool(a["iscrowd"]) for a in own], dtype=torch.bool),
                area=torch.tensor([a["area"] for a in own], dtype=torch.float64),
                keypoints=triples[..., :2],
                visibility=triples[..., 2].to(torch.uint8),
            )
        )
    return found


def predictions_of(results: list[dict[str, Any]], images: int, count: int = 17) -> list[Prediction]:
    """One prediction for each image, whose boxes have the scores."""
    found = []
    for image in range(images):
        own = [r for r in results if r["image_id"] == image]
        places = torch.tensor([r["keypoints"] for r in own], dtype=torch.float64).reshape(-1, count, 3)
        found.append(
            Prediction(
                keypoints=places[..., :2],
                keypoint_scores=torch.ones(len(own), count),
                boxes=torch.zeros(len(own), 4),
                scores=torch.tensor([r["score"] for r in own], dtype=torch.float64),
                labels=torch.zeros(len(own), dtype=torch.int64),
                areas=torch.full((len(own),), 1e4),
            )
        )
    return found
