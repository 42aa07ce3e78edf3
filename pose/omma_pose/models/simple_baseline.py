"""Simple baselines (Xiao et al., Simple Baselines for Human Pose Estimation and Tracking, ECCV 2018)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from omma.layers import init_conv
from omma.losses import Loss
from omma.registry import register
from omma_pose.codecs import HeatmapCodec
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
        conv_channels: tuple[int, ...] = (),
        conv_kernels: tuple[int, ...] = (),
        final_kernel: int = 1,
    ) -> None:
        super().__init__(num_keypoints=num_keypoints, in_channels=in_channels, in_index=in_index, codec=codec)
        if len(conv_channels) != len(conv_kernels):
            raise ValueError(
                f"conv_kernels: expected one for each of {len(conv_channels)} layers, got {conv_kernels}"
            )
        if any(kernel % 2 == 0 for kernel in (*conv_kernels, final_kernel)):
            raise ValueError(f"conv_kernels and final_kernel must be odd, got {conv_kernels}, {final_kernel}")
        self.loss_module = loss
        self.deconv_layers = deconvolutions(in_channels, deconv_channels, deconv_kernels)
        channels = deconv_channels[-1] if deconv_channels else in_channels
        layers: list[nn.Module] = []
        for width, kernel in zip(conv_channels, conv_kernels):
            layers.append(nn.Conv2d(channels, width, kernel, padding=kernel // 2))
            layers += [nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
            channels = width
        self.conv_layers = nn.Sequential(*layers)
        self.final_layer = nn.Conv2d(channels, num_keypoints, final_kernel, padding=final_kernel // 2)
        init_conv(self, std=0.001)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Heatmaps (N, K, H, W)."""
        return self.final_layer(self.conv_layers(self.deconv_layers(maps[self.in_index])))

    def loss(self, outputs: Tensor, keypoints: Tensor, visible: Tensor) -> dict[str, Tensor]:
        """``loss_keypoints``: over all pixels of all heatmaps.

        Raises:
            ValueError: the network gives heatmaps of another size than the codec has.
        """
        target, weights = self.codec.encode(keypoints, visible)
        if target.shape != outputs.shape:
            raise ValueError(
                f"the network gives heatmaps {tuple(outputs.shape)} and the codec {tuple(target.shape)}; "
                "input_size, heatmap_size and num_keypoints must fit the network"
            )
        return {"loss_keypoints": self.loss_module(outputs, target, weight=weights[..., None, None])}


def deconvolutions(in_channels: int, channels: Sequence[int], kernels: Sequence[int]) -> nn.Sequential:
    """Transposed convolutions of stride 2, each with batch norm and ReLU; nothing for no ``channels``.

    Raises:
        ValueError: there are not as many kernels as channels, or one has no side of 2, 3 or 4.
    """
    if len(channels) != len(kernels) or not set(kernels) <= {2, 3, 4}:
        raise ValueError(
            f"deconv_kernels: expected 2, 3 or 4 for each of {len(channels)} layers, got {tuple(kernels)}"
        )
    layers: list[nn.Module] = []
    for width, kernel in zip(channels, kernels):
        padding, extra = {4: (1, 0), 3: (1, 1), 2: (0, 0)}[kernel]
        layers.append(nn.ConvTranspose2d(in_channels, width, kernel, 2, padding, extra, bias=False))
        layers += [nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
        in_channels = width
    return nn.Sequential(*layers)
