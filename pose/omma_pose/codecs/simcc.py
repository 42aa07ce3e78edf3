"""Coordinates as classes: one line of bins for x and one for y (Li et al., SimCC, ECCV 2022)."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from omma.registry import register
from omma_pose.codecs.base import Codec

Smoothing = Literal["gaussian", "standard"]


@register
class SimCCLabel(Codec):
    """Targets and outputs are (N, K, W * split) and (N, K, H * split): bin i is at i / split pixels.

    So every ``split``-th bin is at the centre of a pixel, and the last ones lie beyond the last centre.

    Args:
        input_size: (width, height) of the network's input, pixels.
        split: bins of a pixel.
        smoothing: ``gaussian`` spreads a target over the bins around it, ``standard`` over all others.
        sigma: deviation of Gaussian targets in bins; one for both axes, or for x and y.
        smooth: share of a standard target that the other bins get; 0 leaves one bin alone.
        normalize: divide Gaussian targets by sigma and the root of 2 pi, so that they sum to about 1.

    Raises:
        ValueError: a number is out of its range.
    """

    def __init__(
        self,
        *,
        input_size: tuple[int, int],
        split: float = 2.0,
        smoothing: Smoothing = "gaussian",
        sigma: float | tuple[float, float] = 6.0,
        smooth: float = 0.0,
        normalize: bool = True,
    ) -> None:
        super().__init__(input_size=input_size)
        self.sigma = (sigma, sigma) if isinstance(sigma, int | float) else sigma
        if split <= 0 or min(self.sigma) <= 0 or not 0 <= smooth < 1:
            raise ValueError(f"need positive split and sigma, smooth in 0..1, got {split}, {sigma}, {smooth}")
        if smoothing == "gaussian" and smooth:
            raise ValueError("smooth is for standard smoothing only")
        self.split, self.smoothing, self.smooth, self.normalize = split, smoothing, smooth, normalize
        self.bins = (round(input_size[0] * split), round(input_size[1] * split))

    def encode(self, keypoints: Tensor, visible: Tensor) -> tuple[tuple[Tensor, Tensor], Tensor]:
        """Targets for x and y, and the weights; without weight a target is 0."""
        places = (keypoints * self.split).round()
        length = places.new_tensor(self.bins)
        reach = 3 * places.new_tensor(self.sigma) if self.smoothing == "gaussian" else places.new_zeros(2)
        if self.smoothing == "gaussian":
            near = (places - reach < length) & (places + reach + 1 >= 0)
        else:
            near = (places >= 0) & (places < length)
        weights = visible.float() * near.all(dim=-1)
        x, y = (self._line(places[..., axis], axis) * (weights > 0)[..., None] for axis in (0, 1))
        return (x, y), weights

    def decode(self, outputs: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """The highest bins of both lines; the score is the lower of the two values.

        Where it isn't positive the key point is at (-1, -1) bins.
        """
        (x_score, x), (y_score, y) = (line.float().max(dim=-1) for line in outputs)
        scores = torch.minimum(x_score, y_score)
        places = torch.stack([x, y], dim=-1).to(scores.dtype)
        return torch.where((scores > 0)[..., None], places, -1.0) / self.split, scores

    def upright(self, outputs: tuple[Tensor, Tensor], order: Tensor) -> tuple[Tensor, Tensor]:
        """See ``Codec.upright``."""
        x, y = outputs
        return x[:, order].flip(-1), y[:, order]

    def _line(self, places: Tensor, axis: int) -> Tensor:
        """(N, K, bins) targets around bins (N, K)."""
        bins = torch.arange(self.bins[axis], dtype=places.dtype, device=places.device)
        if self.smoothing == "standard":
            hit = bins == places[..., None]
            rest = self.smooth / (self.bins[axis] - 1)
            return torch.where(hit, 1.0 - self.smooth, rest)
        sigma = self.sigma[axis]
        line = torch.exp(-((bins - places[..., None]) ** 2) / (2 * sigma**2))
        return line / (sigma * math.sqrt(2 * math.pi)) if self.normalize else line
