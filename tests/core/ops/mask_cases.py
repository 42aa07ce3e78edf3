"""Cases of the operators on masks."""

from __future__ import annotations

import torch
from scipy import ndimage
from torch import Tensor

from omma.ops import connected_components, mask_centres, masks_to_boxes, pairwise_mask_iou

from .cases import Case, Inputs


def speckled(count: int, generator: torch.Generator) -> Inputs:
    return {"masks": torch.rand(count, 9, 11, generator=generator) < 0.45}


def pairs(count: int, generator: torch.Generator) -> Inputs:
    a, b = torch.rand(2, count, 5, 6, generator=generator) < 0.5
    return {"a": a, "b": b}


def hard() -> list[Inputs]:
    """Empty, full, a single pixel at the end, and a spiral, along which labels travel far."""
    masks = torch.zeros(4, 9, 11, dtype=torch.bool)
    masks[1] = True
    masks[2, -1, -1] = True
    top, left, bottom, right = 0, 0, 8, 10
    while top <= bottom and left <= right:
        masks[3, top, left : right + 1] = masks[3, top : bottom + 1, right] = True
        masks[3, bottom, left : right + 1] = masks[3, top + 2 : bottom + 1, left] = True
        masks[3, top + 2, left : left + 2] = True
        top, left, bottom, right = top + 2, left + 2, bottom - 2, right - 2
    return [{"masks": masks}]


def flooded(masks: Tensor, *, diagonal: bool) -> Tensor:
    out = torch.zeros(masks.shape, dtype=torch.int64)
    steps = [(0, 1), (1, 0), (0, -1), (-1, 0)] + [(i, j) for i in (-1, 1) for j in (-1, 1) if diagonal]
    for mask, labels in zip(masks.tolist(), out):
        number = 0
        for start in [(y, x) for y, row in enumerate(mask) for x, on in enumerate(row) if on]:
            if labels[start]:
                continue
            number += 1
            labels[start], todo = number, [start]
            while todo:
                y, x = todo.pop()
                for p in [(y + i, x + j) for i, j in steps]:
                    inside = 0 <= p[0] < len(mask) and 0 <= p[1] < len(mask[0])
                    if inside and mask[p[0]][p[1]] and not labels[p]:
                        labels[p] = number
                        todo.append(p)
    return out


def boxes(masks: Tensor) -> Tensor:
    out = []
    for mask in masks:
        y, x = mask.nonzero(as_tuple=True)
        out.append([x.min(), y.min(), x.max() + 1, y.max() + 1] if len(x) else [0, 0, 0, 0])
    return torch.tensor(out, dtype=torch.float64).reshape(-1, 4)


def centres(masks: Tensor) -> Tensor:
    out = [ndimage.center_of_mass(mask.numpy())[::-1] if mask.any() else [torch.nan] * 2 for mask in masks]
    return torch.tensor(out, dtype=torch.float64).reshape(-1, 2)


def overlaps(a: Tensor, b: Tensor) -> Tensor:
    values = [[float((x & y).sum()) / max(float((x | y).sum()), 1) for y in b] for x in a]
    return torch.tensor(values, dtype=torch.float64).reshape(len(a), len(b))


CASES = (
    Case(
        op="connected_components",
        function=connected_components,
        make=speckled,
        truth=flooded,
        settings={"diagonal": True},
        size=3,
        extremes=hard,
    ),
    Case(
        op="connected_components",
        note="sides",
        function=connected_components,
        make=speckled,
        truth=flooded,
        settings={"diagonal": False},
        size=3,
        extremes=hard,
    ),
    Case(op="mask_centres", function=mask_centres, make=speckled, truth=centres, extremes=hard),
    Case(op="masks_to_boxes", function=masks_to_boxes, make=speckled, truth=boxes, extremes=hard),
    Case(op="pairwise_mask_iou", function=pairwise_mask_iou, make=pairs, truth=overlaps),
)
