"""Multi-scale deformable attention in Triton.

A program has one head of one image and a block of queries; neighbouring threads read neighbouring channels
of a corner. The backward pass is one kernel too: the gradients of places and weights are a program's own, the
values' is gathered by atomic additions in float32, whose order, and so the last bits, vary from run to run.
"""

# pyright: reportGeneralTypeIssues=false, reportOperatorIssue=false
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from omma.ops.kernels.launch import on_device_of

_LEVELS = 8
# Sizes of maps change from image to image; kernels must not be compiled for each.
_VARYING = ["queries", "cells", *(f"{axis}{level}" for level in range(_LEVELS) for axis in "hw")]


@triton.jit
def _corners(place, size_h, size_w, rows):
    """Top left cell of the bilinear sample, the shares below and right of it, and where (h, w) are inside."""
    # Far outside is as good as just outside, and fits into an integer.
    x = tl.minimum(tl.maximum(tl.load(place, mask=rows, other=-1.0) * size_w - 0.5, -2.0), size_w + 1.0)
    y = tl.minimum(tl.maximum(tl.load(place + 1, mask=rows, other=-1.0) * size_h - 0.5, -2.0), size_h + 1.0)
    left, top = tl.floor(x), tl.floor(y)
    column, row = left.to(tl.int32), top.to(tl.int32)
    in_left = rows & (column >= 0) & (column < size_w)
    in_right = rows & (column >= -1) & (column < size_w - 1)
    in_top = (row >= 0) & (row < size_h)
    in_bottom = (row >= -1) & (row < size_h - 1)
    return row * size_w + column, y - top, x - left, in_top, in_bottom, in_left, in_right


@triton.jit
def _read(cells, here, inside, channels, dtype: tl.constexpr):
    """(queries, channels) of one corner, 0 outside."""
    return tl.load(cells + here, mask=inside[:, None] & channels[None], other=0.0).to(dtype)


@triton.jit(do_not_specialize=_VARYING)
def _forward(
    value, place, weight, out, queries, cells,
    h0, w0, h1, w1, h2, w2, h3, w3, h4, w4, h5, w5, h6, w6, h7, w7,
    HEADS: tl.constexpr, CHANNELS: tl.constexpr, LEVELS: tl.constexpr, POINTS: tl.constexpr,
    BLOCK: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    sizes = (h0, w0, h1, w1, h2, w2, h3, w3, h4, w4, h5, w5, h6, w6, h7, w7)
    dtype: tl.constexpr = place.dtype.element_ty
    head = tl.program_id(1)
    image = tl.program_id(2).to(tl.int64)
    query = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    rows = query < queries
    channel = tl.arange(0, WIDTH)
    channels = channel < CHANNELS
    value += (image * cells * HEADS + head) * CHANNELS
    first = ((image * queries + query) * HEADS + head) * (LEVELS * POINTS)
    total = tl.zeros([BLOCK, WIDTH], dtype)
    for level in tl.static_range(LEVELS):
        h, w = sizes[2 * level], sizes[2 * level + 1]
        for point in range(POINTS):
            at = first + level * POINTS + point
            cell, y, x, in_top, in_bottom, in_left, in_right = _corners(place + 2 * at, h, w, rows)
            a = tl.load(weight + at, mask=rows, other=0.0).to(dtype)
            here = cell[:, None] * (HEADS * CHANNELS) + channel[None]
            below = here + w * (HEADS * CHANNELS)
            next_ = HEADS * CHANNELS
            v00 = _read(value, here, in_top & in_left, channels, dtype)
            v01 = _read(value, here + next_, in_top & in_right, channels, dtype)
            v10 = _read(value, below, in_bottom & in_left, channels, dtype)
            v11 = _read(value, below + next_, in_bottom & in_right, channels, dtype)
            total += (a * (1 - y) * (1 - x))[:, None] * v00 + (a * (1 - y) * x)[:, None] * v01
            total += (a * y * (1 - x))[:, None] * v10 + (a * y * x)[:, None] * v11
        value += (h * w).to(tl.int64) * (HEADS * CHANNELS)
    out += ((image * queries + query) * HEADS + head)[:, None] * CHANNELS + channel[None]
    tl.store(out, total.to(out.dtype.element_ty), mask=rows[:, None] & channels[None])


@triton.jit(do_not_specialize=_VARYING)
def _backward(
    value, place, weight, grad, value_grad, place_grad, weight_grad, queries, cells,
    h0, w0, h1, w1, h2, w2, h3, w3, h4, w4, h5, w5, h6, w6, h7, w7,
    HEADS: tl.constexpr, CHANNELS: tl.constexpr, LEVELS: tl.constexpr, POINTS: tl.constexpr,
    BLOCK: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    sizes = (h0, w0, h1, w1, h2, w2, h3, w3, h4, w4, h5, w5, h6, w6, h7, w7)
    dtype: tl.constexpr = place.dtype.element_ty
    head = tl.program_id(1)
    image = tl.program_id(2).to(tl.int64)
    query = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    rows = query < queries
    channel = tl.arange(0, WIDTH)
    channels = channel < CHANNELS
    value += (image * cells * HEADS + head) * CHANNELS
    value_grad += (image * cells * HEADS + head) * CHANNELS
    group = (image * queries + query) * HEADS + head
    first = group * (LEVELS * POINTS)
    grad += group[:, None] * CHANNELS + channel[None]
    g = tl.load(grad, mask=rows[:, None] & channels[None], other=0.0).to(dtype)
    for level in tl.static_range(LEVELS):
        h, w = sizes[2 * level], sizes[2 * level + 1]
        for point in range(POINTS):
            at = first + level * POINTS + point
            cell, y, x, in_top, in_bottom, in_left, in_right = _corners(place + 2 * at, h, w, rows)
            a = tl.load(weight + at, mask=rows, other=0.0).to(dtype)
            here = cell[:, None] * (HEADS * CHANNELS) + channel[None]
            below = here + w * (HEADS * CHANNELS)
            next_ = HEADS * CHANNELS
            # Products with the gradient first: of each corner only one number per query is kept.
            p00 = tl.sum(g * _read(value, here, in_top & in_left, channels, dtype), 1)
            p01 = tl.sum(g * _read(value, here + next_, in_top & in_right, channels, dtype), 1)
            p10 = tl.sum(g * _read(value, below, in_bottom & in_left, channels, dtype), 1)
            p11 = tl.sum(g * _read(value, below + next_, in_bottom & in_right, channels, dtype), 1)
            top, bottom = (1 - x) * p00 + x * p01, (1 - x) * p10 + x * p11
            tl.store(
                weight_grad + at, ((1 - y) * top + y * bottom).to(weight_grad.dtype.element_ty), mask=rows
            )
            tl.store(place_grad + 2 * at, a * w * ((1 - y) * (p01 - p00) + y * (p11 - p10)), mask=rows)
            tl.store(place_grad + 2 * at + 1, a * h * (bottom - top), mask=rows)
            _add(value_grad, here, (a * (1 - y) * (1 - x))[:, None] * g, in_top & in_left, channels)
            _add(value_grad, here + next_, (a * (1 - y) * x)[:, None] * g, in_top & in_right, channels)
            _add(value_grad, below, (a * y * (1 - x))[:, None] * g, in_bottom & in_left, channels)
            _add(value_grad, below + next_, (a * y * x)[:, None] * g, in_bottom & in_right, channels)
        value += (h * w).to(tl.int64) * (HEADS * CHANNELS)
        value_grad += (h * w).to(tl.int64) * (HEADS * CHANNELS)


@triton.jit
def _add(cells, here, what, inside, channels):
    tl.atomic_add(cells + here, what, mask=inside[:, None] & channels[None], sem="relaxed")


@torch.library.custom_op("omma::ms_deform_attn", mutates_args=())
def ms_deform_attn(value: Tensor, sizes: Sequence[int], locations: Tensor, weights: Tensor) -> Tensor:
    """See ``omma.ops.ms_deform_attn``; ``sizes`` are h, w, h, w ... and locations of float32 or float64."""
    out = value.new_empty(*locations.shape[:3], value.shape[-1])
    if out.numel():
        tensors = (value.contiguous(), locations.contiguous(), weights.contiguous(), out)
        _launch(_forward, tensors, value, sizes, locations)
    return out.flatten(2)


@ms_deform_attn.register_fake
def _(value: Tensor, sizes: Sequence[int], locations: Tensor, weights: Tensor) -> Tensor:
    return value.new_empty(*locations.shape[:2], value.shape[2] * value.shape[3])


@torch.library.custom_op("omma::ms_deform_attn_backward", mutates_args=())
def ms_deform_attn_backward(
    grad: Tensor, value: Tensor, sizes: Sequence[int], locations: Tensor, weights: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of value, locations and weights, each of its tensor's type."""
    value_grad = torch.zeros_like(value, dtype=locations.dtype, memory_format=torch.contiguous_format)
    place_grad = torch.zeros_like(locations, memory_format=torch.contiguous_format)
    weight_grad = torch.zeros_like(weights, memory_format=torch.contiguous_format)
    if grad.numel():
        inputs = (value.contiguous(), locations.contiguous(), weights.contiguous(), grad.contiguous())
        _launch(_backward, (*inputs, value_grad, place_grad, weight_grad), value, sizes, locations)
    return value_grad.to(value.dtype), place_grad, weight_grad


@ms_deform_attn_backward.register_fake
def _(
    grad: Tensor, value: Tensor, sizes: Sequence[int], locations: Tensor, weights: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    return (
        torch.empty_like(value, memory_format=torch.contiguous_format),
        torch.empty_like(locations, memory_format=torch.contiguous_format),
        torch.empty_like(weights, memory_format=torch.contiguous_format),
    )


def _launch(
    kernel: Any, tensors: Sequence[Tensor], value: Tensor, sizes: Sequence[int], places: Tensor
) -> None:
    n, queries, heads, levels, points, _ = places.shape
    width = triton.next_power_of_2(value.shape[-1])
    # Each thread moves 16 bytes of a row at a time; of the gradient, never of half precision, in the backward
    # pass, so that all its tensors are split alike. There one warp by itself: sums need no barrier.
    warps, moved = (1, places) if kernel is _backward else (4, value)
    block = max(1, warps * 32 * 16 // (width * moved.element_size()))
    padded = [*sizes, *[1] * (2 * _LEVELS - len(sizes))]
    with on_device_of(value):
        kernel[(triton.cdiv(queries, block), heads, n)](
            *tensors,
            queries,
            value.shape[1],
            *padded,
            HEADS=heads,
            CHANNELS=value.shape[-1],
            LEVELS=levels,
            POINTS=points,
            BLOCK=block,
            WIDTH=width,
            num_warps=warps,
        )


def _save(ctx: Any, inputs: tuple[Tensor, Sequence[int], Tensor, Tensor], output: Tensor) -> None:
    value, sizes, locations, weights = inputs
    ctx.save_for_backward(value, locations, weights)
    ctx.sizes = sizes


def _differentiate(ctx: Any, grad: Tensor) -> tuple[Tensor, None, Tensor, Tensor]:
    value, locations, weights = ctx.saved_tensors
    grads = ms_deform_attn_backward(grad, value, ctx.sizes, locations, weights)
    return grads[0], None, grads[1], grads[2]


ms_deform_attn.register_autograd(_differentiate, setup_context=_save)
