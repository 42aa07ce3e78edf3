"""Positions of a pyramid as points of the input image."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from omma.registry import register


@register
class PointGenerator:
    """One point per position.

    Args:
        strides: input pixels per position, one per level.
        offset: place of the point within its cell, in strides; 0.5 is the middle.
    """

    def __init__(self, *, strides: tuple[int, ...], offset: float = 0.5) -> None:
        if not strides:
            raise ValueError("strides must not be empty")
        self.strides = strides
        self.offset = offset

    def grid(self, sizes: Sequence[tuple[int, int]], device: torch.device) -> list[Tensor]:
        """Points of each level of ``sizes`` (H, W): (H * W, 2) xy, pixels, row by row."""
        levels = []
        for (height, width), stride in zip(sizes, self.strides, strict=True):
            y, x = torch.meshgrid(
                (torch.arange(height, device=device) + self.offset) * stride,
                (torch.arange(width, device=device) + self.offset) * stride,
                indexing="ij",
            )
            levels.append(torch.stack([x, y], dim=-1).reshape(-1, 2))
        return levels

    def placed(self, sizes: Sequence[tuple[int, int]], device: torch.device) -> tuple[Tensor, Tensor]:
        """Points (P, 2) of all levels of ``sizes``, and the stride (P,) of each, pixels."""
        levels = self.grid(sizes, device)
        strides = [points.new_full((len(points),), float(s)) for points, s in zip(levels, self.strides)]
        return torch.cat(levels), torch.cat(strides)
