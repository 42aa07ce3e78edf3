"""YOLOF's encoder (Chen et al., You Only Look One-level Feature, 2021)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from omma.layers import ConvNormAct, NormKind, init_conv, make_norm
from omma.necks.base import Neck
from omma.registry import register


@register
class DilatedEncoder(Neck):
    """One map: a projection, then residual blocks of growing dilation, so that it sees objects of all sizes.

    Args:
        in_channels: channels of the one map that comes in.
        out_channels: channels of the map that goes out.
        block_channels: channels inside the blocks.
        dilations: of the blocks.
        norm: kind of the norm layers.
    """

    def __init__(
        self,
        *,
        in_channels: tuple[int, ...] = (2048,),
        out_channels: int = 512,
        block_channels: int = 128,
        dilations: tuple[int, ...] = (2, 4, 6, 8),
        norm: NormKind = "bn",
    ) -> None:
        super().__init__()
        if len(in_channels) != 1:
            raise ValueError(f"the encoder takes one map, got channels {in_channels}")
        self.in_channels = in_channels
        self.out_channels = (out_channels,)
        self.lateral_conv = nn.Conv2d(in_channels[0], out_channels, 1)
        self.lateral_norm = make_norm(norm, out_channels)
        self.fpn_conv = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.fpn_norm = make_norm(norm, out_channels)
        self.dilated_encoder_blocks = nn.Sequential(
            *(DilatedBlock(out_channels, block_channels, d, norm) for d in dilations)
        )
        init_conv(self, std=0.01)
        for conv in (self.lateral_conv, self.fpn_conv):
            nn.init.xavier_uniform_(conv.weight)

    def out_strides(self, strides: tuple[int, ...]) -> tuple[int, ...]:
        """That of the map."""
        return strides

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """One map (N, C, H, W) -> (N, out_channels, H, W)."""
        x = self.lateral_norm(self.lateral_conv(maps[0]))
        x = self.fpn_norm(self.fpn_conv(x))
        return (self.dilated_encoder_blocks(x),)


class DilatedBlock(nn.Module):
    """1x1, dilated 3x3 and 1x1 convolutions, added to the input."""

    def __init__(self, channels: int, inner: int, dilation: int, norm: NormKind) -> None:
        super().__init__()
        self.conv1 = ConvNormAct(channels, inner, 1, norm=norm)
        self.conv2 = ConvNormAct(inner, inner, 3, padding=dilation, dilation=dilation, norm=norm)
        self.conv3 = ConvNormAct(inner, channels, 1, norm=norm)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> the same shape."""
        return x + self.conv3(self.conv2(self.conv1(x)))
