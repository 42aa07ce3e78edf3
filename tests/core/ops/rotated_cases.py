"""Cases of the operators on rotated boxes; the truth clips one polygon by the other's edges."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from omma.ops import box_iou_rotated, nms_rotated

from .cases import Case, Inputs


def boxes(count: int, generator: torch.Generator) -> Tensor:
    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(*shape, generator=generator, dtype=torch.float64)

    return torch.cat([uniform(0, 10, count, 2), uniform(1, 8, count, 2), uniform(-4, 4, count, 1)], 1)


def pairs(count: int, generator: torch.Generator) -> Inputs:
    return {"a": boxes(count, generator), "b": boxes(count, generator)}


def uneven(count: int, generator: torch.Generator) -> Inputs:
    return {"a": boxes(count, generator), "b": boxes(count + 5, generator)}


def scored(count: int, generator: torch.Generator) -> Inputs:
    scores = torch.randint(0, 9, (count,), generator=generator).double()
    groups = torch.randint(0, 2, (count,), generator=generator)
    return {"boxes": boxes(count, generator), "scores": scores, "groups": groups}


def hard() -> list[Inputs]:
    """Equal boxes, by other angles too, touching, nested, crossing, of no size, and huge."""
    quarter = math.pi / 2
    a = torch.tensor(
        [
            [5, 5, 4, 2, 0],
            [5, 5, 4, 2, 0.3],
            [5, 5, 2, 4, quarter],
            [5, 5, 2, 4, 0.3 + quarter],
            [9, 5, 4, 2, math.pi],
            [5, 5, 1, 1, 0.7],
            [5, 5, 20, 0.5, 1.0],
            [5, 5, 0, 0, 0],
            [5, 5, 3, 0, 0.2],
            [0, 0, 2e4, 2e4, 0.1],
            [5, 5, 4, 2, 1e-8],
        ],
        dtype=torch.float64,
    )
    return [{"a": a, "b": a}]


def corners(box: list[float]) -> list[tuple[float, float]]:
    x, y, w, h, angle = box
    cos, sin = math.cos(angle), math.sin(angle)
    upright = [(-w / 2, -h / 2), (w / 2, -h / 2), (w / 2, h / 2), (-w / 2, h / 2)]
    return [(x + u * cos - v * sin, y + u * sin + v * cos) for u, v in upright]


def area(polygon: list[tuple[float, float]]) -> float:
    return sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in zip(polygon, polygon[1:] + polygon[:1])) / 2


def clipped(polygon: list[tuple[float, float]], window: list[tuple[float, float]]) -> float:
    """Area of what Sutherland and Hodgman leave of the polygon."""
    for (x0, y0), (x1, y1) in zip(window, window[1:] + window[:1]):
        side = [(x1 - x0) * (y - y0) - (y1 - y0) * (x - x0) for x, y in polygon]
        kept = []
        for i, (p, s) in enumerate(zip(polygon, side)):
            q, t = polygon[i - 1], side[i - 1]
            if s * t < 0:
                kept.append(tuple(b + (a - b) * t / (t - s) for a, b in zip(p, q)))
            if s >= 0:
                kept.append(p)
        polygon = kept
    return area(polygon) if polygon else 0.0


def iou(a: list[float], b: list[float]) -> float:
    inter = clipped(corners(a), corners(b)) if min(*a[2:4], *b[2:4]) > 0 else 0.0
    union = a[2] * a[3] + b[2] * b[3] - inter
    return inter / union if union > 1e-6 else 0.0


def pairwise(a: Tensor, b: Tensor) -> Tensor:
    values = [[iou(x, y) for y in b.tolist()] for x in a.tolist()]
    return torch.tensor(values, dtype=torch.float64).reshape(len(a), len(b))


def aligned(a: Tensor, b: Tensor, *, aligned: bool) -> Tensor:
    return torch.tensor([iou(x, y) for x, y in zip(a.tolist(), b.tolist())], dtype=torch.float64)


def greedy(boxes: Tensor, scores: Tensor, groups: Tensor, *, iou_threshold: float, max_keep: int) -> Tensor:
    rows, kept = boxes.tolist(), []
    for i in sorted(range(len(rows)), key=lambda i: -float(scores[i])):
        if all(groups[i] != groups[j] or iou(rows[i], rows[j]) <= iou_threshold for j in kept):
            kept.append(i)
    return torch.tensor(kept[:max_keep], dtype=torch.int64)


CASES = (
    Case(
        op="box_iou_rotated",
        function=box_iou_rotated,
        make=uneven,
        truth=pairwise,
        half=("a", "b"),
        half_tolerance=1e-3,
        extremes=hard,
    ),
    Case(
        op="box_iou_rotated",
        note="aligned",
        function=box_iou_rotated,
        make=pairs,
        truth=aligned,
        settings={"aligned": True},
        differentiable=("a", "b"),
        extremes=hard,
    ),
    Case(
        op="box_iou_rotated",
        note="nms",
        function=nms_rotated,
        make=scored,
        truth=greedy,
        settings={"iou_threshold": 0.2, "max_keep": 6},
        dynamic=True,
        size=20,
    ),
)
