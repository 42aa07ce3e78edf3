"""Overlap of axis-parallel boxes, (x1, y1, x2, y2) in any one unit; computed in float32 or better."""

from __future__ import annotations

import torch
from torch import Tensor

from omma.ops.precision import at_least_float32


def _check(op: str, name: str, boxes: Tensor) -> Tensor:
    if boxes.ndim < 1 or boxes.shape[-1] != 4:
        raise ValueError(f"{op}: {name} must have shape (..., 4), got {tuple(boxes.shape)}")
    return at_least_float32(boxes)


def box_area(boxes: Tensor) -> Tensor:
    """Areas (...) of boxes (..., 4).

    Raises:
        ValueError: the last axis isn't 4, here and below.
    """
    boxes = _check("box_area", "boxes", boxes)
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


def _intersection(a: Tensor, b: Tensor) -> Tensor:
    size = (torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])).clamp(min=0)
    return size[..., 0] * size[..., 1]


def elementwise_iou(a: Tensor, b: Tensor, *, eps: float = 1e-6) -> Tensor:
    """Intersection over union of boxes (..., 4) with boxes of a shape that broadcasts against it.

    The union is at least ``eps``, so that boxes without area have IoU 0.
    """
    a, b = _check("elementwise_iou", "a", a), _check("elementwise_iou", "b", b)
    inter = _intersection(a, b)
    return inter / (box_area(a) + box_area(b) - inter).clamp(min=eps)


def pairwise_iou(a: Tensor, b: Tensor, *, eps: float = 1e-6) -> Tensor:
    """IoU of every box of ``a`` (A, 4) with every box of ``b`` (B, 4): (A, B)."""
    a, b = _check("pairwise_iou", "a", a), _check("pairwise_iou", "b", b)
    return elementwise_iou(a[:, None], b[None], eps=eps)


def elementwise_giou(a: Tensor, b: Tensor, *, eps: float = 1e-6) -> Tensor:
    """Generalised IoU (Rezatofighi et al., 2019) in -1..1 of boxes (..., 4), broadcasting."""
    a, b = _check("elementwise_giou", "a", a), _check("elementwise_giou", "b", b)
    inter = _intersection(a, b)
    union = (box_area(a) + box_area(b) - inter).clamp(min=eps)
    size = torch.maximum(a[..., 2:], b[..., 2:]) - torch.minimum(a[..., :2], b[..., :2])
    hull = (size[..., 0] * size[..., 1]).clamp(min=eps)
    return inter / union - (hull - union) / hull
