"""Cases of the attention operators and of those that move features about."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor

from omma.ops import ms_deform_attn

from .cases import Case, Inputs
from .convolution_cases import bilinear

SIZES = [(3, 4), (2, 2), (1, 3)]


def sampling(n: int, generator: torch.Generator) -> Inputs:
    """2 images, n queries, 2 heads of 3 channels, 3 levels, 2 points; some of them outside."""
    cells = sum(h * w for h, w in SIZES)
    return {
        "value": torch.randn(2, cells, 2, 3, generator=generator, dtype=torch.float64),
        "locations": torch.rand(2, n, 2, 3, 2, 2, generator=generator, dtype=torch.float64) * 1.6 - 0.3,
        "weights": torch.rand(2, n, 2, 3, 2, generator=generator, dtype=torch.float64),
    }


def far_out() -> list[Inputs]:
    inputs = sampling(4, torch.Generator().manual_seed(5))
    inputs["locations"][:, 0] = 1e30
    inputs["locations"][:, 1] = -1e6
    inputs["locations"][:, 2] = 1.0
    inputs["locations"][:, 3] = 0.0
    return [inputs]


def sampling_loop(
    value: Tensor, locations: Tensor, weights: Tensor, *, sizes: Sequence[tuple[int, int]]
) -> Tensor:
    n, queries, heads = locations.shape[:3]
    channels = value.shape[-1]
    out = torch.zeros(n, queries, heads, channels, dtype=torch.float64)
    levels = value.split([h * w for h, w in sizes], 1)
    for i, q, m, level, p in itertools.product(*map(range, weights.shape)):
        h, w = sizes[level]
        x, y = (locations[i, q, m, level, p].clamp(-9, 9)).tolist()
        for c in range(channels):
            plane = levels[level][i, :, m, c].reshape(h, w)
            out[i, q, m, c] += weights[i, q, m, level, p] * bilinear(plane, y * h - 0.5, x * w - 0.5)
    return out.flatten(2)


CASES: tuple[Case, ...] = (
    Case(
        op="ms_deform_attn",
        function=ms_deform_attn,
        make=sampling,
        truth=sampling_loop,
        settings={"sizes": SIZES},
        size=5,
        differentiable=("value", "locations", "weights"),
        half=("value", "weights"),
        half_tolerance=5e-2,
        extremes=far_out,
    ),
)
