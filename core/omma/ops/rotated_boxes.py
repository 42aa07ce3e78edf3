"""Overlap of rotated boxes.

A rotated box is (x, y, w, h, angle): its centre and sides in any one unit, and an angle in radians by which
it is turned clockwise as seen in the image (x to the right, y down), as in OpenMMLab: the corner that lies at
(u, v) from the centre of the upright box comes to lie at (u cos a - v sin a, u sin a + v cos a).
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor

from omma.ops.arguments import check_tensors
from omma.ops.backend import Operator
from omma.ops.precision import at_least_float32

_EPS = 1e-6


def rotated_corners(boxes: Tensor) -> Tensor:
    """Corners (..., 4, 2) of rotated boxes (..., 5): the upright box's top left one, and on clockwise.

    Raises:
        ValueError: the last axis isn't 5, or the boxes aren't floating point.
    """
    check_tensors("rotated_corners", ("boxes", boxes, (..., 5), "float"))
    return _corners(at_least_float32(boxes))


def box_iou_rotated(a: Tensor, b: Tensor, *, aligned: bool = False) -> Tensor:
    """Intersection over union of rotated boxes, exact and differentiable.

    The area of the intersection is an integral along the border of ``a`` alone (Green's theorem), of x held
    within ``b`` in the frame of ``b``: no corners are sought and sorted, and equal or touching boxes are no
    special case.

    Args:
        a: (A, 5) x, y, w, h, angle; see the module. w and h are 0 or more.
        b: (B, 5).
        aligned: compare a[i] with b[i] only, A = B.

    Returns:
        (A, B), or (A,) if aligned: in 0..1, 0 where both boxes have no area; float32 or better.

    Raises:
        ValueError: shapes, dtypes or devices aren't as above.
    """
    rows = ("A", "A") if aligned else ("A", "B")
    check_tensors("box_iou_rotated", ("a", a, (rows[0], 5), "float"), ("b", b, (rows[1], 5), "float"))
    a, b = at_least_float32(a), at_least_float32(b)
    dtype = torch.promote_types(a.dtype, b.dtype)
    a, b = a.to(dtype), b.to(dtype)
    if aligned:
        return _elementwise(a, b)
    return _BOX_IOU_ROTATED.kernel(a)(a, b)


def _corners(boxes: Tensor) -> Tensor:
    x, y, w, h, angle = boxes.unbind(-1)
    u = torch.stack([-w, w, w, -w], -1) / 2
    v = torch.stack([-h, -h, h, h], -1) / 2
    cos, sin = angle.cos()[..., None], angle.sin()[..., None]
    return torch.stack([x[..., None] + u * cos - v * sin, y[..., None] + u * sin + v * cos], -1)


def _elementwise(a: Tensor, b: Tensor) -> Tensor:
    x, y, w, h, angle = a.unbind(-1)
    bx, by, bw, bh, b_angle = b.unbind(-1)
    # Into the frame of b, in which it is upright around the origin.
    cos, sin = b_angle.cos(), b_angle.sin()
    dx, dy = x - bx, y - by
    moved = (dx * cos + dy * sin, dy * cos - dx * sin, w, h, angle - b_angle)
    corners = _corners(torch.stack(torch.broadcast_tensors(*moved), -1))
    ends = corners.roll(-1, dims=-2)
    inter = _border_integral(corners, ends, bw[..., None] / 2, bh[..., None] / 2).sum(-1).clamp(min=0)
    # Rounding must not make the intersection larger than either box.
    inter = torch.minimum(inter, torch.minimum(w * h, bw * bh))
    return inter / (w * h + bw * bh - inter).clamp(min=_EPS)


def _border_integral(start: Tensor, end: Tensor, half_w: Tensor, half_h: Tensor) -> Tensor:
    """Integral over y, held within +-half_h, of x held within +-half_w, along edges (..., E, 2): (..., E)."""
    x0, y0 = start.unbind(-1)
    dx, dy = (end - start).unbind(-1)
    low = torch.maximum(torch.minimum(y0, half_h), -half_h)
    high = torch.maximum(torch.minimum(y0 + dy, half_h), -half_h)
    flat, upright = dy.abs() < _EPS * 1e-3, dx.abs() < _EPS * 1e-3
    safe_dy, safe_dx = torch.where(flat, 1.0, dy), torch.where(upright, 1.0, dx)
    first, last = torch.minimum(low, high), torch.maximum(low, high)

    def held_x(y: Tensor) -> Tensor:
        x = x0 + dx * ((y - y0) / safe_dy).clamp(0, 1)
        return torch.maximum(torch.minimum(x, half_w), -half_w)

    # Between the places where x leaves and enters its bounds the integrand is linear: trapezoids are exact.
    left, right = (
        torch.maximum(torch.minimum(y0 + dy * ((side - x0) / safe_dx), last), first)
        for side in (-half_w, half_w)
    )
    stops = (first, torch.minimum(left, right), torch.maximum(left, right), last)
    pieces = [(b - a) * (held_x(a) + held_x(b)) / 2 for a, b in pairwise(stops)]
    total = pieces[0] + pieces[1] + pieces[2]
    return torch.where(flat, 0.0, total * torch.where(high < low, -1.0, 1.0))


def _reference(a: Tensor, b: Tensor) -> Tensor:
    return _elementwise(a[:, None], b[None])


def _pytorch(a: Tensor, b: Tensor) -> Tensor:
    """Only pairs whose circumscribed circles meet are computed; a trace can't depend on how many they are."""
    if torch.compiler.is_compiling():
        return _reference(a, b)
    apart = (a[:, None, :2] - b[None, :, :2]).square().sum(-1)
    reach = a[:, None, 2:4].norm(dim=-1) + b[None, :, 2:4].norm(dim=-1)
    i, j = (apart.detach() <= (reach.detach() / 2).square()).nonzero(as_tuple=True)
    return apart.new_zeros(apart.shape).index_put((i, j), _elementwise(a[i], b[j]))


def _triton(a: Tensor, b: Tensor) -> Tensor:
    if torch.is_grad_enabled() and (a.requires_grad or b.requires_grad):
        # Assignment and suppression, which compare all pairs, need no gradient: the kernel has none.
        return _reference(a, b)
    from omma.ops.kernels.rotated_boxes import box_iou_rotated as kernel

    return kernel(a, b)


_BOX_IOU_ROTATED = Operator("box_iou_rotated", triton=_triton, pytorch=_pytorch, reference=_reference)
