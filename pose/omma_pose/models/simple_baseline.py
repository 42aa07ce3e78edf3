"""Simple baselines (Xiao et al., Simple Baselines for Human Pose Estimation and Tracking, ECCV 2018)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from omma.losses import Loss
from omma.registry import register
from omma_pose.codecs import HeatmapCodec
from omma_pose.models.heads.deconv import DeconvNetwork
from omma_pose.models.heads.pose_head import PoseHead


@register
class HeatmapHead(PoseHead):
    """Transposed convolutions that double the size each, convolutions, and a heatmap for each key point.

    Args:
        num_keypoints: K.
        in_channels: channels of the map that the head takes.
        in_index: which map that is.
        codec: between key points and heatmaps.
        loss: of heatmaps (N, K, H, W); unlabelled key points have no weight.
        deconv_channels: of each transposed convolution; none: the heatmaps are as large as the map.
        deconv_kernels: their sides, 2, 3 or 4.
        deconv_groups: their groups; none: one each.
        conv_channels: of convolutions behind them.
        conv_kernels: their sides, odd.
        final_kernel: side of the last convolution, odd.

    Raises:
        ValueError: kernels don't fit the channels.
    """

    codec: HeatmapCodec

    def __init__(
        self,
        *,
        num_keypoints: int,
        in_channels: int,
        in_index: int = -1,
        codec: HeatmapCodec,
        loss: Loss,
        deconv_channels: tuple[int, ...] = (256, 256, 256),
        deconv_kernels: tuple[int, ...] = (4, 4, 4),
        deconv_groups: tuple[int, ...] = (),
        conv_channels: tuple[int, ...] = (),
        conv_kernels: tuple[int, ...] = (),
        final_kernel: int = 1,
    ) -> None:
        super().__init__(num_keypoints=num_keypoints, in_channels=in_channels, in_index=in_index, codec=codec)
        self.loss_module = loss
        network = DeconvNetwork(
            in_channels=in_channels,
            out_channels=num_keypoints,
            deconv_channels=deconv_channels,
            deconv_kernels=deconv_kernels,
            deconv_groups=deconv_groups,
            conv_channels=conv_channels,
            conv_kernels=conv_kernels,
            final_kernel=final_kernel,
        )
        # Here its layers are the head's own, as published weights name them.
        self.deconv_layers, self.conv_layers = network.deconv_layers, network.conv_layers
        self.final_layer = network.final_layer

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Heatmaps (N, K, H, W)."""
        return self.final_layer(self.conv_layers(self.deconv_layers(maps[self.in_index])))

    def loss(self, outputs: Tensor, keypoints: Tensor, visible: Tensor) -> dict[str, Tensor]:
        """``loss_keypoints``: over all pixels of all heatmaps.

        Raises:
            ValueError: the network gives heatmaps of another size than the codec has.
        """
        target, weights = self.codec.encode(keypoints, visible)
        self.check_outputs(outputs, target)
        return {"loss_keypoints": self.loss_module(outputs, target, weight=weights[..., None, None])}
