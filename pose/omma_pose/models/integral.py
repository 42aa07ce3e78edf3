"""Integral regression (Sun et al., Integral Human Pose Regression, ECCV 2018), with heatmaps learned too."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from omma.losses import Loss
from omma.registry import register
from omma_pose.codecs import IntegralRegressionLabel
from omma_pose.models.heads.deconv import DeconvNetwork
from omma_pose.models.heads.pose_head import PoseHead


@register
class DSNTHead(PoseHead):
    """Heatmaps under a softmax, and their means as coordinates (Nibali et al., DSNT, 2018).

    Args:
        num_keypoints: K.
        in_channels: channels of the map that the head takes.
        in_index: which map that is.
        codec: between key points, coordinates and heatmaps.
        loss: of coordinates (N, K, 2) in shares of the image.
        heatmap_loss: of heatmaps (N, K, H, W) that sum to 1.
        deconv_channels: of each transposed convolution.
        deconv_kernels: their sides, 2, 3 or 4.
    """

    linspace_x: Tensor
    linspace_y: Tensor
    codec: IntegralRegressionLabel

    def __init__(
        self,
        *,
        num_keypoints: int,
        in_channels: int,
        in_index: int = -1,
        codec: IntegralRegressionLabel,
        loss: Loss,
        heatmap_loss: Loss,
        deconv_channels: tuple[int, ...] = (256, 256, 256),
        deconv_kernels: tuple[int, ...] = (4, 4, 4),
    ) -> None:
        super().__init__(num_keypoints=num_keypoints, in_channels=in_channels, in_index=in_index, codec=codec)
        self.coordinate_loss, self.heatmap_loss = loss, heatmap_loss
        self.simplebaseline_head = DeconvNetwork(
            in_channels=in_channels,
            out_channels=num_keypoints,
            deconv_channels=deconv_channels,
            deconv_kernels=deconv_kernels,
        )
        width, height = codec.maps.heatmap_size
        self.register_buffer("linspace_x", (torch.arange(width) / width).view(1, 1, 1, width))
        self.register_buffer("linspace_y", (torch.arange(height) / height).view(1, 1, height, 1))

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Coordinates (N, K, 2) in shares of the image, and heatmaps (N, K, H, W) that sum to 1.

        Raises:
            ValueError: the network gives heatmaps of another size than the codec has.
        """
        logits = self.simplebaseline_head(maps[self.in_index])
        if tuple(logits.shape[-2:]) != self.codec.maps.heatmap_size[::-1]:
            raise ValueError(
                f"the network gives heatmaps of {tuple(logits.shape[-2:])}, the codec's (width, height) is "
                f"{self.codec.maps.heatmap_size}; its sizes must fit the network and its input"
            )
        heatmaps = logits.flatten(2).softmax(dim=2).view_as(logits)
        x, y = ((heatmaps * line).sum(dim=(2, 3)) for line in (self.linspace_x, self.linspace_y))
        return torch.stack([x, y], dim=-1), heatmaps

    def loss(self, outputs: tuple[Tensor, Tensor], keypoints: Tensor, visible: Tensor) -> dict[str, Tensor]:
        """``loss_keypoints`` of the coordinates and ``loss_heatmaps``, each a mean over all numbers."""
        (shares, heatmaps), weights = self.codec.encode(keypoints, visible)
        return {
            "loss_keypoints": self.coordinate_loss(outputs[0], shares, weight=weights[..., None]),
            "loss_heatmaps": self.heatmap_loss(outputs[1], heatmaps, weight=weights[..., None, None]),
        }
