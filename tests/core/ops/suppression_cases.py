"""Cases of the operators that suppress overlapping boxes."""

from __future__ import annotations

import math
from typing import Any

import torch
import torchvision
from torch import Tensor

from omma.ops import batched_nms, matrix_nms, nms, nms_match, soft_nms

from .cases import Case, Inputs, hard_boxes, random_boxes


def with_ties(count: int, generator: torch.Generator) -> Inputs:
    scores = torch.randint(0, 12, (count,), generator=generator).double() / 12
    return {"boxes": random_boxes(count, generator), "scores": scores}


def in_groups(count: int, generator: torch.Generator) -> Inputs:
    return with_ties(count, generator) | {"groups": torch.randint(0, 3, (count,), generator=generator)}


def in_levels(count: int, generator: torch.Generator) -> Inputs:
    return in_groups(count, generator) | {"levels": torch.randint(0, 2, (count,), generator=generator)}


def distinct(count: int, generator: torch.Generator) -> Inputs:
    groups = torch.randint(0, 2, (count,), generator=generator)
    scores = torch.rand(count, generator=generator, dtype=torch.float64)
    return {"boxes": random_boxes(count, generator, extent=30), "scores": scores, "groups": groups}


def overlapping(count: int, generator: torch.Generator) -> Inputs:
    inputs = distinct(count, generator)
    boxes = inputs.pop("boxes")
    return {"overlaps": torchvision.ops.box_iou(boxes, boxes), **inputs}


def hard() -> list[Inputs]:
    boxes = hard_boxes()
    problems = [{"boxes": boxes, "scores": torch.linspace(1, 0.1, len(boxes), dtype=torch.float64)}]
    # The second box overlaps the first one by exactly a quarter, a threshold.
    boxes = torch.tensor([[0, 0, 4, 4], [0, 0, 4, 1]], dtype=torch.float64)
    return [*problems, {"boxes": boxes, "scores": torch.tensor([0.75, 0.5], dtype=torch.float64)}]


def greedy(boxes: Tensor, scores: Tensor, groups: Tensor | None = None, *, iou_threshold: float) -> Tensor:
    kept: list[int] = []
    iou = torchvision.ops.box_iou(boxes, boxes)
    for i in sorted(range(len(boxes)), key=lambda i: -float(scores[i])):
        alike = [j for j in kept if groups is None or groups[i] == groups[j]]
        if not any(iou[i, j] > iou_threshold for j in alike):
            kept.append(i)
    return torch.tensor(kept, dtype=torch.int64)


def greedy_of_levels(
    boxes: Tensor,
    scores: Tensor,
    groups: Tensor,
    levels: Tensor,
    *,
    iou_threshold: float,
    max_per_level: int,
    max_keep: int,
) -> Tensor:
    rank = sorted(range(len(boxes)), key=lambda i: -float(scores[i]))
    best = [i for level in (0, 1) for i in [i for i in rank if levels[i] == level][:max_per_level]]
    best = torch.tensor(sorted(best), dtype=torch.int64)
    return best[greedy(boxes[best], scores[best], groups[best], iou_threshold=iou_threshold)][:max_keep]


def clusters(boxes: Tensor, scores: Tensor, *, iou_threshold: float) -> tuple[Tensor, Tensor]:
    kept = greedy(boxes, scores, iou_threshold=iou_threshold)
    iou = torchvision.ops.box_iou(boxes, boxes)
    owner = []
    for i in range(len(boxes)):
        mine = [k for k, j in enumerate(kept.tolist()) if j == i or iou[i, j] > iou_threshold]
        owner.append(next(k for k in mine if kept[k] == i) if i in kept else mine[0])
    return kept, torch.tensor(owner, dtype=torch.int64)


def sequential(
    boxes: Tensor,
    scores: Tensor,
    groups: Tensor | None = None,
    *,
    method: str,
    iou_threshold: float = 0.0,
    sigma: float = 0.0,
    min_score: float,
    max_keep: int | None = None,
) -> tuple[Tensor, Tensor]:
    iou = torchvision.ops.box_iou(boxes, boxes).nan_to_num(0)  # of boxes without area
    live, found = {i: float(s) for i, s in enumerate(scores)}, []
    while live and (len(found) < max_keep if max_keep else True):
        best = max(live, key=lambda i: (live[i], -i))
        score = live.pop(best)
        if score < min_score:
            break
        found.append((best, score))
        for i in live:
            if groups is None or groups[i] == groups[best]:
                x = float(iou[i, best])
                linear = 1 - x if x >= iou_threshold else 1.0
                live[i] *= linear if method == "linear" else math.exp(-x * x / sigma)
    index = torch.tensor([i for i, _ in found], dtype=torch.int64)
    return index, torch.tensor([s for _, s in found], dtype=torch.float64)


def matrix_by_pairs(
    overlaps: Tensor, scores: Tensor, groups: Tensor, *, method: str, sigma: float, min_score: float
) -> tuple[Tensor, Tensor]:
    fade = (lambda x: 1 - x) if method == "linear" else (lambda x: math.exp(-sigma * x * x))
    better = [
        [i for i in range(len(scores)) if scores[i] > scores[j] and groups[i] == groups[j]]
        for j in range(len(scores))
    ]
    found = []
    for j in range(len(scores)):
        factors = [1.0]
        for i in better[j]:
            covered = max((float(overlaps[k, i]) for k in better[i]), default=0.0)
            factors.append(fade(float(overlaps[i, j])) / fade(covered))
        found.append((float(scores[j]) * min(factors), j))
    found = sorted((x for x in found if x[0] >= min_score), key=lambda x: -x[0])
    index = torch.tensor([j for _, j in found], dtype=torch.int64)
    return index, torch.tensor([s for s, _ in found], dtype=torch.float64)


def soft_case(note: str, **settings: Any) -> Case:
    return Case(
        op="soft_nms",
        note=note,
        function=soft_nms,
        make=distinct,
        truth=sequential,
        settings=settings,
        dynamic=True,
        extremes=hard,
    )


CASES = (
    Case(
        op="nms",
        function=nms,
        make=with_ties,
        truth=greedy,
        settings={"iou_threshold": 0.4},
        dynamic=True,
        extremes=hard,
    ),
    Case(
        op="nms",
        note="batched",
        function=batched_nms,
        make=in_groups,
        truth=greedy,
        settings={"iou_threshold": 0.4},
        dynamic=True,
    ),
    Case(
        op="nms",
        note="levels",
        function=batched_nms,
        make=in_levels,
        truth=greedy_of_levels,
        settings={"iou_threshold": 0.4, "max_per_level": 4, "max_keep": 5},
        dynamic=True,
    ),
    Case(
        op="nms_match",
        function=nms_match,
        make=with_ties,
        truth=clusters,
        settings={"iou_threshold": 0.2},
        dynamic=True,
        extremes=hard,
    ),
    soft_case("gaussian", method="gaussian", sigma=0.5, min_score=0.05),
    soft_case("linear", method="linear", iou_threshold=0.25, min_score=0.3, max_keep=5),
    Case(
        op="matrix_nms",
        note="gaussian",
        function=matrix_nms,
        make=overlapping,
        truth=matrix_by_pairs,
        settings={"method": "gaussian", "sigma": 2.0, "min_score": 0.1},
        dynamic=True,
    ),
    Case(
        op="matrix_nms",
        note="linear",
        function=matrix_nms,
        make=overlapping,
        truth=matrix_by_pairs,
        settings={"method": "linear", "sigma": 2.0, "min_score": 0.1},
        dynamic=True,
    ),
)
