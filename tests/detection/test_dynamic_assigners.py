"""Dynamic assigners against the plain loops of their papers."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import box_iou

from omma_detection.models.assigners import DynamicSoftLabelAssigner, GridAssigner, SimOTAAssigner
from omma_detection.models.coders import boxes_to_cells, cells_to_boxes
from omma_detection.models.heads.hard_negatives import hardest
from omma_detection.models.objects import Objects
from omma_detection.models.priors import CellAnchors, PointGenerator

CLASSES = 4
SIZES = [(8, 12), (4, 6), (2, 3)]
COUNTS = (3, 0, 1)


def scene() -> tuple[Tensor, Tensor, Tensor, Tensor, Objects]:
    """Points, strides, logits, boxes and three images with three, none and one object."""
    generator = torch.Generator().manual_seed(0)
    points, strides = PointGenerator(strides=(8, 16, 32)).placed(SIZES, torch.device("cpu"))
    corner = torch.rand(3, 3, 2, generator=generator) * 40
    boxes = torch.cat([corner, corner + 12 + 30 * torch.rand(3, 3, 2, generator=generator)], dim=-1)
    labels = torch.randint(CLASSES, (3, 3), generator=generator)
    real = torch.arange(3) < torch.tensor(COUNTS)[:, None]
    objects = Objects(boxes * real[..., None], labels * real, real)
    size = strides[:, None] * (0.5 + 2 * torch.rand(3, len(points), 2, generator=generator))
    predicted = torch.cat([points - size, points + size], dim=-1)
    logits = torch.randn(3, len(points), CLASSES, generator=generator)
    return points, strides, logits, predicted, objects


def match(cost: Tensor, iou: Tensor, candidates: Tensor, most: int) -> list[int]:
    """Object of each prior, by loops: (P, G) costs and IoUs of one image."""
    rows = candidates.nonzero()[:, 0].tolist()
    owners: list[set[int]] = [set() for _ in range(len(cost))]
    for g in range(cost.shape[1]):
        best = sorted((float(iou[p, g]) for p in rows), reverse=True)[:most]
        for p in sorted(rows, key=lambda p: float(cost[p, g]))[: max(1, int(sum(best)))]:
            owners[p].add(g)
    return [
        -1 if not owner else owner.pop() if len(owner) == 1 else int(cost[p].argmin())
        for p, owner in enumerate(owners)
    ]


def inside(points: Tensor, boxes: Tensor) -> Tensor:
    low, high = points[:, None] - boxes[:, :2], boxes[:, 2:] - points[:, None]
    return (torch.cat([low, high], dim=2) > 0).all(dim=2)


def test_soft_labels_match_by_the_cost_of_rtmdet():
    points, strides, logits, predicted, objects = scene()
    assigned, overlap = DynamicSoftLabelAssigner()(points, strides, logits, predicted, objects)
    for n, count in enumerate(COUNTS):
        boxes, labels = objects.boxes[n, :count], objects.labels[n, :count]
        iou = box_iou(predicted[n], boxes)
        target = F.one_hot(labels, CLASSES) * iou[..., None]  # (P, G, C)
        each = logits[n][:, None].expand_as(target)
        focal = F.binary_cross_entropy_with_logits(each, target, reduction="none")
        focal = (focal * (target - each.sigmoid()).square()).sum(dim=2)
        distance = torch.cdist(points, (boxes[:, :2] + boxes[:, 2:]) / 2) / strides[:, None]
        cost = focal - 3 * (iou + 1e-7).log() + 10 ** (distance - 3)
        expected = match(cost, iou, inside(points, boxes).any(dim=1), 13)
        assert assigned.objects[n].tolist() == expected
        assert count == 0 or max(expected) >= 0
        own = [float(iou[p, g]) if g >= 0 else 0.0 for p, g in enumerate(expected)]
        torch.testing.assert_close(overlap[n], torch.tensor(own))


def test_sim_ota_matches_by_the_cost_of_yolox():
    points, strides, logits, predicted, objects = scene()
    scores = logits.sigmoid()
    assigned, _ = SimOTAAssigner()(points, strides, scores, predicted, objects)
    for n, count in enumerate(COUNTS):
        boxes, labels = objects.boxes[n, :count], objects.labels[n, :count]
        iou = box_iou(predicted[n], boxes)
        target = F.one_hot(labels, CLASSES).float().expand(len(points), -1, -1)
        entropy = F.binary_cross_entropy(scores[n][:, None].expand_as(target), target, reduction="none")
        within = inside(points, boxes)
        away = (points[:, None] - (boxes[:, :2] + boxes[:, 2:]) / 2).abs().amax(dim=2)
        near = away < 2.5 * strides[:, None]
        cost = entropy.sum(dim=2) - 3 * (iou + 1e-7).log() + 1e5 * ~(within & near)
        assert assigned.objects[n].tolist() == match(cost, iou, (within | near).any(dim=1), 10)


def test_anchors_of_occupied_cells_find_their_objects():
    anchors = CellAnchors(strides=(8, 16), sizes=(((10, 10), (6, 20)), ((30, 30),)))
    sizes = [(4, 4), (2, 2)]
    boxes = torch.tensor([[[7.0, 9.0, 17.0, 19.0], [0.0, 0.0, 30.0, 30.0]]])
    objects = Objects(boxes, torch.tensor([[1, 2]]), torch.tensor([[True, True]]))
    centres = (boxes[..., :2] + boxes[..., 2:]) / 2
    occupied = anchors.occupied(sizes, centres, objects.real)
    # The centres (12, 14) and (15, 15) lie in row 1, column 1 of stride 8, and in cell (0, 0) of stride 16.
    assert occupied[0].nonzero()[:, 0].tolist() == [10, 11, 32]
    grid = torch.cat(anchors.grid(sizes, torch.device("cpu")))
    assigned = GridAssigner()(grid, objects, occupied).objects[0]
    assert (assigned >= 0).nonzero()[:, 0].tolist() == [10, 32]
    assert assigned[[10, 32]].tolist() == [0, 1]
    # A box that an object overlaps by more than half elsewhere is neither object nor background.
    iou = box_iou(boxes[0], grid).amax(dim=0)
    assert (assigned == -2).tolist() == [v > 0.5 and i not in (10, 32) for i, v in enumerate(iou.tolist())]


def test_without_objects_all_anchors_are_background():
    anchors = CellAnchors(strides=(8,), sizes=(((10, 10),),))
    objects = Objects(torch.zeros(1, 1, 4), torch.zeros(1, 1, dtype=torch.int64), torch.zeros(1, 1).bool())
    occupied = anchors.occupied([(2, 2)], torch.zeros(1, 1, 2), objects.real)
    grid = torch.cat(anchors.grid([(2, 2)], torch.device("cpu")))
    assert GridAssigner()(grid, objects, occupied).objects.tolist() == [[-1] * 4]


def test_cells_give_back_the_boxes_they_were_made_of():
    anchors = torch.tensor([[8.0, 8.0, 24.0, 24.0], [0.0, 0.0, 8.0, 8.0]])
    boxes = torch.tensor([[10.0, 11.0, 25.0, 20.0], [1.0, 1.0, 6.0, 9.0]])
    strides = torch.tensor([16.0, 8.0])
    place = boxes_to_cells(anchors, boxes, strides)
    assert place[0, 0].item() == (17.5 - 16) / 16 + 0.5
    assert math.isclose(place[0, 2].item(), math.log(15 / 16), rel_tol=1e-5)
    logits = torch.cat([place[:, :2].logit(), place[:, 2:]], dim=1)
    torch.testing.assert_close(cells_to_boxes(anchors, logits, strides), boxes)


def test_the_hardest_negatives_are_those_with_the_largest_loss():
    losses = torch.tensor([[5.0, 1.0, 4.0, 3.0], [1.0, 2.0, 3.0, 4.0]])
    negative = torch.tensor([[False, True, True, True], [True, True, True, True]])
    chosen = hardest(losses, negative, torch.tensor([2, 0]))
    assert chosen.tolist() == [[False, False, True, True], [False] * 4]
