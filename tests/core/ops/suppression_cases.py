"""Cases of the operators that suppress overlapping boxes."""

from __future__ import annotations

import torch
import torchvision
from torch import Tensor

from omma.ops import nms

from .cases import Case, Inputs, hard_boxes, random_boxes


def scored(count: int, generator: torch.Generator) -> Inputs:
    scores = torch.randint(0, 12, (count,), generator=generator).double() / 12  # with ties
    return {"boxes": random_boxes(count, generator), "scores": scores}


def hard() -> list[Inputs]:
    boxes = hard_boxes()
    return [{"boxes": boxes, "scores": torch.linspace(1, 0.1, len(boxes), dtype=torch.float64)}]


def greedy(boxes: Tensor, scores: Tensor, *, iou_threshold: float) -> Tensor:
    kept: list[int] = []
    iou = torchvision.ops.box_iou(boxes, boxes)
    for i in sorted(range(len(boxes)), key=lambda i: -float(scores[i])):
        if not any(iou[i, j] > iou_threshold for j in kept):
            kept.append(i)
    return torch.tensor(kept, dtype=torch.int64)


CASES = (
    Case(
        op="nms",
        function=nms,
        make=scored,
        truth=greedy,
        settings={"iou_threshold": 0.4},
        dynamic=True,
        extremes=hard,
    ),
)
