"""Holes in images (DeVries and Taylor, Cutout, 2017)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
from torch import Tensor
from torchvision import tv_tensors

from omma.data.transforms.base import Transform, canvas, choose, uniform
from omma.data.transforms.picture import pixels, with_pixels
from omma.registry import register
from omma.structures import Sample


@register
class CutOut(Transform):
    """Fills rectangles at random places of a share of the images; objects stay as they are.

    Args:
        holes: how many, from and to.
        shapes: (height, width) of holes in pixels, or in shares of the image where ``relative``; each
            hole has one of them. Its top-left corner lies anywhere in the image, at whose border it is cut.
        relative: shapes are shares, in 0..1.
        fill: (R, G, B) in 0..255.
        semantic: label of the holes in a semantic map, 255 if they are not to count; null: the map stays as
            it is.
        prob: the share.
    """

    def __init__(
        self,
        *,
        holes: tuple[int, int],
        shapes: Sequence[tuple[float, float]],
        relative: bool = False,
        fill: tuple[int, int, int] = (0, 0, 0),
        semantic: int | None = None,
        prob: float = 1.0,
    ) -> None:
        if not 0 <= holes[0] <= holes[1]:
            raise ValueError(f"holes must be two numbers from 0 up, rising; got {holes}")
        if not shapes or any(min(s) < 0 or (relative and max(s) > 1) for s in shapes):
            limit = "in 0..1" if relative else "in pixels"
            raise ValueError(f"shapes must be at least one (height, width) {limit}, got {list(shapes)}")
        if not 0 <= (semantic or 0) <= 255 or not 0 <= prob <= 1:
            raise ValueError(f"need a label in 0..255 and prob in 0..1, got {semantic} and {prob}")
        self.holes, self.shapes, self.relative, self.fill = holes, tuple(shapes), relative, fill
        self.semantic, self.prob = semantic, prob

    def __call__(self, sample: Sample) -> Sample:
        """The sample with holes, or as it is."""
        if uniform(0, 1) >= self.prob:
            return sample
        height, width = canvas(sample)
        image = np.array(pixels(sample))
        label, labels = self.semantic, None
        if label is not None and "semantic" in sample:
            labels = sample["semantic"].as_subclass(Tensor).clone()
        for _ in range(self.holes[0] + choose(self.holes[1] - self.holes[0] + 1)):
            top, left = choose(height), choose(width)
            tall, wide = self.shapes[choose(len(self.shapes))]
            if self.relative:
                tall, wide = tall * height, wide * width
            hole = slice(top, top + int(tall)), slice(left, left + int(wide))
            image[hole] = self.fill
            if labels is not None and label is not None:
                labels[hole] = label
        out = with_pixels(sample, image)
        return out if labels is None else cast(Sample, {**out, "semantic": tv_tensors.Mask(labels)})
