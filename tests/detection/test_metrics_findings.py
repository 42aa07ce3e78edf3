"""Confusions and worst images, on scenes whose answer is known by hand."""

from __future__ import annotations

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from torchvision.ops import box_iou

from omma.ops import decode_masks
from omma_detection.metrics import CocoMetric
from omma_detection.metrics.findings import overlaps
from omma_detection.metrics.rle import encode_segmentation, json_rle

from .detections import judged, prediction, random_pairs, target

CAT, DOG = 0, 1
LEFT, RIGHT, BELOW = [0, 0, 40, 40], [50, 0, 90, 40], [0, 50, 40, 90]


def report(guess, truth):
    return judged(CocoMetric(), [(guess, truth)], ("cat", "dog")).report()


def test_confusion_has_matches_mistakes_misses_and_false_alarms():
    truth = target(0, [LEFT, RIGHT, BELOW], [CAT, CAT, DOG])
    guess = prediction([LEFT, RIGHT, [60, 60, 95, 95]], [0.9, 0.8, 0.7], [CAT, DOG, DOG])
    matrix = report(guess, truth).matrices[0]
    assert matrix.rows == ["cat", "dog", "background"]
    assert matrix.values == [[1, 1, 0], [0, 0, 1], [0, 1, 0]]


def test_low_scores_are_left_out_of_the_confusion():
    matrix = report(prediction([LEFT], [0.29], [CAT]), target(0, [LEFT], [CAT])).matrices[0]
    assert matrix.values == [[0, 0, 1], [0, 0, 0], [0, 0, 0]]


def test_the_right_class_is_preferred_to_the_larger_overlap():
    guess = prediction([LEFT, [0, 0, 40, 38]], [0.9, 0.8], [DOG, CAT])
    matrix = report(guess, target(0, [LEFT], [CAT])).matrices[0]
    assert matrix.values == [[1, 0, 0], [0, 0, 0], [0, 1, 0]]


def test_detections_inside_a_crowd_are_no_false_alarms():
    guess = prediction([[5, 5, 15, 15], [20, 20, 30, 30]], [0.9, 0.8], [CAT, DOG])
    found = report(guess, target(0, [LEFT], [CAT], crowd=[True]))
    assert np.sum(found.matrices[0].values) == 0
    assert found.rankings[0].entries == []


def test_badness_is_misses_plus_scores_of_wrong_predictions():
    truth = target(3, [LEFT, RIGHT], [CAT, CAT])
    guess = prediction([LEFT, [60, 60, 95, 95]], [0.9, 0.75], [CAT, DOG])
    ((position, badness, text),) = report(guess, truth).rankings[0].entries
    assert (position, badness) == (3, pytest.approx(1.75))
    assert text == "3.jpg: 1 missed (cat); 1 false (dog)"


def test_the_worst_image_comes_first_and_faultless_ones_are_left_out():
    right = (prediction([LEFT], [0.9], [CAT]), target(0, [LEFT], [CAT]))
    one = (prediction(), target(1, [LEFT], [CAT]))
    two = (prediction(), target(2, [LEFT, RIGHT], [CAT, CAT]))
    entries = judged(CocoMetric(), [right, one, two], ("cat", "dog")).report().rankings[0].entries
    assert [position for position, _, _ in entries] == [2, 1]


def test_every_object_stands_in_one_cell_of_its_row():
    pairs = random_pairs(11, images=30)
    matrix = judged(CocoMetric(), pairs, ("a", "b", "c")).report().matrices[0]
    objects = np.zeros(3)
    for _, truth in pairs:
        np.add.at(objects, truth["labels"][~truth["crowd"]].numpy(), 1)
    assert np.sum(matrix.values, axis=1)[:3].tolist() == objects.tolist()


def test_overlaps_are_torchvision_s():
    (guess, truth) = max(random_pairs(3), key=lambda pair: len(pair[0]["boxes"]))
    expected = box_iou(guess["boxes"].double(), truth["boxes"].double())
    assert overlaps(guess["boxes"].numpy(), truth["boxes"].numpy()) == pytest.approx(
        expected.numpy(), abs=1e-9
    )


def test_overlaps_with_crowds_are_pycocotools_s():
    boxes = np.array([[0, 0, 10, 10], [5, 5, 30, 20], [50, 50, 60, 60]], dtype=np.float64)
    others = np.array([[0, 0, 20, 20], [2, 2, 40, 40]], dtype=np.float64)
    crowd = np.array([True, False])
    wide = [np.concatenate([b[:, :2], b[:, 2:] - b[:, :2]], axis=1) for b in (boxes, others)]
    assert overlaps(boxes, others, crowd) == pytest.approx(
        coco_mask.iou(*wide, crowd.astype(np.uint8).tolist())
    )


@pytest.mark.parametrize("form", ["polygons", "plain", "compressed", "text"])
def test_every_form_of_a_segmentation_is_rasterised(form: str):
    polygon = [2.0, 2.0, 12.0, 2.0, 12.0, 9.0, 2.0, 9.0]
    compressed = coco_mask.merge(coco_mask.frPyObjects([polygon], 16, 20))
    expected = coco_mask.decode(compressed).astype(bool)
    runs = np.flatnonzero(np.diff(np.concatenate([[0], expected.ravel(order="F"), [0]]))).tolist()
    plain = {"size": [16, 20], "counts": np.diff([0, *runs, 320]).tolist()}
    forms = {"polygons": [polygon], "plain": plain, "compressed": compressed, "text": json_rle(compressed)}
    encoded = encode_segmentation(forms[form], 16, 20)
    assert np.array_equal(decode_masks([encoded], (16, 20))[0].numpy(), expected)


@pytest.mark.parametrize("wrong", [[], None, [[1, 2, 3, 4]], {"size": [3, 3], "counts": "abc"}])
def test_a_segmentation_without_a_meaning_is_refused(wrong):
    with pytest.raises(ValueError, match="expected"):
        encode_segmentation(wrong, 16, 20)
