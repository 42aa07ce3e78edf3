"""Feature pyramid that upsamples by CARAFE (Wang et al., 2019)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from omma.layers import Carafe, ConvNormAct, init_conv
from omma.necks.base import Neck
from omma.registry import register


@register
class FPNCarafe(Neck):
    """A top-down path of all levels, the extra ones too, whose upsampling predicts its kernels.

    Parameter names are those of OpenMMLab's FPN_CARAFE. An upsampled map is cut at the right and the bottom
    to the size of the one below.

    Args:
        in_channels: channels of the backbone's maps, fine to coarse.
        out_channels: channels of every level.
        num_outs: number of levels; those beyond the backbone's are made by stride-2 convolutions on its last
            map.
        kernel_size: of the predicted kernels, pixels of the coarser map.
        compressed_channels: that predict them.
    """

    def __init__(
        self,
        *,
        in_channels: tuple[int, ...],
        out_channels: int = 256,
        num_outs: int = 5,
        kernel_size: int = 5,
        compressed_channels: int = 64,
    ) -> None:
        super().__init__()
        extra = num_outs - len(in_channels)
        if extra < 0:
            raise ValueError(f"{len(in_channels)} maps can't make {num_outs} levels")
        self.in_channels = in_channels
        self.out_channels = (out_channels,) * num_outs
        self.lateral_convs = nn.ModuleList(ConvNormAct(c, out_channels, 1, act=None) for c in in_channels)
        for i in range(extra):
            channels = in_channels[-1] if i == 0 else out_channels
            self.lateral_convs.append(ConvNormAct(channels, out_channels, 3, stride=2, padding=1, act=None))
        self.fpn_convs = nn.ModuleList(
            ConvNormAct(out_channels, out_channels, 3, padding=1, act=None) for _ in range(num_outs)
        )
        init_conv(self, kind="xavier")
        self.upsample_modules = nn.ModuleList(
            Carafe(out_channels, kernel_size=kernel_size, compressed_channels=compressed_channels)
            for _ in range(num_outs - 1)
        )

    def out_strides(self, strides: tuple[int, ...]) -> tuple[int, ...]:
        """The maps', then each extra level's twice that of the one below."""
        extra = len(self.out_channels) - len(strides)
        return strides + tuple(strides[-1] * 2**i for i in range(1, extra + 1))

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Maps (N, in_channels[i], H_i, W_i) -> ``num_outs`` maps of ``out_channels``."""
        sources = [*maps, maps[-1]]
        laterals: list[Tensor] = []
        for i, conv in enumerate(self.lateral_convs):
            laterals.append(conv(sources[i] if i < len(sources) else laterals[-1]))
        for i in range(len(laterals) - 1, 0, -1):
            height, width = laterals[i - 1].shape[-2:]
            laterals[i - 1] = (
                laterals[i - 1] + self.upsample_modules[i - 1](laterals[i])[..., :height, :width]
            )
        return tuple(conv(lateral) for conv, lateral in zip(self.fpn_convs, laterals))
