"""Pascal VOC average precision against a plain float64 reference."""

from __future__ import annotations

import math
import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omma_detection.metrics import VocMetric

from .detections import judged, prediction, random_pairs, target


def overlap(a: list[float], b: list[float]) -> float:
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    common = max(width, 0.0) * max(height, 0.0)
    return common / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - common)


def reference(pairs: list, label: int, iou: float, points: bool) -> float:
    """One detection after the other, as the VOC development kit describes it."""
    truths = {t["index"]: [(b, c) for b, l, c in zip(t["boxes"].tolist(), t["labels"].tolist(), t["crowd"].tolist()) if l == label] for _, t in pairs}  # fmt: skip # noqa: E501, E741
    total = sum(not difficult for objects in truths.values() for _, difficult in objects)
    found = [(s, t["index"], b) for p, t in pairs for b, l, s in zip(p["boxes"].tolist(), p["labels"].tolist(), p["scores"].tolist()) if l == label]  # fmt: skip # noqa: E501, E741
    if not total:
        return math.nan
    taken, right, wrong, curve = set(), 0, 0, []
    for _, image, box in sorted(found, key=lambda each: -each[0]):
        scores = [overlap(box, other) for other, _ in truths[image]]
        best = max(range(len(scores)), key=scores.__getitem__, default=None)
        if best is not None and scores[best] >= iou:
            if truths[image][best][1]:
                continue
            right, wrong = (right + 1, wrong) if (image, best) not in taken else (right, wrong + 1)
            taken.add((image, best))
        else:
            wrong += 1
        curve.append((right / total, right / (right + wrong)))
    if points:
        return sum(max((p for r, p in curve if r >= i / 10 - 1e-12), default=0.0) for i in range(11)) / 11
    steps = [(0.0, 0.0), *curve]
    return sum((r - steps[i][0]) * max(p for _, p in curve[i:]) for i, (r, _) in enumerate(curve))


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**20),
    interpolation=st.sampled_from(["area", "11point"]),
    iou=st.sampled_from([0.5, 0.7]),
)
def test_random_detections_with_difficult_objects_get_the_reference_s_ap(
    seed: int, interpolation: str, iou: float
):
    pairs = random_pairs(seed)
    expected = [reference(pairs, label, iou, interpolation == "11point") for label in range(3)]
    expected = [ap for ap in expected if not math.isnan(ap)]
    metric = judged(VocMetric(iou=iou, interpolation=interpolation), pairs, ("a", "b", "c"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        value = metric.compute()[f"voc/mAP{round(iou * 100)}"]
    mean = sum(expected) / len(expected) if expected else math.nan
    assert value == pytest.approx(mean, abs=1e-9, nan_ok=True)


def test_a_difficult_object_counts_neither_found_nor_missed():
    boxes = [[0, 0, 40, 40], [50, 50, 90, 90]]
    truth = target(0, boxes, [0, 0], crowd=[False, True])
    for guesses in (boxes, boxes[:1]):
        guess = prediction(guesses, [0.9] * len(guesses), [0] * len(guesses))
        assert judged(VocMetric(), [(guess, truth)], ("a",)).compute()["voc/mAP50"] == 1


def test_finding_an_object_twice_is_wrong_the_second_time():
    box = [0, 0, 40, 40]
    truth = target(0, [box, [50, 50, 90, 90]], [0, 0])
    guess = prediction([box, box, [50, 50, 90, 90]], [0.9, 0.8, 0.7], [0, 0, 0])
    assert judged(VocMetric(), [(guess, truth)], ("a",)).compute()["voc/mAP50"] == pytest.approx(
        0.5 + 0.5 * 2 / 3
    )


def test_without_ground_truth_the_number_is_nan_and_a_warning_says_why():
    with pytest.warns(UserWarning, match="undefined"):
        assert math.isnan(judged(VocMetric(), [(prediction(), target(0))], ("a",)).compute()["voc/mAP50"])


def test_an_iou_out_of_range_is_refused():
    with pytest.raises(ValueError, match=r"\(0, 1\]"):
        VocMetric(iou=0)
