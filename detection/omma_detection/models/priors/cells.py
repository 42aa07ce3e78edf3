"""Anchor boxes in the middle of cells, of sizes that each level has for itself (YOLOv3, SSD)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from omma.registry import register
from omma_detection.models.priors.anchors import in_image, place


@register
class CellAnchors:
    """Boxes of given sizes around the middle of every cell.

    Args:
        strides: side of a cell on each level, pixels.
        sizes: (width, height) of the anchors of each level, pixels, in the order of the head's channels.
    """

    def __init__(
        self, *, strides: tuple[int, ...], sizes: tuple[tuple[tuple[float, float], ...], ...]
    ) -> None:
        if len(strides) != len(sizes) or not all(sizes):
            raise ValueError(f"need sizes for each of {len(strides)} strides, got those of {len(sizes)}")
        self.strides = strides
        self.sizes = sizes

    @property
    def per_position(self) -> tuple[int, ...]:
        """Anchors at each position of each level."""
        return tuple(len(level) for level in self.sizes)

    def grid(self, sizes: Sequence[tuple[int, int]], device: torch.device) -> list[Tensor]:
        """Anchors of each level of ``sizes`` (H, W): (H * W * A, 4) xyxy, pixels, row by row."""
        levels = []
        for size, stride, boxes in zip(sizes, self.strides, self.sizes, strict=True):
            half = torch.tensor(boxes, dtype=torch.float32, device=device) / 2
            levels.append(place(torch.cat([stride / 2 - half, stride / 2 + half], dim=1), size, stride))
        return levels

    def covered(self, sizes: Sequence[tuple[int, int]], images: Tensor) -> Tensor:
        """Whether the cell of each anchor begins in the image and not in the padding beside it.

        Args:
            sizes: (H, W) of each level, as for ``grid``.
            images: (N, 2) heights and widths before padding, pixels.

        Returns:
            (N, sum of H * W * A) bool, in the order of ``grid``.
        """
        rows = zip(sizes, self.strides, self.per_position, strict=True)
        return torch.cat([in_image(s, images, t).repeat_interleave(a, dim=1) for s, t, a in rows], dim=1)

    def occupied(self, sizes: Sequence[tuple[int, int]], centres: Tensor, real: Tensor) -> Tensor:
        """Whether the cell of each anchor has the centre of an object.

        Args:
            sizes: (H, W) of each level, as for ``grid``.
            centres: (N, G, 2) xy of the objects, pixels.
            real: (N, G) bool: is an object and not filling.

        Returns:
            (N, sum of H * W * A) bool, in the order of ``grid``.
        """
        levels = []
        for (height, width), stride, count in zip(sizes, self.strides, self.per_position, strict=True):
            column, row = (centres / stride).floor().long().unbind(-1)
            inside = real & (column >= 0) & (column < width) & (row >= 0) & (row < height)
            # One place more, for the centres that lie in no cell.
            cell = torch.where(inside, row * width + column, height * width)
            taken = torch.zeros(len(real), height * width + 1, dtype=torch.bool, device=real.device)
            levels.append(taken.scatter(1, cell, True)[:, :-1].repeat_interleave(count, dim=1))
        return torch.cat(levels, dim=1)


@register
def SSDAnchors(
    *,
    strides: tuple[int, ...],
    min_sizes: tuple[float, ...],
    max_sizes: tuple[float, ...],
    ratios: tuple[tuple[float, ...], ...],
) -> CellAnchors:
    """Anchors as SSD's: squares of the smallest size and of its mean with the largest one, and ratios.

    Args:
        strides: side of a cell on each level, pixels.
        min_sizes: side of the small square of each level, pixels.
        max_sizes: of each level, pixels; the larger square has the geometric mean as its side.
        ratios: of each level: height / width of further anchors, which stand upright and lie.
    """
    if not len(strides) == len(min_sizes) == len(max_sizes) == len(ratios):
        raise ValueError(
            f"strides, min_sizes, max_sizes and ratios must be as many, got {len(strides)}, "
            f"{len(min_sizes)}, {len(max_sizes)} and {len(ratios)}"
        )
    levels = []
    for small, large, shapes in zip(min_sizes, max_sizes, ratios):
        middle = math.sqrt(small * large)
        roots = [math.sqrt(shape) for ratio in shapes for shape in (1 / ratio, ratio)]
        levels.append(((small, small), (middle, middle), *((small / root, small * root) for root in roots)))
    return CellAnchors(strides=strides, sizes=tuple(levels))
