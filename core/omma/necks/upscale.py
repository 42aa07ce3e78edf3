"""Maps made finer without a layer to learn."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from omma.necks.base import Neck
from omma.registry import register


@register
class Upscale(Neck):
    """Every map's positive part, enlarged by bilinear interpolation, as in ViTPose's simple decoder.

    Args:
        in_channels: of the maps.
        scale: how many times the size.

    Raises:
        ValueError: ``scale`` is below 1.
    """

    def __init__(self, *, in_channels: tuple[int, ...], scale: int) -> None:
        super().__init__()
        if scale < 1:
            raise ValueError(f"scale must be at least 1, got {scale}")
        self.in_channels = self.out_channels = tuple(in_channels)
        self.scale = scale
        self.relu = nn.ReLU()

    def out_strides(self, strides: tuple[int, ...]) -> tuple[int, ...]:
        """Those of the maps that come in, divided."""
        return tuple(stride // self.scale for stride in strides)

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """(N, C_i, H_i, W_i) -> (N, C_i, scale * H_i, scale * W_i)."""
        return tuple(F.interpolate(self.relu(x), scale_factor=self.scale, mode="bilinear") for x in maps)
