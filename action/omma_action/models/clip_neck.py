"""The contract of what stands between a backbone and a head on clips."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from torch import Tensor, nn


class ClipNeck(nn.Module, ABC):
    """From the maps of clips, (B, C_i, T_i, H_i, W_i) fine to coarse, to other ones."""

    in_channels: tuple[int, ...]
    """Channels of each map that comes in; must equal the backbone's."""
    out_channels: tuple[int, ...]
    """Channels of each map that goes out."""

    @abstractmethod
    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Maps of ``out_channels``."""

    def loss(self, maps: Sequence[Tensor], targets: Tensor) -> dict[str, Tensor]:
        """Losses of its own, from the maps that come in and the share of each class (B, C)."""
        return {}
