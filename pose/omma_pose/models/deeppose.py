"""Regression of coordinates (Toshev and Szegedy, DeepPose, CVPR 2014), with likelihoods (Li et al., 2021)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from omma.losses import Loss
from omma.registry import register
from omma_pose.codecs import RegressionLabel
from omma_pose.losses.rle import RLELoss
from omma_pose.models.heads.pose_head import PoseHead


@register
class RegressionHead(PoseHead):
    """The mean of a map, and one linear layer to coordinates.

    Args:
        num_keypoints: K.
        in_channels: channels of the map that the head takes.
        in_index: which map that is.
        codec: between key points and coordinates.
        loss: of coordinates (N, K, 2) in shares of the image.
    """

    def __init__(
        self,
        *,
        num_keypoints: int,
        in_channels: int,
        in_index: int = -1,
        codec: RegressionLabel,
        loss: Loss,
    ) -> None:
        super().__init__(num_keypoints=num_keypoints, in_channels=in_channels, in_index=in_index, codec=codec)
        self.loss_module = loss
        self.fc = coordinates(in_channels, 2 * num_keypoints)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Coordinates (N, K, 2)."""
        return self.fc(maps[self.in_index].mean(dim=(2, 3))).view(-1, self.num_keypoints, 2)

    def loss(self, outputs: Tensor, keypoints: Tensor, visible: Tensor) -> dict[str, Tensor]:
        """``loss_keypoints``: the mean over all coordinates."""
        target, weights = self.codec.encode(keypoints, visible)
        return {"loss_keypoints": self.loss_module(outputs, target, weight=weights[..., None])}


@register
class RLEHead(PoseHead):
    """The mean of a map, and one linear layer to coordinates and their deviations.

    Args:
        num_keypoints: K.
        in_channels: channels of the map that the head takes.
        in_index: which map that is.
        codec: between key points and coordinates.
        loss: their likelihood.
    """

    def __init__(
        self,
        *,
        num_keypoints: int,
        in_channels: int,
        in_index: int = -1,
        codec: RegressionLabel,
        loss: RLELoss,
    ) -> None:
        super().__init__(num_keypoints=num_keypoints, in_channels=in_channels, in_index=in_index, codec=codec)
        self.loss_module = loss
        self.fc = coordinates(in_channels, 4 * num_keypoints)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Coordinates and logits of their deviations, (N, K, 4)."""
        return self.fc(maps[self.in_index].mean(dim=(2, 3))).view(-1, self.num_keypoints, 4)

    def loss(self, outputs: Tensor, keypoints: Tensor, visible: Tensor) -> dict[str, Tensor]:
        """``loss_keypoints``: summed over key points, the mean over objects."""
        target, weights = self.codec.encode(keypoints, visible)
        total = self.loss_module(outputs, target, weight=weights[..., None], avg_factor=len(outputs))
        return {"loss_keypoints": total}

    def decode(self, outputs: Any) -> tuple[Tensor, Tensor]:
        """See ``PoseHead.decode``; the score is 1 less the mean deviation."""
        outputs = outputs.float()
        return self.codec.decode(torch.cat([outputs[..., :2], outputs[..., 2:].sigmoid()], dim=-1))


def coordinates(in_channels: int, out_channels: int) -> nn.Linear:
    """A linear layer that begins near zero."""
    layer = nn.Linear(in_channels, out_channels)
    nn.init.normal_(layer.weight, std=0.01)
    nn.init.zeros_(layer.bias)
    return layer
