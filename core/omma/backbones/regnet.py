"""RegNet (Radosavovic et al., Designing Network Design Spaces, 2020)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import groupby
from typing import ClassVar, Literal

from torch import nn

from omma.backbones.residual import BlockForm, Bottleneck, ResidualNet, make_stage
from omma.layers import NormKind, make_norm, norm_name
from omma.registry import register

Size = Literal["400mf", "800mf", "1.6gf", "3.2gf", "4.0gf", "6.4gf", "8.0gf", "12gf"]
"""Floating-point operations for an image of 224 x 224."""


@register
class RegNetX(ResidualNet):
    """Four stages of grouped bottlenecks at strides 4, 8, 16, 32, whose widths grow along a line.

    Args:
        size: of the published network.
        norm: kind of the norm layers.
        norm_eval: keep batch norm on its stored statistics during training too.
        norm_frozen: leave the weights and biases of batch norm as they are.
        frozen_stages: -1 trains all; 0 freezes the stem; k freezes the stem and stages 1..k.
        out_indices: stages to return, 0 is the first.
        recompute: run each block again in the backward pass instead of keeping what it computed.
        weights: initial weights, a file or ``publisher://name``; null: random.

    Raises:
        ValueError: an argument is out of its range.
        WeightsError: ``weights`` isn't there or isn't of this network.
    """

    def __init__(
        self,
        *,
        size: Size,
        norm: NormKind = "bn",
        norm_eval: bool = True,
        norm_frozen: bool = False,
        frozen_stages: int = -1,
        out_indices: tuple[int, ...] = (0, 1, 2, 3),
        recompute: bool = False,
        weights: str | None = None,
    ) -> None:
        super().__init__()
        if size not in _SIZES:
            raise ValueError(f"size must be one of {', '.join(_SIZES)}, got {size}")
        stages = _SIZES[size].stages()
        self.declare(out_indices, [width for width, _, _ in stages], (2, 2, 2, 2, 2), frozen_stages)
        self.norm_eval = norm_eval
        self.recompute = recompute
        self.conv1 = nn.Conv2d(3, 32, 3, stride=2, padding=1, bias=False)
        name = f"{norm_name(norm)}1"
        self.add_module(name, make_norm(norm, 32))
        self.relu = nn.ReLU(inplace=True)
        self.stem_parts = ("conv1", name, "relu")
        channels = 32
        for i, (width, count, groups) in enumerate(stages[: max(out_indices) + 1]):
            form = BlockForm(norm=norm, groups=groups)
            stage = make_stage(WideBottleneck, channels, width, stride=2, form=form, dilations=(1,) * count)
            self.add_module(f"layer{i + 1}", stage)
            channels = width
        self.finish(
            zero_init_residual=False, frozen_stages=frozen_stages, norm_frozen=norm_frozen, weights=weights
        )


class WideBottleneck(Bottleneck):
    """A bottleneck that is none: all of its convolutions have the same width."""

    expansion: ClassVar[int] = 1


@dataclass(frozen=True)
class Line:
    """Widths of a network's blocks: a line, rounded to steps that grow by a constant factor."""

    start: int
    slope: float
    factor: float
    group_width: int
    depth: int

    def stages(self) -> list[tuple[int, int, int]]:
        """Width, number of blocks and number of groups of each stage."""
        widths = []
        for i in range(self.depth):
            steps = round(math.log((self.start + self.slope * i) / self.start) / math.log(self.factor))
            widths.append(round(self.start * self.factor**steps / 8) * 8)
        stages = []
        for width, blocks in groupby(widths):
            group_width = min(self.group_width, width)
            rounded = round(width / group_width) * group_width
            stages.append((rounded, len(list(blocks)), rounded // group_width))
        return stages


_SIZES = {
    "400mf": Line(24, 24.48, 2.54, 16, 22),
    "800mf": Line(56, 35.73, 2.28, 16, 16),
    "1.6gf": Line(80, 34.01, 2.25, 24, 18),
    "3.2gf": Line(88, 26.31, 2.25, 48, 25),
    "4.0gf": Line(96, 38.65, 2.43, 40, 23),
    "6.4gf": Line(184, 60.83, 2.07, 56, 17),
    "8.0gf": Line(80, 49.56, 2.88, 120, 23),
    "12gf": Line(168, 73.36, 2.37, 112, 19),
}
