"""Heads whose anchors are learnt: who learns what, and where they read the map, against the definitions."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import box_iou

from omma.losses import BinaryCrossEntropyLoss, BoundedIoULoss, FocalLoss, L1Loss
from omma.ops import deform_conv2d
from omma_detection.models.assigners import MaxIoUAssigner, RegionAssigner
from omma_detection.models.coders import DeltaCoder
from omma_detection.models.guided_anchoring import GARPNHead
from omma_detection.models.heads.guide import AnchorGuide
from omma_detection.models.heads.taps import spanning_offsets
from omma_detection.models.objects import pad_objects
from omma_detection.models.priors import AnchorGenerator
from omma_detection.models.samplers import RandomBoxSampler

from .detectors import batch, sample

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


def test_of_a_group_of_boxes_the_best_one_counts():
    assigner = MaxIoUAssigner(positive_iou=0.5, negative_iou=0.4, min_positive_iou=0.4)
    usual = AnchorGenerator(strides=(8,), ratios=(0.5, 1.0, 2.0), scales=(2.0, 3.0))
    anchors = usual.grid([(8, 12)], torch.device("cpu"))[0].unflatten(0, (-1, 6))  # (P, 6, 4)
    objects = torch.tensor([[12.0, 12, 30, 30], [50.0, 20, 62, 44]])
    found = assigner(anchors, objects)
    best = box_iou(anchors.flatten(0, 1).double(), objects.double()).view(96, 6, 2).amax(dim=1)
    for position, overlaps in enumerate(best.tolist()):
        high = max(overlaps)
        wants = [n for n in (0, 1) if overlaps[n] == best[:, n].max() and overlaps[n] >= 0.4]
        expected = overlaps.index(high) if high >= 0.5 else -1 if high < 0.4 else -2
        assert found.objects[position] == (wants[-1] if wants else expected)


def guide(*, high_in_middle: bool = True) -> AnchorGuide:
    return AnchorGuide(
        anchors=AnchorGenerator(strides=STRIDES, ratios=(0.5, 1.0, 2.0), scales=(4.0, 6.0)),
        coder=DeltaCoder(stds=(0.1, 0.1, 0.5, 0.25)),
        region_assigner=RegionAssigner(keep_positives=True),
        shape_assigner=MaxIoUAssigner(positive_iou=0.5, negative_iou=0.4),
        sampler=RandomBoxSampler(num=10_000, positive_fraction=0.5),
        location_loss=FocalLoss(),
        shape_loss=BoundedIoULoss(),
        high_in_middle=high_in_middle,
    )


def maps(channels: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(channels)
    return [torch.randn(2, channels, h, w, generator=generator) for h, w in SIZES]


def test_guided_anchors_are_squares_of_the_predicted_width_and_height():
    shapes = maps(2)
    for level, (found, stride) in enumerate(zip(guide().anchors_of(shapes), STRIDES)):
        h, w = SIZES[level]
        y, x = torch.meshgrid(torch.arange(h) * stride, torch.arange(w) * stride, indexing="ij")
        width, height = (4 * stride * (shapes[level] * torch.tensor([0.5, 0.25]).view(2, 1, 1)).exp()).unbind(
            1
        )
        expected = torch.stack([x - width / 2, y - height / 2, x + width / 2, y + height / 2], dim=-1)
        torch.testing.assert_close(found, expected.flatten(1, 2))


@pytest.mark.parametrize("high_in_middle", [True, False])
def test_locations_weigh_middles_by_one_and_background_by_a_tenth(high_in_middle: bool):
    locations = maps(1)
    images = batch(sample(BOXES[0], (64, 96)), sample([], (64, 96)))
    found = guide(high_in_middle=high_in_middle).losses_of_locations(locations, images)
    total, count = 0.0, 0
    for image, boxes in enumerate((BOXES[0], [])):
        for level, ((height, width), stride) in enumerate(zip(SIZES, STRIDES)):
            for y, x in ((y, x) for y in range(height) for x in range(width)):
                weight, middle = 0.1, False
                for box in boxes:
                    if level_of(box, 4.0) == level and in_region(x, y, box, stride, 0.5):
                        middle = in_region(x, y, box, stride, 0.2)
                        weight = float(middle)
                beside = [box for box in boxes if abs(level_of(box, 4.0) - level) == 1]
                if weight == 0.1 and any(in_region(x, y, box, stride, 0.5) for box in beside):
                    weight = 0.0
                p = 1 / (1 + math.exp(-float(locations[level][image, 0, y, x])))
                p, alpha = (p, 0.25) if middle == high_in_middle else (1 - p, 0.75)
                total -= weight * alpha * (1 - p) ** 2 * math.log(p)
                count += 1
    assert found.item() == pytest.approx(total / (count / 200), rel=1e-4)


def test_shapes_learn_from_the_object_that_a_usual_anchor_overlaps():
    boxes, shapes = BOXES[2], maps(2)
    images = batch(sample(boxes, (64, 96)), sample([], (64, 96)))
    part = guide()
    found = part.losses_of_shapes(shapes, images)
    usual = torch.cat(part.anchors.grid(SIZES, torch.device("cpu"))).unflatten(0, (-1, 6))
    assigned = part.shape_assigner(usual, torch.tensor(boxes))
    positive = assigned.positive.nonzero()[:, 0]
    own = torch.cat([each[0] for each in part.anchors_of(shapes)])[positive]
    target = torch.tensor(boxes)[assigned.objects[positive]]
    total = BoundedIoULoss()(own, target, avg_factor=1.0)
    # What is drawn of the first image; of the second all is background.
    drawn = len(positive) + int(assigned.negative.sum()) + 1 + len(usual)
    assert len(positive) > 0
    assert found.item() == pytest.approx(float(total) / drawn, rel=1e-5)


def test_positions_without_an_anchor_are_never_predicted():
    head = GARPNHead(
        in_channels=8,
        channels=8,
        deform_groups=1,
        guide=guide(),
        coder=DeltaCoder(),
        assigner=MaxIoUAssigner(positive_iou=0.7, negative_iou=0.3),
        sampler=RandomBoxSampler(num=16, positive_fraction=0.5),
        cls_loss=BinaryCrossEntropyLoss(),
        box_loss=L1Loss(),
    ).eval()
    images = batch(sample([], (64, 96)), sample([], (64, 96)))
    with torch.no_grad():
        outputs = head(maps(8))
        for level, locations in enumerate(outputs.locations):
            locations.fill_(-9.0)
            outputs.logits[level].fill_(5.0)
        outputs.locations[1][1, 0, 3, 4] = 9.0
        nothing, one = head.propose(outputs, images, training=False)
    assert (len(nothing.scores), len(one.scores)) == (0, 1)
