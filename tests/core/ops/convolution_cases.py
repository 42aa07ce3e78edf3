"""Cases of the convolutions and of the operators that put features together anew."""

from __future__ import annotations

import itertools
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from omma.ops import carafe, corner_pool, deform_conv2d, dynamic_conv2d, masked_conv2d

from .cases import Case, Inputs


def bilinear(plane: Tensor, y: float, x: float) -> float:
    """Value of (H, W) at a place; 0 outside."""
    top, left = int(y // 1), int(x // 1)
    total = 0.0
    for row, column in itertools.product((top, top + 1), (left, left + 1)):
        if 0 <= row < plane.shape[0] and 0 <= column < plane.shape[1]:
            total += float(plane[row, column]) * (1 - abs(y - row)) * (1 - abs(x - column))
    return total


def draw(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def deformable(n: int, generator: torch.Generator) -> Inputs:
    """n images of 4 channels, 5 x 4; 2 groups of offsets, output 3 x 3."""
    return {
        "x": draw(generator, n, 4, 5, 4),
        "offset": 2 * draw(generator, n, 2 * 2 * 6, 3, 3),
        "weight": draw(generator, 6, 2, 3, 2),
        "bias": draw(generator, 6),
        "mask": draw(generator, n, 2 * 6, 3, 3),
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


def reassembly(n: int, generator: torch.Generator) -> Inputs:
    """n maps of 4 channels in 2 groups, 3 x 2, to twice the size by 3 x 3 kernels."""
    return {"x": draw(generator, n, 4, 3, 2), "kernels": draw(generator, n, 2 * 9, 6, 4)}


def reassembly_loop(x: Tensor, kernels: Tensor, *, kernel_size: int, scale: int) -> Tensor:
    n, c, h, w = x.shape
    reach, taps = kernel_size // 2, kernel_size**2
    group = c // (kernels.shape[1] // taps)
    out = torch.zeros(n, c, h * scale, w * scale, dtype=x.dtype)
    for i, j, row, column in itertools.product(*map(range, out.shape)):
        for a, b in itertools.product(range(kernel_size), repeat=2):
            y, x_ = row // scale + a - reach, column // scale + b - reach
            if 0 <= y < h and 0 <= x_ < w:
                tap = j // group * taps + a * kernel_size + b
                out[i, j, row, column] += kernels[i, tap, row, column] * x[i, j, y, x_]
    return out


def masked(n: int, generator: torch.Generator, *, few: bool) -> Inputs:
    mask = torch.rand(n, 3, 4, generator=generator) < (0.1 if few else 0.8)
    return {
        "x": draw(generator, n, 2, 3, 5),
        "mask": mask,
        "weight": draw(generator, 3, 2, 3, 4),
        "bias": draw(generator, 3),
    }


def masked_loop(x: Tensor, mask: Tensor, weight: Tensor, bias: Tensor, *, padding: int) -> Tensor:
    padded = F.pad(x, [padding] * 4)
    out = torch.zeros(len(x), len(weight), *mask.shape[1:], dtype=x.dtype)
    for i, row, column in mask.nonzero().tolist():
        patch = padded[i, :, row : row + 3, column : column + 4]
        out[i, :, row, column] = (weight * patch).sum((1, 2, 3)) + bias
    return out


def instances(n: int, generator: torch.Generator, *, maps: int | None, kernel: int) -> Inputs:
    return {
        "x": draw(generator, n if maps is None else maps, 3, 4, 5),
        "weight": draw(generator, n, 2, 3, kernel, kernel),
        "bias": draw(generator, n, 2),
    }


def instances_loop(x: Tensor, weight: Tensor, bias: Tensor, *, padding: int) -> Tensor:
    outs = [
        F.conv2d(x[min(i, len(x) - 1)][None], weight[i], bias[i], padding=padding) for i in range(len(weight))
    ]
    return torch.cat(outs) if outs else x.new_zeros(0, weight.shape[1], *x.shape[2:])


def corner_loop(x: Tensor, *, direction: str) -> Tensor:
    out = torch.empty_like(x)
    for row, column in itertools.product(range(x.shape[2]), range(x.shape[3])):
        seen = {
            "top": x[:, :, row:, column],
            "bottom": x[:, :, : row + 1, column],
            "left": x[:, :, row, column:],
            "right": x[:, :, row, : column + 1],
        }[direction]
        out[:, :, row, column] = seen.amax(-1)
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
    Case(
        op="carafe",
        function=carafe,
        make=reassembly,
        truth=reassembly_loop,
        settings={"kernel_size": 3, "scale": 2},
        size=2,
        differentiable=("x", "kernels"),
        half=("x", "kernels"),
        half_tolerance=5e-2,
    ),
    *(
        Case(
            op="masked_conv2d",
            note=note,
            function=masked_conv2d,
            make=partial(masked, few=note == "few"),
            truth=masked_loop,
            settings={"padding": 1},
            size=3,
            differentiable=("x", "weight", "bias"),
            half=("x", "weight", "bias"),
            half_tolerance=0.1,
        )
        for note in ("few", "many")
    ),
    *(
        Case(
            op="dynamic_conv2d",
            note=f"{kernel}x{kernel}{'' if maps is None else '-shared'}",
            function=dynamic_conv2d,
            make=partial(instances, maps=maps, kernel=kernel),
            truth=instances_loop,
            settings={"padding": kernel // 2},
            size=3,
            # The gradient of the map that all share has no instance to come from.
            sizes=(0, 1) if maps is None and kernel == 1 else (1,),
            differentiable=("x", "weight", "bias"),
            half=("x", "weight", "bias"),
            half_tolerance=0.1,
        )
        for maps in (None, 1)
        for kernel in (1, 3)
    ),
    *(
        Case(
            op="corner_pool",
            note=direction,
            function=corner_pool,
            make=lambda n, generator: {"x": draw(generator, n, 2, 4, 5)},
            truth=corner_loop,
            settings={"direction": direction},
            size=2,
            differentiable=("x",),
            half=("x",),
        )
        for direction in ("top", "bottom", "left", "right")
    ),
)
