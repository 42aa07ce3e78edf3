"""Cases of the attention operators and of those that move features about."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from functools import partial

import torch
from torch import Tensor

from omma.ops import (
    criss_cross_attention,
    ms_deform_attn,
    psa_mask,
    temporal_shift,
    tin_shift,
    window_partition,
    window_reverse,
)

from .cases import Case, Inputs
from .convolution_cases import bilinear, draw

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


def crossing(n: int, generator: torch.Generator) -> Inputs:
    shapes = {"query": 2, "key": 2, "value": 3}
    return {name: draw(generator, n, channels, 3, 4) for name, channels in shapes.items()}


def crossing_dense(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attention between all pixels, of which those in neither the row nor the column are masked."""
    h, w = query.shape[2:]
    row, column = torch.arange(h * w) // w, torch.arange(h * w) % w
    seen = (row[:, None] == row) | (column[:, None] == column)
    logits = torch.einsum("nci,ncj->nij", query.flatten(2), key.flatten(2)).masked_fill(~seen, -torch.inf)
    return torch.einsum("nij,ncj->nci", logits.softmax(-1), value.flatten(2)).reshape(value.shape)


def psa_loop(x: Tensor, *, size: tuple[int, int], mode: str) -> Tensor:
    n, _, h, w = x.shape
    out = torch.zeros(n, h, w, h, w, dtype=x.dtype)
    for y, x_, a, b in itertools.product(range(h), range(w), range(size[0]), range(size[1])):
        to_y, to_x = y + a - (size[0] - 1) // 2, x_ + b - (size[1] - 1) // 2
        if 0 <= to_y < h and 0 <= to_x < w:
            value = x[:, a * size[1] + b, y, x_]
            if mode == "collect":
                out[:, to_y, to_x, y, x_] = value
            else:
                out[:, y, x_, to_y, to_x] = value
    return out.reshape(n, h * w, h, w)


def clip(n: int, generator: torch.Generator) -> Inputs:
    return {"x": draw(generator, n, 5, 4, 2, 3)}


def temporal_loop(x: Tensor, *, fold: int) -> Tensor:
    out = torch.zeros_like(x)
    length = x.shape[1]
    for t, c in itertools.product(range(length), range(x.shape[2])):
        source = t + 1 if c < fold else t - 1 if c < 2 * fold else t
        if 0 <= source < length:
            out[:, t, c] = x[:, source, c]
    return out


def interlaced(n: int, generator: torch.Generator, *, whole: bool) -> Inputs:
    shift = 3 * draw(generator, n, 2)
    return clip(n, generator) | {"shift": shift.round().long() if whole else shift}


def interlacing_loop(x: Tensor, shift: Tensor) -> Tensor:
    out = torch.zeros_like(x)
    for i, t, c in itertools.product(*map(range, x.shape[:3])):
        plane = x[i, :, c].flatten(1)  # frames by pixels
        place = t - float(shift[i, c // (x.shape[2] // shift.shape[1])])
        values = [bilinear(plane, place, float(pixel)) for pixel in range(plane.shape[1])]
        out[i, t, c] = torch.tensor(values, dtype=x.dtype).reshape(x.shape[3:])
    return out


WINDOWS = {"size": 3, "shift": 1}
CLIP_WINDOWS = {"size": (2, 3, 2), "shift": (1, 1, 0)}
Sides = tuple[int, ...]


def places(sides: Sides, size: Sides, shift: Sides) -> Iterator[tuple[Sides, int, int]]:
    """Of each place of a map: where it lies, its window and its place there, both counted row by row."""
    counts = [-(-side // width) for side, width in zip(sides, size)]
    for place in itertools.product(*map(range, sides)):
        rolled = [(p - s) % (k * w) for p, s, k, w in zip(place, shift, counts, size)]
        window = pixel = 0
        for at, count, width in zip(rolled, counts, size):
            window, pixel = window * count + at // width, pixel * width + at % width
        yield place, window, pixel


def along(value: int | Sides, axes: int) -> Sides:
    return (value,) * axes if isinstance(value, int) else value


def partition_loop(x: Tensor, *, size: int | Sides, shift: int | Sides) -> Tensor:
    """Each pixel into its window; the rest stays zero."""
    sides = tuple(x.shape[1:-1])
    size, shift = along(size, len(sides)), along(shift, len(sides))
    count = math.prod(-(-side // width) for side, width in zip(sides, size))
    out = torch.zeros(len(x), count, math.prod(size), x.shape[-1], dtype=x.dtype)
    for place, window, pixel in places(sides, size, shift):
        out[:, window, pixel] = x[(slice(None), *place)]
    return out


def reverse_loop(windows: Tensor, *, sides: Sides, size: int | Sides, shift: int | Sides) -> Tensor:
    out = torch.zeros(len(windows), *sides, windows.shape[-1], dtype=windows.dtype)
    for place, window, pixel in places(sides, along(size, len(sides)), along(shift, len(sides))):
        out[(slice(None), *place)] = windows[:, window, pixel]
    return out


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
    Case(
        op="criss_cross_attention",
        function=criss_cross_attention,
        make=crossing,
        truth=crossing_dense,
        size=2,
        differentiable=("query", "key", "value"),
        half=("query", "key", "value"),
        half_tolerance=5e-2,
    ),
    *(
        Case(
            op="psa_mask",
            note=mode,
            function=psa_mask,
            make=lambda n, generator: {"x": draw(generator, n, 12, 4, 3)},
            truth=psa_loop,
            settings={"size": (3, 4), "mode": mode},
            size=2,
            differentiable=("x",),
            half=("x",),
        )
        for mode in ("collect", "distribute")
    ),
    Case(
        op="temporal_shift",
        function=temporal_shift,
        make=clip,
        truth=temporal_loop,
        settings={"fold": 1},
        size=2,
        differentiable=("x",),
        half=("x",),
    ),
    Case(
        op="tin_shift",
        note="between-frames",
        function=tin_shift,
        make=partial(interlaced, whole=False),
        truth=interlacing_loop,
        size=2,
        differentiable=("x", "shift"),
        half=("x",),
    ),
    Case(
        op="tin_shift",
        note="whole-frames",
        function=tin_shift,
        make=partial(interlaced, whole=True),
        truth=interlacing_loop,
        size=2,
        differentiable=("x",),
        half=("x",),
    ),
    Case(
        op="window_partition",
        function=window_partition,
        make=lambda n, generator: {"x": draw(generator, n, 5, 7, 2)},
        truth=partition_loop,
        settings=WINDOWS,
        size=2,
        differentiable=("x",),
        half=("x",),
    ),
    Case(
        op="window_reverse",
        function=window_reverse,
        make=lambda n, generator: {"windows": draw(generator, n, 6, 9, 2)},
        truth=reverse_loop,
        settings={"sides": (5, 7)} | WINDOWS,
        size=2,
        differentiable=("windows",),
        half=("windows",),
    ),
    Case(
        op="window_partition",
        note="clips",
        function=window_partition,
        make=lambda n, generator: {"x": draw(generator, n, 3, 5, 4, 2)},
        truth=partition_loop,
        settings=CLIP_WINDOWS,
        size=2,
        differentiable=("x",),
        half=("x",),
    ),
    Case(
        op="window_reverse",
        note="clips",
        function=window_reverse,
        make=lambda n, generator: {"windows": draw(generator, n, 8, 12, 2)},
        truth=reverse_loop,
        settings={"sides": (3, 5, 4)} | CLIP_WINDOWS,
        size=2,
        differentiable=("windows",),
        half=("windows",),
    ),
)
