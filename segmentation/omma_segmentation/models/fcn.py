"""FCN (Long et al., Fully Convolutional Networks for Semantic Segmentation, 2015)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn

from omma.layers import ConvNormAct, NormKind, SeparableConv
from omma.registry import register
from omma_segmentation.models.heads.context import Context
from omma_segmentation.models.heads.decode_head import FeatureHead, PixelLosses


@register
class FCNHead(FeatureHead):
    """A few convolutions, and their result beside what went in.

    Args:
        in_channels: of the maps it takes; several are resized to the first and joined.
        in_index: which maps.
        channels: width of the convolutions.
        num_classes: C.
        loss: on the logits.
        num_convs: convolutions; none: the maps are classified as they are.
        kernel_size: of the convolutions, pixels.
        dilation: of the convolutions.
        concat_input: classify a convolution of the maps and the result together.
        context: what stands between the first two convolutions; null: nothing.
        separable: depthwise separable convolutions.
        norm: kind of the norms.
        dropout: share of channels.
        align_corners: how maps and logits are resized.

    Raises:
        ValueError: without convolutions ``channels`` isn't the width of the maps, or ``context`` has no two
            convolutions to stand between.
    """

    def __init__(
        self,
        *,
        in_channels: int | tuple[int, ...],
        in_index: int | tuple[int, ...] = -1,
        channels: int,
        num_classes: int,
        loss: PixelLosses,
        num_convs: int = 2,
        kernel_size: int = 3,
        dilation: int = 1,
        concat_input: bool = True,
        context: Context | None = None,
        separable: bool = False,
        norm: NormKind = "sync_bn",
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
        entering = sum(self.in_channels)
        if num_convs == 0 and entering != channels:
            raise ValueError(
                f"without convolutions channels must be those of the maps, {entering}, got {channels}"
            )
        if context is not None and num_convs < 2:
            raise ValueError(
                f"context stands between convolutions: num_convs must be 2 or more, got {num_convs}"
            )
        padding = kernel_size // 2
        convolution = partial(SeparableConv, depthwise_act=False) if separable else ConvNormAct
        widths = [entering, *[channels] * num_convs]
        self.convs = nn.Sequential(
            *(
                convolution(a, b, kernel_size, padding=padding * dilation, dilation=dilation, norm=norm)
                for a, b in pairwise(widths)
            )
        )
        self.concat_input = concat_input
        if concat_input:
            self.conv_cat = convolution(
                entering + channels, channels, kernel_size, padding=padding, norm=norm
            )
        self.context_name = None if context is None else context.name
        if context is not None:
            self.add_module(context.name, context.make(channels, norm))

    def features(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps (N, C_i, H_i, W_i) to what is classified, (N, channels, H, W)."""
        x = self.joined(maps)
        out = x
        for i, conv in enumerate(self.convs):
            if i == 1 and self.context_name is not None:
                out = getattr(self, self.context_name)(out)
            out = conv(out)
        return self.conv_cat(torch.cat([x, out], dim=1)) if self.concat_input else out
