"""MSPN (Li et al., 2019) and RSN (Cai et al., 2020): heatmaps of several stages, from coarse to fine."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from omma.layers import ConvNormAct, init_conv, resize
from omma.losses import MSELoss
from omma.ops.precision import at_least_float32
from omma.registry import register
from omma_pose.codecs import MegviiHeatmap
from omma_pose.models.heads.stages import StagesHead

LEVELS = 4
"""Maps of each stage of the network."""


@register
class MSPNHead(StagesHead):
    """Two convolutions make heatmaps of each map; coarse maps and early stages learn wider bumps.

    In the finest maps of each stage only the key points count whose loss is greatest.

    Args:
        num_keypoints: K.
        in_channels: channels of all maps.
        kernels: side of the bumps that each map learns, in pixels of the heatmap; four for each stage.
        codec: between key points and heatmaps.
        hardest: key points of an object that the finest maps learn from in a step.

    Raises:
        ValueError: there are not four kernels for each stage, or a number is out of its range.
    """

    def __init__(
        self,
        *,
        num_keypoints: int,
        in_channels: int,
        kernels: tuple[int, ...],
        codec: MegviiHeatmap,
        hardest: int = 8,
    ) -> None:
        stages = len(kernels)
        super().__init__(num_keypoints=num_keypoints, in_channels=in_channels, stages=stages, codec=codec)
        if stages % LEVELS:
            raise ValueError(f"kernels: expected {LEVELS} for each stage, got {kernels}")
        if hardest < 1:
            raise ValueError(f"hardest must be at least 1, got {hardest}")
        self.bumps = codec
        self.kernels = tuple(codec.checked(kernel) for kernel in kernels)
        self.hardest = min(hardest, num_keypoints)
        self.predict_layers = nn.ModuleList(
            HeatmapPredictor(in_channels, num_keypoints) for _ in range(stages)
        )
        self.loss_module = MSELoss(loss_weight=0.25)
        init_conv(self, kind="kaiming")

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Heatmaps (N, K, H, W) of each map, at the size of the codec's."""
        width, height = self.codec.heatmap_size
        made = (layer(x) for layer, x in zip(self.predict_layers, maps, strict=True))
        return tuple(resize(x, (height, width), align_corners=True) for x in made)

    def stage_loss(self, stage: int, outputs: Tensor, keypoints: Tensor, visible: Tensor) -> Tensor:
        """See ``StagesHead.stage_loss``."""
        target, weights = self.bumps.encode_with(keypoints, visible, self.kernels[stage])
        self.check_outputs(outputs, target)
        if stage % LEVELS < LEVELS - 1:
            return self.loss_module(outputs, target, weight=weights[..., None, None])
        squares = (at_least_float32(outputs) - target).square() * weights[..., None, None].square()
        return squares.mean((2, 3)).topk(self.hardest, dim=1).values.mean()


class HeatmapPredictor(nn.Module):
    """A 1x1 and a 3x3 convolution: (N, C, H, W) to (N, K, H, W).

    Args:
        in_channels: C.
        num_keypoints: K.
    """

    def __init__(self, in_channels: int, num_keypoints: int) -> None:
        super().__init__()
        self.conv_layers = nn.Sequential(
            ConvNormAct(in_channels, in_channels, 1, norm="bn"),
            ConvNormAct(in_channels, num_keypoints, 3, padding=1, norm="bn", act=None),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, K, H, W)."""
        return self.conv_layers(x)
