"""CARAFE in Triton.

Maps stay (N, C, H, W): neighbouring threads have neighbouring pixels of a row. No pass needs atomic
additions: the backward kernels gather, one over the source pixels, one over the taps.
"""

# pyright: reportGeneralTypeIssues=false, reportOperatorIssue=false
from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from omma.ops.kernels.launch import compute_type, on_device_of

# Sizes of maps change from image to image; kernels must not be compiled for each.
_VARYING = ["height", "width"]
_PIXELS, _CHANNELS = 64, 32


@triton.jit(do_not_specialize=_VARYING)
def _forward(
    x, kernels, out, height, width,
    C: tl.constexpr, GROUPS: tl.constexpr, K: tl.constexpr, SCALE: tl.constexpr, ACC: tl.constexpr,
    PIXELS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    """A block of output pixels by a block of one group's channels."""
    blocks: tl.constexpr = (C // GROUPS + CHANNELS - 1) // CHANNELS
    group = tl.program_id(1) // blocks
    image = tl.program_id(2).to(tl.int64)
    channel = tl.program_id(1) % blocks * CHANNELS + tl.arange(0, CHANNELS)
    channels = channel < C // GROUPS
    channel += group * (C // GROUPS)
    pixel = tl.program_id(0) * PIXELS + tl.arange(0, PIXELS)
    area = height * width
    pixels = pixel < area * SCALE * SCALE
    row, column = pixel // (width * SCALE) // SCALE, pixel % (width * SCALE) // SCALE
    x += (image * C + channel[:, None]) * area
    kernels += (image * GROUPS + group) * (K * K) * (area * SCALE * SCALE) + pixel
    total = tl.zeros([CHANNELS, PIXELS], ACC)
    for tap in range(K * K):
        y, x_ = row + tap // K - K // 2, column + tap % K - K // 2
        inside = pixels & (y >= 0) & (y < height) & (x_ >= 0) & (x_ < width)
        share = tl.load(kernels, mask=inside, other=0.0).to(ACC)
        source = tl.load(x + (y * width + x_)[None], mask=channels[:, None] & inside[None], other=0.0)
        total += share[None] * source.to(ACC)
        kernels += area * SCALE * SCALE
    out += (image * C + channel[:, None]) * (area * SCALE * SCALE) + pixel[None]
    tl.store(out, total.to(out.dtype.element_ty), mask=channels[:, None] & pixels[None])


@triton.jit(do_not_specialize=_VARYING)
def _backward_x(
    grad, kernels, x_grad, height, width,
    C: tl.constexpr, GROUPS: tl.constexpr, K: tl.constexpr, SCALE: tl.constexpr, ACC: tl.constexpr,
    PIXELS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    """A block of source pixels by a block of one group's channels, over all outputs that read them."""
    blocks: tl.constexpr = (C // GROUPS + CHANNELS - 1) // CHANNELS
    group = tl.program_id(1) // blocks
    image = tl.program_id(2).to(tl.int64)
    channel = tl.program_id(1) % blocks * CHANNELS + tl.arange(0, CHANNELS)
    channels = channel < C // GROUPS
    channel += group * (C // GROUPS)
    pixel = tl.program_id(0) * PIXELS + tl.arange(0, PIXELS)
    area = height * width
    pixels = pixel < area
    row, column = pixel // width, pixel % width
    grad += (image * C + channel[:, None]) * (area * SCALE * SCALE)
    kernels += (image * GROUPS + group) * (K * K) * (area * SCALE * SCALE)
    total = tl.zeros([CHANNELS, PIXELS], ACC)
    for tap in range(K * K):
        # The output within this source pixel reads the present one by this tap.
        y, x_ = row - tap // K + K // 2, column - tap % K + K // 2
        inside = pixels & (y >= 0) & (y < height) & (x_ >= 0) & (x_ < width)
        for part in range(SCALE * SCALE):
            place = (y * SCALE + part // SCALE) * (width * SCALE) + x_ * SCALE + part % SCALE
            share = tl.load(kernels + place, mask=inside, other=0.0).to(ACC)
            g = tl.load(grad + place[None], mask=channels[:, None] & inside[None], other=0.0)
            total += share[None] * g.to(ACC)
        kernels += area * SCALE * SCALE
    x_grad += (image * C + channel[:, None]) * area + pixel[None]
    tl.store(x_grad, total.to(x_grad.dtype.element_ty), mask=channels[:, None] & pixels[None])


@triton.jit(do_not_specialize=_VARYING)
def _backward_kernels(
    grad, x, kernels_grad, height, width,
    C: tl.constexpr, GROUPS: tl.constexpr, K: tl.constexpr, SCALE: tl.constexpr, ACC: tl.constexpr,
    PIXELS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    """One tap at a block of output pixels, over the channels of its group."""
    tap = tl.program_id(1) % (K * K)
    group = tl.program_id(1) // (K * K)
    image = tl.program_id(2).to(tl.int64)
    pixel = tl.program_id(0) * PIXELS + tl.arange(0, PIXELS)
    area = height * width
    pixels = pixel < area * SCALE * SCALE
    y = pixel // (width * SCALE) // SCALE + tap // K - K // 2
    x_ = pixel % (width * SCALE) // SCALE + tap % K - K // 2
    inside = pixels & (y >= 0) & (y < height) & (x_ >= 0) & (x_ < width)
    first = image * C + group * (C // GROUPS)
    total = tl.zeros([PIXELS], ACC)
    for start in range(0, C // GROUPS, CHANNELS):
        channel = start + tl.arange(0, CHANNELS)
        used = (channel < C // GROUPS)[:, None] & inside[None]
        at = (first + channel)[:, None]
        source = tl.load(x + at * area + (y * width + x_)[None], mask=used, other=0.0).to(ACC)
        g = tl.load(grad + at * (area * SCALE * SCALE) + pixel[None], mask=used, other=0.0).to(ACC)
        total += tl.sum(source * g, 0)
    kernels_grad += (image * GROUPS * (K * K) + tl.program_id(1)) * (area * SCALE * SCALE) + pixel
    tl.store(kernels_grad, total.to(kernels_grad.dtype.element_ty), mask=pixels)


@torch.library.custom_op("omma::carafe", mutates_args=())
def carafe(x: Tensor, kernels: Tensor, kernel_size: int, scale: int) -> Tensor:
    """See ``omma.ops.carafe``."""
    n, c, h, w = x.shape
    out = x.new_empty(n, c, h * scale, w * scale)
    if out.numel():
        groups = kernels.shape[1] // kernel_size**2
        grid = (triton.cdiv(h * w * scale**2, _PIXELS), groups * triton.cdiv(c // groups, _CHANNELS), n)
        _launch(_forward, grid, (x.contiguous(), kernels.contiguous(), out), x, groups, kernel_size, scale)
    return out


@carafe.register_fake
def _(x: Tensor, kernels: Tensor, kernel_size: int, scale: int) -> Tensor:
    n, c, h, w = x.shape
    return x.new_empty(n, c, h * scale, w * scale)


@torch.library.custom_op("omma::carafe_backward", mutates_args=())
def carafe_backward(
    grad: Tensor, x: Tensor, kernels: Tensor, kernel_size: int, scale: int
) -> tuple[Tensor, Tensor]:
    """Gradients of x and kernels, each of its tensor's type."""
    n, c, h, w = x.shape
    x_grad = torch.zeros_like(x, memory_format=torch.contiguous_format)
    kernels_grad = torch.zeros_like(kernels, memory_format=torch.contiguous_format)
    if grad.numel():
        grad, x, kernels = grad.contiguous(), x.contiguous(), kernels.contiguous()
        groups = kernels.shape[1] // kernel_size**2
        grid = (triton.cdiv(h * w, _PIXELS), groups * triton.cdiv(c // groups, _CHANNELS), n)
        _launch(_backward_x, grid, (grad, kernels, x_grad), x, groups, kernel_size, scale)
        grid = (triton.cdiv(h * w * scale**2, _PIXELS), groups * kernel_size**2, n)
        _launch(_backward_kernels, grid, (grad, x, kernels_grad), x, groups, kernel_size, scale)
    return x_grad, kernels_grad


@carafe_backward.register_fake
def _(grad: Tensor, x: Tensor, kernels: Tensor, kernel_size: int, scale: int) -> tuple[Tensor, Tensor]:
    return (
        torch.empty_like(x, memory_format=torch.contiguous_format),
        torch.empty_like(kernels, memory_format=torch.contiguous_format),
    )


def _launch(
    kernel: Any,
    grid: tuple[int, int, int],
    tensors: tuple[Tensor, ...],
    x: Tensor,
    groups: int,
    kernel_size: int,
    scale: int,
) -> None:
    with on_device_of(x):
        kernel[grid](
            *tensors,
            *x.shape[2:],
            C=x.shape[1],
            GROUPS=groups,
            K=kernel_size,
            SCALE=scale,
            ACC=compute_type(x),
            PIXELS=_PIXELS,
            CHANNELS=_CHANNELS,
            num_warps=4,
        )


def _save(ctx: Any, inputs: tuple[Tensor, Tensor, int, int], output: Tensor) -> None:
    x, kernels, ctx.kernel_size, ctx.scale = inputs
    ctx.save_for_backward(x, kernels)


def _differentiate(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None]:
    x, kernels = ctx.saved_tensors
    x_grad, kernels_grad = carafe_backward(grad, x, kernels, ctx.kernel_size, ctx.scale)
    return x_grad, kernels_grad, None, None


carafe.register_autograd(_differentiate, setup_context=_save)
