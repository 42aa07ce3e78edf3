"""Cases of the overlaps of axis-parallel boxes."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from omma import ops

from .cases import Case, Inputs, hard_boxes, random_boxes


def pairs(count: int, generator: torch.Generator) -> Inputs:
    return {"a": random_boxes(count, generator), "b": random_boxes(count, generator)}


def batches(count: int, generator: torch.Generator) -> Inputs:
    a, b = random_boxes(2 * count, generator), random_boxes(2 * (count + 1), generator)
    return {"a": a.reshape(2, count, 4), "b": b.reshape(2, count + 1, 4)}


def hard() -> list[Inputs]:
    boxes = hard_boxes()
    return [{"a": boxes, "b": boxes.flip(0)}]


def overlap(kind: str, a: list[float], b: list[float]) -> float:
    """The papers' formulas, for one pair."""
    (ax1, ay1, ax2, ay2), (bx1, by1, bx2, by2) = a, b
    width, height = max(ax2, bx2) - min(ax1, bx1), max(ay2, by2) - min(ay1, by1)
    inter = max(0.0, min(ax2, bx2) - max(ax1, bx1)) * max(0.0, min(ay2, by2) - max(ay1, by1))
    union = (ax2 - ax1) * (ay2 - ay1) + (bx2 - bx1) * (by2 - by1) - inter
    iou = inter / max(union, 1e-6)
    if kind == "iou":
        return iou
    if kind == "giou":
        return iou - (width * height - max(union, 1e-6)) / max(width * height, 1e-6)
    distance = math.hypot((ax1 + ax2 - bx1 - bx2) / 2, (ay1 + ay2 - by1 - by2) / 2)
    diou = iou - distance**2 / max(width**2 + height**2, 1e-6)
    if kind == "diou":
        return diou
    v = 4 / math.pi**2
    v *= (math.atan2(ax2 - ax1, max(ay2 - ay1, 1e-6)) - math.atan2(bx2 - bx1, max(by2 - by1, 1e-6))) ** 2
    return diou - (v * v / max(1 - iou + v, 1e-6) if iou > 0.5 else 0.0)


def elementwise(kind: str) -> Callable[..., Tensor]:
    def truth(a: Tensor, b: Tensor) -> Tensor:
        values = [overlap(kind, x, y) for x, y in zip(a.tolist(), b.tolist())]
        return torch.tensor(values, dtype=torch.float64)

    return truth


def pairwise(kind: str) -> Callable[..., Tensor]:
    def truth(a: Tensor, b: Tensor) -> Tensor:
        values = [[[overlap(kind, x, y) for y in ys] for x in xs] for xs, ys in zip(a.tolist(), b.tolist())]
        return torch.tensor(values, dtype=torch.float64).reshape(*a.shape[:2], b.shape[1])

    return truth


KINDS = ("iou", "giou", "diou", "ciou")
CASES = (
    *(
        Case(
            op=f"elementwise_{kind}",
            function=getattr(ops, f"elementwise_{kind}"),
            make=pairs,
            truth=elementwise(kind),
            # The gradient of CIoU isn't that of its value: the weight of the aspect term carries none.
            differentiable=() if kind == "ciou" else ("a", "b"),
            half=("a", "b"),
            half_tolerance=1e-4,
            extremes=hard,
        )
        for kind in KINDS
    ),
    *(
        Case(
            op=f"pairwise_{kind}",
            function=getattr(ops, f"pairwise_{kind}"),
            make=batches,
            truth=pairwise(kind),
            differentiable=() if kind == "ciou" else ("a", "b"),
        )
        for kind in KINDS
    ),
)
