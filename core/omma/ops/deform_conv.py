"""Deformable convolution (Dai et al., 2017), with or without modulation (Zhu et al., v2, 2018)."""

from __future__ import annotations

import torch
import torchvision
from torch import Tensor
from torch.nn import functional as F

from omma.ops.arguments import Kind, Shape, check_tensors
from omma.ops.backend import Operator
from omma.ops.precision import at_least_float32


def deform_conv2d(
    x: Tensor,
    offset: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    mask: Tensor | None = None,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
) -> Tensor:
    """A convolution whose every tap reads the map at its own place, moved by ``offset``, bilinearly.

    Reads zeros outside of the map. Computed in float32 or better: in half precision an offset is worth
    little. With G groups of offsets, each moves C / G consecutive channels.

    Args:
        x: (N, C, H, W).
        offset: (N, 2 * G * kh * kw, H', W'), pixels of ``x``: group, tap (row by row), then (y, x).
        weight: (C', C / groups, kh, kw).
        bias: (C',).
        mask: (N, G * kh * kw, H', W'), factors on what each tap reads; null: 1 (version 1).
        stride, padding, dilation: as ``nn.Conv2d``, pixels.

    Returns:
        (N, C', H', W') with H' = (H + 2 * padding - dilation * (kh - 1) - 1) // stride + 1; of ``x``'s type.

    Raises:
        ValueError: shapes, dtypes or devices aren't as above.
    """
    _check(x, offset, weight, bias, mask, stride, padding, dilation)
    exact = at_least_float32(x)
    others = [None if each is None else each.to(exact.dtype) for each in (offset, weight, bias, mask)]
    out = _DEFORM_CONV2D.kernel(x)(exact, *others, stride, padding, dilation)
    return out.to(x.dtype)


def _torchvision(
    x: Tensor,
    offset: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    mask: Tensor | None,
    stride: int,
    padding: int,
    dilation: int,
) -> Tensor:
    pairs = [(stride, stride), (padding, padding), (dilation, dilation)]
    return torchvision.ops.deform_conv2d(x, offset, weight, bias, *pairs, mask=mask)


def _reference(
    x: Tensor,
    offset: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    mask: Tensor | None,
    stride: int,
    padding: int,
    dilation: int,
) -> Tensor:
    """Sample all taps, then one matrix product per group."""
    n, c, h, w = x.shape
    c_out, c_group, kh, kw = weight.shape
    out_h, out_w = offset.shape[-2:]
    taps, places = kh * kw, out_h * out_w
    deform_groups = offset.shape[1] // (2 * taps)
    y, x_ = _tap_positions(x, (kh, kw), (out_h, out_w), stride, padding, dilation)
    moved = offset.reshape(n, deform_groups, taps, 2, out_h, out_w)
    # grid_sample measures from -1 to 1 across the whole map, pixel centres half a pixel from its border.
    grid_y = (2 * (y + moved[:, :, :, 0]) + 1) / h - 1
    grid_x = (2 * (x_ + moved[:, :, :, 1]) + 1) / w - 1
    grid = torch.stack([grid_x, grid_y], -1).reshape(n * deform_groups, taps, places, 2)
    maps = x.reshape(n * deform_groups, c // deform_groups, h, w)
    sampled = F.grid_sample(maps, grid, padding_mode="zeros", align_corners=False)
    if mask is not None:
        sampled = sampled * mask.reshape(n * deform_groups, 1, taps, places)
    groups = c // c_group
    columns = sampled.reshape(n, groups, c_group * taps, places)
    out = (weight.reshape(groups, c_out // groups, c_group * taps) @ columns).reshape(n, c_out, out_h, out_w)
    return out if bias is None else out + bias[:, None, None]


def _tap_positions(
    x: Tensor, kernel: tuple[int, int], size: tuple[int, int], stride: int, padding: int, dilation: int
) -> tuple[Tensor, Tensor]:
    """Rows (K, H', 1) and columns (K, 1, W') of ``x`` where an ordinary convolution's K taps read."""
    rows, columns = (torch.arange(n, device=x.device, dtype=x.dtype) for n in size)
    tap_y, tap_x = (torch.arange(k, device=x.device, dtype=x.dtype) * dilation - padding for k in kernel)
    y = tap_y.repeat_interleave(kernel[1])[:, None, None] + (rows * stride)[:, None]
    return y, tap_x.repeat(kernel[0])[:, None, None] + columns * stride


def _check(
    x: Tensor,
    offset: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    mask: Tensor | None,
    stride: int,
    padding: int,
    dilation: int,
) -> None:
    op = "deform_conv2d"
    check_tensors(
        op,
        ("x", x, ("N", "C", "H", "W"), "float"),
        ("weight", weight, ("C'", "C / groups", "kh", "kw"), "float"),
    )
    n, c, *size = x.shape
    c_out, c_group, *kernel = weight.shape
    taps = kernel[0] * kernel[1]
    # A wrong number of channels is told as if one group was meant.
    groups = max(offset.shape[1] // (2 * taps), 1) if offset.ndim == 4 else 1
    if c % c_group or c_out % (c // c_group) or c % groups:
        raise ValueError(
            f"{op}: {c} and {c_out} channels must split into groups as the weight of shape "
            f"{tuple(weight.shape)} and the offset of shape {tuple(offset.shape)} ask"
        )
    out = [(side + 2 * padding - dilation * (k - 1) - 1) // stride + 1 for side, k in zip(size, kernel)]
    others: list[tuple[str, Tensor, Shape, Kind]] = [
        ("offset", offset, (n, groups * 2 * taps, *out), "float")
    ]
    if bias is not None:
        others.append(("bias", bias, (c_out,), "float"))
    if mask is not None:
        others.append(("mask", mask, (n, groups * taps, *out), "float"))
    check_tensors(op, ("x", x, (n, c, *size), "float"), *others)


# On the CPU sampling all taps at once takes half the time of torchvision's kernel, with gradients a quarter.
_DEFORM_CONV2D = Operator("deform_conv2d", pytorch=_reference, torchvision=_torchvision, reference=_reference)
