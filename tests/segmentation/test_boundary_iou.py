"""Boundary IoU against its paper's definition: each class eroded by itself, step by step."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import ndimage

from omma.structures import IGNORED, DataInfo
from omma_segmentation.metrics import BoundaryIoU

C = 3
maps = st.tuples(st.integers(1, 12), st.integers(1, 12)).flatmap(
    lambda shape: st.tuples(
        arrays.arrays(np.uint8, shape, elements=st.sampled_from([0, 1, 2, IGNORED])),
        arrays.arrays(np.uint8, shape, elements=st.integers(0, C - 1)),
    )
)


def boundary(mask, ratio):
    """What a mask loses in ``d`` erosions by 3 x 3 pixels, the outside of the image being empty."""
    distance = max(1, round(ratio * math.sqrt(mask.shape[0] ** 2 + mask.shape[1] ** 2)))
    eroded = ndimage.binary_erosion(np.pad(mask, 1), np.ones((3, 3)), iterations=distance)
    return mask & ~eroded[1:-1, 1:-1]


def run(pairs, ratio):
    metric = BoundaryIoU(dilation_ratio=ratio)
    metric.start(DataInfo(tuple("abc")))
    for index, (labels, predicted) in enumerate(pairs):
        metric.update(
            [{"semantic": torch.from_numpy(predicted)}],
            [{"index": index, "semantic": torch.from_numpy(labels)}],
        )
    return metric


@settings(deadline=None)
@given(st.lists(maps, min_size=1, max_size=3), st.sampled_from([0.02, 0.15, 0.3]))
def test_each_class_is_the_overlap_of_its_eroded_rims(pairs, ratio):
    ious = []
    for c in range(C):
        both = either = 0
        for labels, predicted in pairs:
            true = boundary(labels == c, ratio)
            found = boundary((predicted == c) & (labels != IGNORED), ratio)
            both, either = both + (true & found).sum(), either + (true | found).sum()
        ious.append(both / either if either else math.nan)
    metric = run(pairs, ratio)
    table = metric.report().tables[0]
    assert [row[1] for row in table.rows] == pytest.approx(ious, nan_ok=True)
    values = [iou for iou in ious if not math.isnan(iou)]
    wanted = np.mean(values) if values else math.nan
    assert metric.compute()["mBoundaryIoU"] == pytest.approx(wanted, nan_ok=True)


def test_a_large_disc_a_pixel_off_is_good_by_area_and_bad_by_its_rim():
    y, x = np.mgrid[:400, :400]
    disc = ((y - 200) ** 2 + (x - 200) ** 2 < 150**2).astype(np.uint8)
    moved = np.roll(disc, 6, axis=1)
    area = (disc & moved).sum() / (disc | moved).sum()
    rim = run([(disc, moved)], 0.02).report().tables[0].rows[1][1]
    assert area > 0.94
    assert rim < 0.65


def test_what_is_predicted_where_pixels_do_not_count_changes_nothing():
    labels = np.zeros((30, 30), np.uint8)
    labels[10:20, 10:20] = IGNORED
    for inside in (0, 1, 2):
        predicted = np.where(labels == IGNORED, np.uint8(inside), labels)
        assert run([(labels, predicted)], 0.05).compute()["mBoundaryIoU"] == 1


def test_shares_and_sizes_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match=r"got 1\.5"):
        BoundaryIoU(dilation_ratio=1.5)
    with pytest.raises(ValueError, match="one size"):
        run([(np.zeros((2, 3), np.uint8), np.zeros((3, 2), np.uint8))], 0.02)
