"""IoU and its kin against sums over pixels written out one by one."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from omma.structures import IGNORED, DataInfo
from omma_segmentation.metrics import SegmentationMetric
from omma_segmentation.metrics.iou import confusion

C = 4
maps = st.tuples(st.integers(1, 9), st.integers(1, 9)).flatmap(
    lambda shape: st.tuples(
        arrays.arrays(np.uint8, shape, elements=st.sampled_from([0, 1, 2, 3, IGNORED])),
        arrays.arrays(np.uint8, shape, elements=st.integers(0, C - 1)),
    )
)


@settings(deadline=None)
@given(maps)
def test_confusions_are_counted_pixel_by_pixel(pair):
    labels, predicted = pair
    wanted = np.zeros((C, C), int)
    for a, b in zip(labels.flat, predicted.flat):
        if a != IGNORED:
            wanted[a, b] += 1
    assert np.array_equal(confusion(labels, predicted, C), wanted)


def test_large_maps_are_counted_exactly():
    labels = np.zeros((5000, 4000), np.uint8)
    labels[:, 0] = 1
    assert confusion(labels, labels, 2).tolist() == [[5000 * 3999, 0], [0, 5000]]


def run(pairs, **options):
    metric = SegmentationMetric(**options)
    metric.start(DataInfo(tuple("abcd")))
    for index, (labels, predicted) in enumerate(pairs):
        metric.update(
            [{"semantic": torch.from_numpy(predicted)}],
            [{"index": index, "path": f"{index}.jpg", "semantic": torch.from_numpy(labels)}],
        )
    return metric


@settings(deadline=None)
@given(st.lists(maps, min_size=1, max_size=4), st.sampled_from([0.5, 1.0, 2.0]))
def test_means_follow_their_definitions(pairs, beta):
    values = run(pairs, beta=beta).compute()
    labels = np.concatenate([a.flatten() for a, _ in pairs])
    predicted = np.concatenate([b.flatten() for _, b in pairs])[labels != IGNORED]
    labels = labels[labels != IGNORED]
    iou, acc, dice, f_score = [], [], [], []
    for c in range(C):
        tp = int(((labels == c) & (predicted == c)).sum())
        fp = int(((labels != c) & (predicted == c)).sum())
        fn = int(((labels == c) & (predicted != c)).sum())
        if tp + fn:
            acc.append(tp / (tp + fn))
        if tp + fp + fn:
            iou.append(tp / (tp + fp + fn))
            dice.append(2 * tp / (2 * tp + fp + fn))
            f_score.append((1 + beta**2) * tp / ((1 + beta**2) * tp + beta**2 * fn + fp))
    for name, wanted in {"mIoU": iou, "mAcc": acc, "mDice": dice, "mFscore": f_score}.items():
        if wanted:
            assert values[name] == pytest.approx(np.mean(wanted)), name
        else:
            assert math.isnan(values[name])
    if len(labels):
        assert values["aAcc"] == pytest.approx((labels == predicted).mean())


def test_an_image_that_comes_twice_counts_once_and_the_worst_comes_first():
    good = np.zeros((4, 4), np.uint8)
    bad = good.copy()
    bad[:2] = 1
    metric = run([(good, good), (bad, good)])
    once = metric.compute()
    metric.update(
        [{"semantic": torch.from_numpy(good)}],
        [{"index": 1, "path": "1.jpg", "semantic": torch.from_numpy(bad)}],
    )
    assert metric.compute() == once
    report = metric.report()
    assert [entry[0] for entry in report.rankings[0].entries] == [1, 0]
    assert report.tables[0].rows[0][0] == "a"


def test_maps_of_different_size_are_refused():
    with pytest.raises(ValueError, match="one size"):
        confusion(np.zeros((2, 3), np.uint8), np.zeros((3, 2), np.uint8), 2)
