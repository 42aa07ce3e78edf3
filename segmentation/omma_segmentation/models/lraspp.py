"""LR-ASPP, the lite head of MobileNetV3 (Howard et al., Searching for MobileNetV3, 2019)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from omma.layers import ConvNormAct, NormForm, NormKind, WindowMean, resize
from omma.registry import register
from omma_segmentation.models.heads.decode_head import FeatureHead, PixelLosses

NORM = NormForm(kind="sync_bn", eps=1e-3)


@register
class LRASPPHead(FeatureHead):
    """The coarsest map weighed by its averages over large windows, then joined by finer ones step by step.

    Args:
        in_channels: of the maps, fine to coarse.
        in_index: which maps.
        branch_channels: what each map but the coarsest is narrowed to.
        channels: width of all else.
        num_classes: C.
        loss: on the logits.
        window: side of the windows that are averaged, positions.
        window_strides: from one window to the next, down and to the right.
        norm: kind of the norms.
        dropout: share of channels.
        align_corners: how maps and logits are resized.

    Raises:
        ValueError: ``branch_channels`` aren't one fewer than the maps.
    """

    def __init__(
        self,
        *,
        in_channels: tuple[int, ...],
        in_index: tuple[int, ...] = (0, 1, 2),
        branch_channels: tuple[int, ...] = (32, 64),
        channels: int = 128,
        num_classes: int,
        loss: PixelLosses,
        window: int = 49,
        window_strides: tuple[int, int] = (16, 20),
        norm: NormKind = NORM,
        dropout: float = 0.1,
        align_corners: bool = False,
    ) -> None:
        super().__init__(
            in_channels=in_channels,
            in_index=in_index,
            channels=channels,
            num_classes=num_classes,
            loss=loss,
            dropout=dropout,
            align_corners=align_corners,
        )
        *fine, coarse = in_channels
        if len(branch_channels) != len(fine):
            raise ValueError(
                f"branch_channels must be one for each map but the last, got {len(branch_channels)} "
                f"for {len(in_channels)} maps"
            )
        self.convs, self.conv_ups = nn.Sequential(), nn.Sequential()
        for i, (entering, width) in enumerate(zip(fine, branch_channels)):
            self.convs.add_module(f"conv{i}", nn.Conv2d(entering, width, 1, bias=False))
            self.conv_ups.add_module(f"conv_up{i}", ConvNormAct(channels + width, channels, 1, norm=norm))
        self.conv_up_input = nn.Conv2d(channels, channels, 1)
        self.aspp_conv = ConvNormAct(coarse, channels, 1, norm=norm)
        gate = ConvNormAct(coarse, channels, 1, bias=False, act=None)
        self.image_pool = nn.Sequential(WindowMean(window, window_strides), gate, nn.Sigmoid())

    def features(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps (N, C_i, H_i, W_i) to what is classified, (N, channels, H, W) of the finest one's size."""
        *fine, coarse = self.select(maps)
        x = self.aspp_conv(coarse)
        x = self.conv_up_input(x * resize(self.image_pool(coarse), x, align_corners=True))
        for level, conv, conv_up in reversed([*zip(fine, self.convs, self.conv_ups, strict=True)]):
            x = resize(x, level, align_corners=self.align_corners)
            x = conv_up(torch.cat([x, conv(level)], dim=1))
        return x
