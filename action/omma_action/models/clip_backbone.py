"""The contract of networks that look at a clip as a whole."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor

from omma.backbones.base import Pretrained


class ClipBackbone(Pretrained, ABC):
    """From clips to a tuple of feature maps, fine to coarse.

    A backbone for images looks at each frame by itself; one of this kind gets whole clips, laid out by
    ``arrange`` as its layers take them.
    """

    out_channels: tuple[int, ...]
    """Channels of each map."""

    def arrange(self, views: Tensor) -> Tensor:
        """Views (B, T, 3, H, W) as ``forward`` takes them: (B, 3, T, H, W), if no subclass says otherwise."""
        return views.transpose(1, 2)

    @abstractmethod
    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Maps (B, out_channels[i], T_i, H_i, W_i), or vectors (B, out_channels[i]), of arranged views."""
