"""A coarse map made fine by transposed convolutions (Xiao et al., 2018; Zhou et al., CenterNet, 2019)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from omma.layers import ConvNormAct
from omma.necks.base import Neck
from omma.registry import register


@register
class DeconvNeck(Neck):
    """Steps of a 3x3 convolution and a transposed one that doubles the size.

    Args:
        in_channels: channels of the backbone's map, the only one.
        channels: of each step.
        deform: the 3x3 convolutions are deformable, modulated.

    Raises:
        ValueError: there are several maps, or no step.
    """

    def __init__(
        self,
        *,
        in_channels: tuple[int, ...] = (512,),
        channels: tuple[int, ...] = (256, 128, 64),
        deform: bool = False,
    ) -> None:
        super().__init__()
        if len(in_channels) != 1 or not channels:
            raise ValueError(f"takes one map and makes steps, got in_channels {in_channels}, {channels}")
        self.in_channels, self.out_channels = in_channels, (channels[-1],)
        self.steps = len(channels)
        layers: list[nn.Module] = []
        width = in_channels[0]
        for c in channels:
            layers.append(ConvNormAct(width, c, 3, padding=1, norm="bn", deform=2 if deform else None))
            layers.append(_Enlarge(c))
            width = c
        self.deconv_layers = nn.Sequential(*layers)

    def out_strides(self, strides: tuple[int, ...]) -> tuple[int, ...]:
        """That of the map that comes in, halved by each step."""
        return (strides[0] // 2**self.steps,)

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """One map (N, C, H, W) -> one of (N, channels[-1], H * 2^steps, W * 2^steps)."""
        return (self.deconv_layers(maps[0]),)


class _Enlarge(nn.Module):
    """A transposed convolution that starts as bilinear interpolation of each channel, norm and ReLU."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose2d(channels, channels, 4, stride=2, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(channels)
        line = self.conv.weight.new_tensor([0.25, 0.75, 0.75, 0.25])
        nn.init.zeros_(self.conv.weight)
        self.conv.weight.data[range(channels), range(channels)] = line[:, None] * line

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.conv(x)).relu()
