"""IoU of all pairs of rotated boxes: a tile of pairs per program, everything between in registers."""

# pyright: reportArgumentType=false
# Python numbers become constexpr arguments at the launch.

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from omma.ops.kernels.launch import on_device_of

_TILE = 16
"""Boxes of either side per program; each pair takes some forty registers."""


@triton.jit
def _held(x0, y0, dx, safe_dy, half_w, y):
    x = x0 + dx * tl.minimum(tl.maximum((y - y0) / safe_dy, 0.0), 1.0)
    return tl.maximum(tl.minimum(x, half_w), -half_w)


@triton.jit
def _edge(x0, y0, dx, dy, half_w, half_h):
    """Integral of x, held within +-half_w, over y, held within +-half_h, along one edge of each pair."""
    low = tl.maximum(tl.minimum(y0, half_h), -half_h)
    high = tl.maximum(tl.minimum(y0 + dy, half_h), -half_h)
    flat = tl.abs(dy) < 1e-9
    safe_dy = tl.where(flat, 1.0, dy)
    safe_dx = tl.where(tl.abs(dx) < 1e-9, 1.0, dx)
    first, last = tl.minimum(low, high), tl.maximum(low, high)
    left = y0 + dy * ((-half_w - x0) / safe_dx)
    right = y0 + dy * ((half_w - x0) / safe_dx)
    left = tl.maximum(tl.minimum(left, last), first)
    right = tl.maximum(tl.minimum(right, last), first)
    near, far = tl.minimum(left, right), tl.maximum(left, right)
    at_first = _held(x0, y0, dx, safe_dy, half_w, first)
    at_near = _held(x0, y0, dx, safe_dy, half_w, near)
    at_far = _held(x0, y0, dx, safe_dy, half_w, far)
    at_last = _held(x0, y0, dx, safe_dy, half_w, last)
    total = (near - first) * (at_first + at_near)
    total += (far - near) * (at_near + at_far) + (last - far) * (at_far + at_last)
    return tl.where(flat, 0.0, tl.where(high < low, -0.5, 0.5) * total)


@triton.jit
def _box_iou(a, b, out, a_count, b_count, tile: tl.constexpr):
    rows = tl.program_id(0).to(tl.int64) * tile + tl.arange(0, tile)
    columns = tl.program_id(1).to(tl.int64) * tile + tl.arange(0, tile)
    in_a, in_b = rows < a_count, columns < b_count
    ax = tl.load(a + rows * 5, mask=in_a, other=0.0)[:, None]
    ay = tl.load(a + rows * 5 + 1, mask=in_a, other=0.0)[:, None]
    aw = tl.load(a + rows * 5 + 2, mask=in_a, other=0.0)[:, None]
    ah = tl.load(a + rows * 5 + 3, mask=in_a, other=0.0)[:, None]
    a_angle = tl.load(a + rows * 5 + 4, mask=in_a, other=0.0)[:, None]
    bx = tl.load(b + columns * 5, mask=in_b, other=0.0)[None]
    by = tl.load(b + columns * 5 + 1, mask=in_b, other=0.0)[None]
    bw = tl.load(b + columns * 5 + 2, mask=in_b, other=0.0)[None]
    bh = tl.load(b + columns * 5 + 3, mask=in_b, other=0.0)[None]
    b_angle = tl.load(b + columns * 5 + 4, mask=in_b, other=0.0)[None]
    # Into the frame of b, in which it is upright around the origin.
    cos_b, sin_b = tl.cos(b_angle), tl.sin(b_angle)
    x = (ax - bx) * cos_b + (ay - by) * sin_b
    y = (ay - by) * cos_b - (ax - bx) * sin_b
    cos, sin = tl.cos(a_angle - b_angle), tl.sin(a_angle - b_angle)
    # Sides of a as vectors: along its width and its height.
    wx, wy = aw * cos, aw * sin
    hx, hy = -ah * sin, ah * cos
    x0, y0 = x - (wx + hx) * 0.5, y - (wy + hy) * 0.5
    half_w, half_h = bw * 0.5, bh * 0.5
    inter = _edge(x0, y0, wx, wy, half_w, half_h)
    inter += _edge(x0 + wx, y0 + wy, hx, hy, half_w, half_h)
    inter += _edge(x0 + wx + hx, y0 + wy + hy, -wx, -wy, half_w, half_h)
    inter += _edge(x0 + hx, y0 + hy, -hx, -hy, half_w, half_h)
    inter = tl.minimum(tl.maximum(inter, 0.0), tl.minimum(aw * ah, bw * bh))
    iou = inter / tl.maximum(aw * ah + bw * bh - inter, 1e-6)
    tl.store(out + rows[:, None] * b_count + columns[None], iou, mask=in_a[:, None] & in_b[None])


@torch.library.custom_op("omma::box_iou_rotated", mutates_args=())
def box_iou_rotated(a: Tensor, b: Tensor) -> Tensor:
    """IoU (A, B) of rotated boxes (A, 5) and (B, 5) of one type, float32 or float64; without gradient."""
    a, b = a.contiguous(), b.contiguous()
    out = a.new_empty(len(a), len(b))
    if out.numel():
        grid = (triton.cdiv(len(a), _TILE), triton.cdiv(len(b), _TILE))
        with on_device_of(a):
            _box_iou[grid](a, b, out, len(a), len(b), tile=_TILE)
    return out


@box_iou_rotated.register_fake
def _(a: Tensor, b: Tensor) -> Tensor:
    return a.new_empty(a.shape[0], b.shape[0])
