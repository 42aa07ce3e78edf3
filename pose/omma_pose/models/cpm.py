"""Convolutional pose machines (Wei et al., 2016) and stacked hourglasses (Newell et al., 2016)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from omma.layers import init_conv
from omma.losses import Loss
from omma.registry import register
from omma_pose.codecs import HeatmapCodec
from omma_pose.models.heads.stages import StagesHead


@register
class CPMHead(StagesHead):
    """A 1x1 convolution makes heatmaps of each stage's map, and all stages learn the same ones.

    Args:
        num_keypoints: K.
        in_channels: channels of all maps.
        stages: maps that the head takes.
        codec: between key points and heatmaps.
        loss: of the heatmaps (N, K, H, W) of one stage; unlabelled key points have no weight.
        final_layer: whether there are such convolutions; else the maps are the heatmaps.

    Raises:
        ValueError: there is no stage, or ``in_channels`` must be ``num_keypoints`` and isn't.
    """

    def __init__(
        self,
        *,
        num_keypoints: int,
        in_channels: int,
        stages: int,
        codec: HeatmapCodec,
        loss: Loss,
        final_layer: bool = True,
    ) -> None:
        super().__init__(num_keypoints=num_keypoints, in_channels=in_channels, stages=stages, codec=codec)
        if not final_layer and in_channels != num_keypoints:
            raise ValueError(f"maps of {in_channels} channels are no heatmaps of {num_keypoints} key points")
        self.loss_module = loss
        self.multi_final_layers = nn.ModuleList(
            nn.Conv2d(in_channels, num_keypoints, 1) if final_layer else nn.Identity() for _ in range(stages)
        )
        init_conv(self, std=0.001)

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Heatmaps (N, K, H, W) of each stage."""
        return tuple(layer(x) for layer, x in zip(self.multi_final_layers, maps, strict=True))

    def stage_loss(self, stage: int, outputs: Tensor, keypoints: Tensor, visible: Tensor) -> Tensor:
        """See ``StagesHead.stage_loss``."""
        target, weights = self.codec.encode(keypoints, visible)
        self.check_outputs(outputs, target)
        return self.loss_module(outputs, target, weight=weights[..., None, None])
