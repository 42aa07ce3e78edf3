"""What a head may have between its first two convolutions, so that every pixel sees the whole image."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import nn

from omma.layers import NormKind


class Context(ABC):
    """A kind of context; ``make`` builds its module for a head."""

    name: str
    """Attribute of the head that OpenMMLab's checkpoints store the module under."""

    @abstractmethod
    def make(self, channels: int, norm: NormKind) -> nn.Module:
        """The module: (N, channels, H, W) to the same shape; ``norm`` is the kind of the head's norms."""
