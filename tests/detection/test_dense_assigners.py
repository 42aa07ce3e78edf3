"""Assignment of dense heads against the definitions of their papers, object by object."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torchvision.ops import box_iou

from omma_detection.models.assigners import (
    ATSSAssigner,
    CenterRegionAssigner,
    NearestPointAssigner,
    PAASeparation,
    TaskAlignedAssigner,
    UniformAssigner,
)
from omma_detection.models.fsaf import best_level
from omma_detection.models.heads.gaussian import draw_gaussians, gaussian_radius, peaks
from omma_detection.models.objects import Objects, pad_objects
from omma_detection.models.priors import AnchorGenerator

from .detectors import sample

SIZES = [(8, 12), (4, 6)]
STRIDES = (8, 16)
BOXES = [[[10.0, 12, 50, 45], [30.0, 20, 90, 60]], [], [[4.0, 4, 20, 20]]]


def objects_of(boxes: list[list[list[float]]]) -> Objects:
    return pad_objects([sample(each, (64, 96)) for each in boxes], torch.device("cpu"))


def anchors() -> Tensor:
    generator = AnchorGenerator(strides=STRIDES, ratios=(1.0,), scales=(3.0,))
    return torch.cat(generator.grid(SIZES, torch.device("cpu")))


def everywhere(objects: Objects, priors: Tensor) -> Tensor:
    return torch.ones(len(objects.boxes), len(priors), dtype=torch.bool)


def centres_of(boxes: Tensor) -> Tensor:
    return (boxes[:, :2] + boxes[:, 2:]) / 2


def test_padded_objects_know_which_are_real():
    objects = objects_of(BOXES)
    assert objects.boxes.shape == (3, 2, 4)
    assert objects.real.tolist() == [[True, True], [False, False], [True, False]]


def test_atss_follows_its_definition():
    priors, objects = anchors(), objects_of(BOXES)
    counts = [h * w for h, w in SIZES]
    found = ATSSAssigner(candidates=4)(priors, counts, objects, everywhere(objects, priors))
    for image, boxes in enumerate(BOXES):
        expected, best = [-1] * len(priors), [0.0] * len(priors)
        for label, box in enumerate(boxes):
            b = torch.tensor([box])
            distance, overlap = (centres_of(priors) - centres_of(b)).norm(dim=1), box_iou(priors, b)[:, 0]
            near = torch.cat(
                [
                    distance[: counts[0]].topk(4, largest=False).indices,
                    distance[counts[0] :].topk(4, largest=False).indices + counts[0],
                ]
            )
            threshold = overlap[near].mean() + overlap[near].std()
            for i in near.tolist():
                x, y = centres_of(priors)[i].tolist()
                inside = min(x - box[0], y - box[1], box[2] - x, box[3] - y) > 0.01
                if inside and overlap[i] >= threshold and overlap[i] > best[i]:
                    expected[i], best[i] = label, float(overlap[i])
        assert found.objects[image].tolist() == expected
    assert found.positive.any()


def test_anchors_outside_of_the_image_are_left_out():
    priors, objects = anchors(), objects_of(BOXES)
    valid = everywhere(objects, priors)
    valid[:, ::2] = False
    found = ATSSAssigner(candidates=4)(priors, [h * w for h, w in SIZES], objects, valid)
    assert (found.objects[:, ::2] == -2).all()
    assert (found.objects[:, 1::2] >= -1).all()


def test_task_alignment_peaks_at_the_best_iou_of_each_object():
    priors, objects = anchors(), objects_of(BOXES)
    generator = torch.Generator().manual_seed(0)
    scores = torch.rand(3, len(priors), 3, generator=generator)
    boxes = priors + torch.randn(3, len(priors), 4, generator=generator) * 4
    found, quality = TaskAlignedAssigner(candidates=5)(
        priors, scores, boxes, objects, everywhere(objects, priors)
    )
    assert (quality[found.objects < 0] == 0).all()
    for image, each in enumerate(BOXES):
        for label, box in enumerate(each):
            own = found.objects[image] == label
            assert 0 < own.sum() <= 5
            iou = box_iou(boxes[image][own], torch.tensor([box]))[:, 0]
            metric = scores[image][own][:, label] * iou**6
            expected = metric / metric.max() * iou.max()
            torch.testing.assert_close(quality[image][own], expected, atol=1e-4, rtol=1e-4)


def test_uniform_assignment_takes_the_same_number_for_each_object():
    priors, objects = anchors(), objects_of([[[10.0, 12, 34, 36]], [[40.0, 20, 64, 44]]])
    assigner = UniformAssigner(candidates=2, least_iou=0.0)
    boxes = priors.expand(2, -1, -1)
    found, pairs = assigner(priors, boxes, objects, everywhere(objects, priors))
    # Predictions are the anchors themselves: both kinds of candidates are the same.
    assert found.positive.sum(dim=1).tolist() == [2, 2]
    assert torch.bincount(pairs.images).tolist() == [4, 4]


def test_the_centre_region_belongs_to_the_smaller_object_and_shadows_the_larger():
    priors = torch.tensor([[14.0, 14, 22, 22], [60.0, 30, 68, 38]])
    objects = objects_of([[[0.0, 0, 36, 36], [8.0, 8, 28, 28]]])
    found, shadowed = CenterRegionAssigner()(priors, objects, torch.ones(1, 2, dtype=torch.bool), 3)
    assert found.objects.tolist() == [[1, -1]]
    assert shadowed[0].tolist() == [[True, False, False], [False, False, False]]


def test_the_nearest_point_on_the_level_of_its_size_gets_the_object():
    points = torch.tensor([[8.0, 8], [16.0, 8], [16.0, 16]])
    strides = torch.tensor([8.0, 8.0, 16.0])
    objects = objects_of([[[0.0, 0, 32, 32]], [[0.0, 0, 64, 64]]])
    found = NearestPointAssigner()(points, strides, objects, torch.ones(2, 3, dtype=torch.bool))
    assert found.objects.tolist() == [[-1, 0, -1], [-1, -1, 0]]


def test_separation_takes_the_lower_of_two_well_separated_modes():
    costs = torch.tensor([1.0, 1.1, 1.2, 9.0, 9.1, 9.2, 5.0])
    groups, levels = torch.tensor([0, 0, 0, 0, 0, 0, 1]), torch.tensor([0, 0, 0, 1, 1, 1, 0])
    chosen = PAASeparation()(costs, groups, levels)
    # Up to the most likely of the lower mode, its middle; an object with one candidate has no positive.
    assert chosen.tolist() == [True, True, False, False, False, False, False]


def test_each_group_keeps_the_level_with_the_lowest_mean():
    costs = torch.tensor([3.0, 1.0, 2.5, 9.0, 0.5])
    groups, levels = torch.tensor([0, 0, 0, 1, 1]), torch.tensor([0, 0, 1, 0, 1])
    assert best_level(costs, groups, levels, 2, 3).tolist() == [True, True, False, False, True]


@pytest.mark.parametrize("overlap", [0.3, 0.7])
def test_corners_moved_by_the_radius_keep_the_overlap(overlap: float):
    width, height = 40.0, 24.0
    r = gaussian_radius(torch.tensor([width, height], dtype=torch.float64), overlap).item()
    box = torch.tensor([[0.0, 0, width, height]], dtype=torch.float64)
    moves = ([r, r, r, r], [r, r, -r, -r])
    for move in moves:
        moved = box + torch.tensor([move], dtype=torch.float64)
        assert box_iou(box, moved).item() >= overlap - 1e-6


def test_a_heat_map_is_one_at_objects_and_has_its_peaks_there():
    places = torch.tensor([[[3, 2], [7, 5]]])
    heat = draw_gaussians(
        places, torch.tensor([[2, 1]]), torch.tensor([[1, 0]]), torch.tensor([[True, True]]), 2, (8, 10)
    )
    assert heat[0, 1, 2, 3] == heat[0, 0, 5, 7] == 1
    assert heat[0, 1, 2, 5].item() == pytest.approx(math.exp(-(2**2) / (2 * (5 / 6) ** 2)), rel=1e-5)
    assert heat[0, 1, 2, 6] == 0
    score, label, place = peaks(heat, 2)
    assert score.tolist() == [[1, 1]]
    assert sorted(zip(label[0].tolist(), place[0].tolist())) == [(0, 57), (1, 23)]
