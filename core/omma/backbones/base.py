"""The contract of every backbone."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn


class Backbone(nn.Module, ABC):
    """From images (N, 3, H, W) to a tuple of feature maps, fine to coarse."""

    out_channels: tuple[int, ...]
    """Channels of each map."""
    strides: tuple[int, ...]
    """Input pixels per pixel of each map."""

    @abstractmethod
    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Maps of shape (N, out_channels[i], ceil(H / strides[i]), ceil(W / strides[i]))."""
