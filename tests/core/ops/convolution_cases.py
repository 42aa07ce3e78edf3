"""Cases of the convolutions and of the operators that put features together anew."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

from omma.ops import deform_conv2d

from .cases import Case, Inputs


def bilinear(plane: Tensor, y: float, x: float) -> float:
    """Value of (H, W) at a place; 0 outside."""
    top, left = int(y // 1), int(x // 1)
    total = 0.0
    for row, column in itertools.product((top, top + 1), (left, left + 1)):
        if 0 <= row < plane.shape[0] and 0 <= column < plane.shape[1]:
            total += float(plane[row, column]) * (1 - abs(y - row)) * (1 - abs(x - column))
    return total


def deformable(n: int, generator: torch.Generator) -> Inputs:
    """n images of 4 channels, 5 x 4; 2 groups of offsets, output 3 x 3."""
    draw = lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64)  # noqa: E731
    return {
        "x": draw(n, 4, 5, 4),
        "offset": 2 * draw(n, 2 * 2 * 6, 3, 3),
        "weight": draw(6, 2, 3, 2),
        "bias": draw(6),
        "mask": draw(n, 2 * 6, 3, 3),
    }


DEFORM = {"stride": 2, "padding": 1, "dilation": 1}


def deformable_loop(
    x: Tensor,
    offset: Tensor,
    weight: Tensor,
    bias: Tensor,
    mask: Tensor,
    *,
    stride: int,
    padding: int,
    dilation: int,
) -> Tensor:
    n, c = x.shape[:2]
    c_out, c_group, kh, kw = weight.shape
    out = bias[:, None, None].expand(n, c_out, *offset.shape[-2:]).clone()
    places = itertools.product(range(n), range(c_out), range(c_group), range(kh), range(kw))
    for image, to, i, a, b in places:
        channel = to // (c_out // (c // c_group)) * c_group + i
        tap = channel // (c // 2) * kh * kw + a * kw + b
        for row, column in itertools.product(*map(range, offset.shape[-2:])):
            y = row * stride - padding + a * dilation + float(offset[image, 2 * tap, row, column])
            x_ = column * stride - padding + b * dilation + float(offset[image, 2 * tap + 1, row, column])
            value = bilinear(x[image, channel], y, x_) * mask[image, tap, row, column]
            out[image, to, row, column] += value * weight[to, i, a, b]
    return out


CASES: tuple[Case, ...] = (
    Case(
        op="deform_conv2d",
        function=deform_conv2d,
        make=deformable,
        truth=deformable_loop,
        settings=DEFORM,
        size=2,
        differentiable=("x", "offset", "weight", "bias", "mask"),
        half=("x",),
        half_tolerance=0.2,
    ),
)
