"""A sliding window over images that are larger than what a network is meant to see at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Network = Callable[[Tensor], Tensor]
"""Normalised images (N, 3, H, W) -> logits (N, C, H, W)."""


@dataclass(kw_only=True, frozen=True)
class SlidingWindow:
    """Overlapping tiles, whose logits are averaged where they overlap.

    Raises:
        ValueError: a stride or ``tiles`` is below 1, or a stride is larger than a tile.
    """

    height: int
    width: int
    """Of a tile, pixels of the network's input; an image that is smaller is one tile."""
    stride_height: int
    stride_width: int
    """From a tile to the next, pixels; the last tile ends at the image's edge."""
    tiles: int | None = None
    """Tiles per forward pass; null: four, but one on the CPU, which gains nothing from several."""

    def __post_init__(self) -> None:
        if not (0 < self.stride_height <= self.height and 0 < self.stride_width <= self.width):
            raise ValueError(
                "expected strides from 1 to the size of a tile, so that no pixel is left out, got "
                f"{self.stride_height} x {self.stride_width} for {self.height} x {self.width}"
            )
        if self.tiles is not None and self.tiles < 1:
            raise ValueError(f"expected at least one tile per forward pass, got {self.tiles}")

    def __call__(self, network: Network, images: Tensor) -> Tensor:
        """Logits of the whole images, (N, C, H, W)."""
        height, width = images.shape[-2:]
        tops = _starts(height, self.height, self.stride_height)
        lefts = _starts(width, self.width, self.stride_width)
        places = [(top, left) for top in tops for left in lefts]
        if len(places) == 1:
            return network(images)
        tile = min(self.height, height), min(self.width, width)
        total, count = None, images.new_zeros(1, 1, height, width)
        tiles = self.tiles or (1 if images.device.type == "cpu" else 4)
        for first in range(0, len(places), tiles):
            chunk = places[first : first + tiles]
            crops = [images[..., y : y + tile[0], x : x + tile[1]] for y, x in chunk]
            logits = network(torch.cat(crops)).split(len(images))
            if total is None:
                total = logits[0].new_zeros(len(images), logits[0].shape[1], height, width)
            for (y, x), part in zip(chunk, logits, strict=True):
                total[..., y : y + tile[0], x : x + tile[1]] += part
                count[..., y : y + tile[0], x : x + tile[1]] += 1
        assert total is not None
        return total.div_(count)


def _starts(length: int, tile: int, stride: int) -> list[int]:
    """Where tiles of one axis begin."""
    count = max(length - tile + stride - 1, 0) // stride + 1
    return [max(min(i * stride, length - tile), 0) for i in range(count)]
