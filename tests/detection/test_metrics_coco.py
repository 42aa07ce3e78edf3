"""COCO numbers against pycocotools and the numbers that were published for its example results."""

from __future__ import annotations

import contextlib
import io
import json
import math
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from omma.errors import DataError
from omma.structures import DataInfo, Prediction, Target
from omma_detection.metrics import CocoMetric

from .detections import judged, prediction, random_pairs, target

NAMES = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")
# Of faster_coco_eval's tests (Apache-2.0), for the example results of the COCO API.
PUBLISHED = {
    "box": (
        *(0.5045806987249628, 0.6969727247299577, 0.5729816669904824, 0.5856257209410443),
        *(0.5193996948036719, 0.5013978986347466, 0.38681277964578054, 0.5936795762842003),
        *(0.595352982877607, 0.6398109626113442, 0.5664205978994309, 0.5642905982905982),
    ),
    "mask": (
        *(0.3195452758576433, 0.5622883972521636, 0.29892653412086784, 0.3873740315997838),
        *(0.31018272403369485, 0.3269339071005138, 0.2682297225711534, 0.41544868114906375),
        *(0.4168394992198818, 0.4694498622754236, 0.37675922666197265, 0.3814715099715099),
    ),
}


def xyxy(boxes: list) -> torch.Tensor:
    corners = torch.tensor(np.array(boxes), dtype=torch.float32).reshape(-1, 4)
    corners[:, 2:] += corners[:, :2]
    return corners


def example(folder: Path, kind: str) -> tuple[list[Prediction], list[Target], tuple[str, ...]]:
    """The COCO API's example results, through the structures that models and data sets give."""
    truth = json.loads((folder / "instances_val2014_100.json").read_text())
    short = {"box": "bbox", "mask": "segm"}[kind]
    results = json.loads((folder / f"instances_val2014_fake{short}100_results.json").read_text())
    categories = sorted(truth["categories"], key=lambda category: category["id"])
    label = {category["id"]: i for i, category in enumerate(categories)}
    predictions, targets = [], []
    for index, image in enumerate(truth["images"]):
        found = [each for each in results if each["image_id"] == image["id"]]
        there = [each for each in truth["annotations"] if each["image_id"] == image["id"]]
        boxes = [f["bbox"] if kind == "box" else coco_mask.toBbox(f["segmentation"]) for f in found]
        guess = Prediction(
            boxes=xyxy(boxes),
            scores=torch.tensor([each["score"] for each in found]),
            labels=torch.tensor([label[each["category_id"]] for each in found], dtype=torch.int64),
        )
        if kind == "mask":
            masks = np.zeros((len(found), image["height"], image["width"]), dtype=bool)
            for mask, each in zip(masks, found):
                mask[:] = coco_mask.decode(each["segmentation"])
            guess["masks"] = torch.from_numpy(masks)
        predictions.append(guess)
        targets.append(
            Target(
                index=index,
                id=image["id"],
                path=image["file_name"],
                height=image["height"],
                width=image["width"],
                boxes=xyxy([each["bbox"] for each in there]),
                labels=torch.tensor([label[each["category_id"]] for each in there], dtype=torch.int64),
                crowd=torch.tensor([bool(each["iscrowd"]) for each in there]),
                area=torch.tensor([each["area"] for each in there]),
                segmentations=[each["segmentation"] for each in there],
            )
        )
    return predictions, targets, tuple(category["name"] for category in categories)


@pytest.mark.parametrize("backend", ["faster", "pycocotools"])
@pytest.mark.parametrize("kind", ["box", "mask"])
def test_the_numbers_of_the_coco_api_s_example(shared_data: Path, kind: str, backend: str):
    predictions, targets, classes = example(shared_data / "cocoeval", kind)
    metric = CocoMetric(kinds=(kind,), backend=backend)
    metric.start(DataInfo(classes))
    metric.update(predictions, targets)
    values = metric.compute()
    assert list(values) == [f"{kind}/{name}" for name in NAMES]
    assert list(values.values()) == pytest.approx(PUBLISHED[kind], abs=1e-6)


def referee(pairs: list, classes: int) -> list[float]:
    """pycocotools, fed by hand."""
    annotations, results = [], []
    for guess, truth in pairs:
        for (x1, y1, x2, y2), label, crowd in zip(truth["boxes"].tolist(), truth["labels"], truth["crowd"]):
            one = {"bbox": [x1, y1, x2 - x1, y2 - y1], "area": (x2 - x1) * (y2 - y1), "iscrowd": int(crowd)}
            one |= {"id": len(annotations) + 1, "image_id": truth["index"], "category_id": int(label)}
            annotations.append(one)
        for (x1, y1, x2, y2), label, score in zip(guess["boxes"].tolist(), guess["labels"], guess["scores"]):
            one = {"bbox": [x1, y1, x2 - x1, y2 - y1], "score": float(score)}
            results.append(one | {"image_id": truth["index"], "category_id": int(label)})
    api = COCO()
    api.dataset = {
        "images": [{"id": truth["index"], "height": 512, "width": 512} for _, truth in pairs],
        "categories": [{"id": label} for label in range(classes)],
        "annotations": annotations,
    }
    with contextlib.redirect_stdout(io.StringIO()):
        api.createIndex()
        evaluator = COCOeval(api, api.loadRes(results), "bbox")
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    return [math.nan if value == -1 else value for value in evaluator.stats]


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**20))
def test_random_detections_with_crowds_and_ties_get_pycocotools_s_numbers(seed: int):
    pairs = random_pairs(seed)
    if not any(len(guess["boxes"]) for guess, _ in pairs):
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        values = judged(CocoMetric(), pairs, ("a", "b", "c")).compute()
    assert list(values.values()) == pytest.approx(referee(pairs, 3), abs=1e-6, nan_ok=True)


def test_the_order_of_updates_changes_nothing():
    pairs = random_pairs(5)
    forward = judged(CocoMetric(), pairs, ("a", "b", "c")).compute()
    backward = judged(CocoMetric(), pairs[::-1], ("a", "b", "c")).compute()
    assert forward == pytest.approx(backward, nan_ok=True)


def test_an_image_seen_twice_counts_once():
    pairs = random_pairs(5)
    once = judged(CocoMetric(), pairs, ("a", "b", "c")).compute()
    twice = judged(CocoMetric(), [*pairs, *pairs[:3]], ("a", "b", "c")).compute()
    assert once == pytest.approx(twice, nan_ok=True)


def test_without_ground_truth_the_numbers_are_nan_and_a_warning_says_why():
    metric = judged(CocoMetric(), [(prediction([[0, 0, 9, 9]], [0.9], [0]), target(0))], ("a",))
    with pytest.warns(UserWarning, match="has an object.*undefined"):
        values = metric.compute()
    assert all(map(math.isnan, values.values()))


def test_without_any_image_the_numbers_are_nan_and_a_warning_says_why():
    with pytest.warns(UserWarning, match="no image was evaluated"):
        values = judged(CocoMetric(), [], ("a",)).compute()
    assert all(map(math.isnan, values.values()))


def test_without_predictions_ap_is_zero_and_a_warning_says_why():
    metric = judged(CocoMetric(), [(prediction(), target(0, [[0, 0, 50, 50]], [0]))], ("a",))
    with pytest.warns(UserWarning, match="predicts nothing"):
        assert metric.compute()["box/AP"] == 0


def test_classes_in_another_order_are_pointed_out():
    pairs = [(prediction([[0, 0, 50, 50]], [0.9], [1]), target(0, [[0, 0, 50, 50]], [0]))]
    with pytest.warns(UserWarning, match=r"no predicted class \(dog\).*ground truth \(cat\).*same order"):
        judged(CocoMetric(), pairs, ("cat", "dog")).compute()


def test_a_class_without_objects_does_not_lower_the_mean():
    box = [[10, 10, 60, 60]]
    pairs = [(prediction(box, [0.9], [0]), target(0, box, [0]))]
    assert judged(CocoMetric(), pairs, ("a", "b")).compute()["box/AP"] == pytest.approx(1)


@pytest.mark.parametrize("owner", ["the model predicts", "the data set has"])
def test_a_label_without_a_class_is_an_error(owner: str):
    wrong, right = [7], [0]
    guess, truth = (wrong, right) if owner.startswith("the model") else (right, wrong)
    pairs = [(prediction([[0, 0, 9, 9]], [0.9], guess), target(0, [[0, 0, 9, 9]], truth))]
    with pytest.raises(DataError, match=f"0.jpg: {owner} label 7, but there are 2 classes"):
        judged(CocoMetric(), pairs, ("a", "b")).compute()


def test_mask_ap_of_a_model_without_masks_is_an_error():
    with pytest.raises(DataError, match=r"predicts none.*kinds"):
        judged(CocoMetric(kinds=("mask",)), [(prediction(), target(0))], ("a",))


def test_mask_ap_without_annotated_masks_is_an_error():
    pairs = [(prediction(masks=np.zeros((0, 100, 100), bool)), target(0, [[0, 0, 9, 9]], [0]))]
    with pytest.raises(DataError, match="annotations have no masks"):
        judged(CocoMetric(kinds=("mask",)), pairs, ("a",))


def test_more_than_255_masks_in_one_image_are_judged():
    masks = np.zeros((300, 100, 100), bool)
    masks[:, :50, :50] = True
    truth = target(0, [[0, 0, 50, 50]], [0])
    truth["segmentations"] = [[[0, 0, 50, 0, 50, 50, 0, 50]]]
    guess = prediction([[0, 0, 50, 50]] * 300, np.linspace(1, 0.1, 300), [0] * 300, masks)
    values = judged(CocoMetric(kinds=("mask",)), [(guess, truth)], ("a",)).compute()
    assert values["mask/AP"] == pytest.approx(1)


def test_a_box_that_is_not_finite_is_an_error():
    with pytest.raises(DataError, match="not finite"):
        judged(CocoMetric(), [(prediction([[0, 0, math.nan, 9]], [0.9], [0]), target(0))], ("a",))


def test_the_class_table_has_ap_and_counts():
    pairs = [(prediction([[0, 0, 50, 50]] * 2, [0.9, 0.8], [0, 0]), target(0, [[0, 0, 50, 50]], [0]))]
    table = judged(CocoMetric(), pairs, ("a", "b")).report().tables[0]
    assert table.columns == ["class", "AP", "AP50", "AP75", "AR100", "objects", "predictions"]
    assert table.rows[0] == [
        "a",
        pytest.approx(1),
        pytest.approx(1),
        pytest.approx(1),
        pytest.approx(1),
        1,
        2,
    ]
    assert table.rows[1][0] == "b"
    assert math.isnan(table.rows[1][1])


def test_the_report_after_another_update_is_not_of_the_old_numbers():
    box = [[0, 0, 50, 50]]
    metric = judged(CocoMetric(), [(prediction(box, [0.9], [0]), target(0, box, [0]))], ("a",))
    metric.compute()
    metric.update([prediction()], [target(1, box, [0])])
    assert metric.report().tables[0].rows[0][5] == 2
    assert metric.report().tables[0].rows[0][1] < 0.9


@pytest.mark.parametrize("limits", [(), (10, 1), (0, 1)])
def test_limits_that_do_not_rise_are_refused(limits: tuple[int, ...]):
    with pytest.raises(ValueError, match="rising"):
        CocoMetric(max_detections=limits)
