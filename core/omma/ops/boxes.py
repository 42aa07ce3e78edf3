"""Overlap of axis-parallel boxes, (x1, y1, x2, y2) in any one unit; computed in float32 or better."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from omma.ops.arguments import check_tensors
from omma.ops.precision import at_least_float32


def _checked(op: str, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    check_tensors(op, ("a", a, (..., 4), "any"), ("b", b, (..., 4), "any"))
    return at_least_float32(a), at_least_float32(b)


def box_area(boxes: Tensor) -> Tensor:
    """Areas (...) of boxes (..., 4).

    Raises:
        ValueError: the last axis isn't 4, or boxes lie on several devices, here and below.
    """
    check_tensors("box_area", ("boxes", boxes, (..., 4), "any"))
    boxes = at_least_float32(boxes)
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


def box_centres(boxes: Tensor) -> Tensor:
    """xy (..., 2) of the centres of boxes (..., 4)."""
    return (boxes[..., :2] + boxes[..., 2:]) / 2


def _intersection(a: Tensor, b: Tensor) -> Tensor:
    size = (torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])).clamp(min=0)
    return size[..., 0] * size[..., 1]


def elementwise_iou(a: Tensor, b: Tensor, *, eps: float = 1e-6) -> Tensor:
    """Intersection over union of boxes (..., 4) with boxes of a shape that broadcasts against it.

    The union is at least ``eps``, so that boxes without area have IoU 0.
    """
    a, b = _checked("elementwise_iou", a, b)
    inter = _intersection(a, b)
    return inter / (box_area(a) + box_area(b) - inter).clamp(min=eps)


def elementwise_giou(a: Tensor, b: Tensor, *, eps: float = 1e-6) -> Tensor:
    """Generalised IoU (Rezatofighi et al., 2019) in -1..1 of boxes (..., 4), broadcasting."""
    a, b = _checked("elementwise_giou", a, b)
    inter = _intersection(a, b)
    union = (box_area(a) + box_area(b) - inter).clamp(min=eps)
    size = torch.maximum(a[..., 2:], b[..., 2:]) - torch.minimum(a[..., :2], b[..., :2])
    hull = (size[..., 0] * size[..., 1]).clamp(min=eps)
    return inter / union - (hull - union) / hull


def elementwise_diou(a: Tensor, b: Tensor, *, eps: float = 1e-6) -> Tensor:
    """Distance IoU (Zheng et al., 2020) in -1..1 of boxes (..., 4), broadcasting.

    IoU less the squared distance of the centres over the squared diagonal of the enclosing box.
    """
    a, b = _checked("elementwise_diou", a, b)
    hull = torch.maximum(a[..., 2:], b[..., 2:]) - torch.minimum(a[..., :2], b[..., :2])
    apart = (a[..., :2] + a[..., 2:] - b[..., :2] - b[..., 2:]) / 2
    distance = apart.square().sum(-1) / hull.square().sum(-1).clamp(min=eps)
    return elementwise_iou(a, b, eps=eps) - distance


def elementwise_ciou(a: Tensor, b: Tensor, *, eps: float = 1e-6) -> Tensor:
    """Complete IoU (Zheng et al., 2020) of boxes (..., 4), broadcasting: DIoU less that of the aspect ratios.

    The weight of the aspect term carries no gradient and is 0 up to IoU 0.5, as in the authors' later paper
    (Enhancing Geometric Factors, 2021).
    """
    a, b = _checked("elementwise_ciou", a, b)
    angles = [torch.atan((x[..., 2] - x[..., 0]) / (x[..., 3] - x[..., 1]).clamp(min=eps)) for x in (a, b)]
    aspect = 4 / math.pi**2 * (angles[0] - angles[1]).square()
    with torch.no_grad():
        iou = elementwise_iou(a, b, eps=eps)
        weight = torch.where(iou > 0.5, aspect / (1 - iou + aspect).clamp(min=eps), 0.0)
    return elementwise_diou(a, b, eps=eps) - weight * aspect


def pairwise_iou(a: Tensor, b: Tensor, *, eps: float = 1e-6) -> Tensor:
    """IoU of every box of ``a`` (..., A, 4) with every box of ``b`` (..., B, 4): (..., A, B)."""
    return _pairwise("pairwise_iou", elementwise_iou, a, b, eps)


def pairwise_giou(a: Tensor, b: Tensor, *, eps: float = 1e-6) -> Tensor:
    """``elementwise_giou`` of every pair, as ``pairwise_iou``."""
    return _pairwise("pairwise_giou", elementwise_giou, a, b, eps)


def pairwise_diou(a: Tensor, b: Tensor, *, eps: float = 1e-6) -> Tensor:
    """``elementwise_diou`` of every pair, as ``pairwise_iou``."""
    return _pairwise("pairwise_diou", elementwise_diou, a, b, eps)


def pairwise_ciou(a: Tensor, b: Tensor, *, eps: float = 1e-6) -> Tensor:
    """``elementwise_ciou`` of every pair, as ``pairwise_iou``."""
    return _pairwise("pairwise_ciou", elementwise_ciou, a, b, eps)


def _pairwise(op: str, elementwise: Callable[..., Tensor], a: Tensor, b: Tensor, eps: float) -> Tensor:
    a, b = _checked(op, a, b)
    return elementwise(a[..., :, None, :], b[..., None, :, :], eps=eps)
