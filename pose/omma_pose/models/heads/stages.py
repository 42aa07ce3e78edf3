"""What heads of networks in several stages share, each of which gives heatmaps."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from omma_pose.codecs import HeatmapCodec
from omma_pose.models.heads.pose_head import PoseHead


class StagesHead(PoseHead):
    """Heatmaps of every stage, one for each map; the last ones are the prediction.

    Args:
        num_keypoints: K.
        in_channels: channels of all maps.
        stages: maps that the head takes, and heatmaps that it gives.
        codec: between key points and heatmaps.

    Raises:
        ValueError: there is no stage.
    """

    codec: HeatmapCodec

    def __init__(self, *, num_keypoints: int, in_channels: int, stages: int, codec: HeatmapCodec) -> None:
        super().__init__(num_keypoints=num_keypoints, in_channels=in_channels, codec=codec)
        if stages < 1:
            raise ValueError(f"a head needs at least one map, got stages {stages}")
        self.stages = stages

    @abstractmethod
    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Heatmaps (N, K, H, W) of each stage."""

    def loss(self, outputs: tuple[Tensor, ...], keypoints: Tensor, visible: Tensor) -> dict[str, Tensor]:
        """``loss_keypoints``: the sum over all stages.

        Raises:
            ValueError: the network gives heatmaps of another size than the codec has.
        """
        losses = [self.stage_loss(i, maps, keypoints, visible) for i, maps in enumerate(outputs)]
        return {"loss_keypoints": torch.stack(losses).sum()}

    @abstractmethod
    def stage_loss(self, stage: int, outputs: Tensor, keypoints: Tensor, visible: Tensor) -> Tensor:
        """The scalar loss of one stage's heatmaps."""

    def decode(self, outputs: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """Key points (N, K, 2) in pixels of the input and their scores (N, K), of the last stage."""
        return self.codec.decode(outputs[-1])

    def upright(self, outputs: tuple[Tensor, ...], order: Tensor) -> tuple[Tensor, ...]:
        """See ``PoseHead.upright``."""
        return tuple(self.codec.upright(maps, order) for maps in outputs)

    def check_maps(self, channels: Sequence[int]) -> None:
        """Whether there is a map of ``in_channels`` for each stage.

        Raises:
            ValueError: there are others.
        """
        if tuple(channels) != (self.in_channels,) * self.stages:
            raise ValueError(
                f"the head takes {self.stages} maps of {self.in_channels} channels, but they have "
                f"{list(channels)}"
            )
