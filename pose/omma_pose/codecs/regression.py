"""Coordinates as numbers."""

from __future__ import annotations

import torch
from torch import Tensor

from omma.registry import register
from omma_pose.codecs.base import Codec
from omma_pose.codecs.heatmap import MSRAHeatmap


@register
class RegressionLabel(Codec):
    """Targets and outputs are (N, K, 2) in shares of width and height (Toshev and Szegedy, DeepPose, 2014).

    Outputs may have two further numbers, the deviations of x and y in 0..1: the score is 1 less their mean.
    The centre of the first pixel is 0, that of the last one is 1 - 1 / width.

    Args:
        input_size: (width, height) of the network's input, pixels.
    """

    def encode(self, keypoints: Tensor, visible: Tensor) -> tuple[Tensor, Tensor]:
        """Shares (N, K, 2), and weights: 0 for key points outside of the image."""
        size = keypoints.new_tensor(self.input_size)
        inside = ((keypoints >= 0) & (keypoints <= size - 1)).all(dim=-1)
        return keypoints / size, (inside & (visible > 0.5)).float()

    def decode(self, outputs: Tensor) -> tuple[Tensor, Tensor]:
        """Key points, and scores: 1 where there are no deviations."""
        outputs = outputs.float()
        keypoints = outputs[..., :2] * outputs.new_tensor(self.input_size)
        if outputs.shape[-1] == 2:
            return keypoints, torch.ones_like(outputs[..., 0])
        return keypoints, 1 - outputs[..., 2:4].mean(dim=-1)

    def upright(self, outputs: Tensor, order: Tensor) -> Tensor:
        """See ``Codec.upright``; the crops of a box and of its mirror image lie a pixel apart."""
        x = 1 - 1 / self.input_size[0] - outputs[..., :1]
        return torch.cat([x, outputs[..., 1:]], dim=-1)[:, order]


@register
class IntegralRegressionLabel(Codec):
    """Shares as ``RegressionLabel`` and heatmaps that sum to 1 (Sun et al., Integral Regression, 2018).

    Pixels of the heatmaps count as in ``MSRAHeatmap``, so that their mean is a share times their size.

    Targets and outputs are pairs of (N, K, 2) and (N, K, H, W).

    Args:
        input_size: (width, height) of the network's input, pixels.
        heatmap_size: (W, H).
        sigma: deviation of the bump in pixels of the heatmap.
    """

    def __init__(
        self, *, input_size: tuple[int, int], heatmap_size: tuple[int, int], sigma: float = 2.0
    ) -> None:
        super().__init__(input_size=input_size)
        self.shares = RegressionLabel(input_size=input_size)
        self.maps = MSRAHeatmap(input_size=input_size, heatmap_size=heatmap_size, sigma=sigma)

    def encode(self, keypoints: Tensor, visible: Tensor) -> tuple[tuple[Tensor, Tensor], Tensor]:
        """Shares and heatmaps, and weights: 0 for key points outside of the image."""
        heatmaps, weights = self.maps.encode(keypoints, visible)
        shares, weights = self.shares.encode(keypoints, weights)
        return (shares, heatmaps / (heatmaps.sum(dim=(2, 3), keepdim=True) + 1e-24)), weights

    def decode(self, outputs: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Key points of the shares; heatmaps are for learning."""
        return self.shares.decode(outputs[0])

    def upright(self, outputs: tuple[Tensor, Tensor], order: Tensor) -> tuple[Tensor, Tensor]:
        """See ``Codec.upright``."""
        return self.shares.upright(outputs[0], order), self.maps.upright(outputs[1], order)
