"""Heads whose anchors are learnt: who learns what, and where they read the map, against the definitions."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from omma.ops import deform_conv2d
from omma_detection.models.assigners import RegionAssigner
from omma_detection.models.heads.taps import spanning_offsets
from omma_detection.models.objects import pad_objects
from omma_detection.models.priors import AnchorGenerator

from .detectors import sample

SIZES, STRIDES = [(16, 24), (8, 12), (4, 6)], (4, 8, 16)
BOXES = [
    [[10.0, 12, 50, 45], [30.0, 20, 90, 60], [12.0, 10, 36, 40], [2.0, 2, 9, 9]],
    [],
    [[4.0, 4, 84, 60], [20.0, 20, 60, 44]],
]


def level_of(box: list[float], scale: float) -> int:
    """Where the anchors, of side scale * stride, are nearest to the object's size in octaves."""
    side = math.sqrt((box[2] - box[0]) * (box[3] - box[1]))
    return min(max(math.floor(math.log2(side / (scale * STRIDES[0])) + 0.5), 0), len(STRIDES) - 1)


def in_region(x: int, y: int, box: list[float], stride: int, share: float) -> bool:
    low, high = [b / stride for b in box[:2]], [b / stride for b in box[2:]]
    margin = [(1 - share) / 2 * (b - a) for a, b in zip(low, high)]
    ends = zip((x, y), low, high, margin)
    return all(round(a + m) <= place <= round(b - m) for place, a, b, m in ends)


@pytest.mark.parametrize("keep_positives", [False, True])
def test_regions_of_objects_follow_their_definition(keep_positives: bool):
    anchors = AnchorGenerator(strides=STRIDES, ratios=(1.0,), scales=(4.0,))
    objects = pad_objects([sample(each, (64, 96)) for each in BOXES], torch.device("cpu"))
    valid = torch.ones(3, sum(h * w for h, w in SIZES), dtype=torch.bool)
    valid[:, 5::7] = False
    assigner = RegionAssigner(inner=0.31, outer=0.63, keep_positives=keep_positives)
    found = assigner(anchors, SIZES, objects, valid)
    for image, boxes in enumerate(BOXES):
        expected = []
        for level, ((height, width), stride) in enumerate(zip(SIZES, STRIDES)):
            for y, x in ((y, x) for y in range(height) for x in range(width)):
                said = -1
                for number, box in enumerate(boxes):
                    if level_of(box, 4.0) == level and in_region(x, y, box, stride, 0.63):
                        said = number if in_region(x, y, box, stride, 0.31) else -2
                beside = [box for box in boxes if abs(level_of(box, 4.0) - level) == 1]
                near = any(in_region(x, y, box, stride, 0.63) for box in beside)
                expected.append(-2 if near and (said == -1 or not keep_positives) else said)
        wanted = torch.where(valid[image], torch.tensor(expected), -2)
        assert found.objects[image].tolist() == wanted.tolist()
    assert {-2, -1, 0, 1} <= set(found.objects.flatten().tolist())


def test_taps_are_spread_over_their_box():
    size, stride = (5, 7), 8
    # Of a map that says where it is, a convolution with one tap reads where the tap lies.
    y, x = torch.meshgrid(torch.arange(5.0), torch.arange(7.0), indexing="ij")
    boxes = torch.tensor([8.0, 16, 40, 32]).expand(1, 35, 4)
    offsets = spanning_offsets(boxes, size, stride)
    for tap, (row, column) in enumerate((r, c) for r in (16, 24, 32) for c in (8, 24, 40)):
        weight = F.one_hot(torch.tensor(tap), 9).float().view(1, 1, 3, 3)
        for places, expected in ((y, row), (x, column)):
            read = deform_conv2d(places[None, None], offsets, weight, padding=1)
            torch.testing.assert_close(read, torch.full_like(read, expected / stride))
