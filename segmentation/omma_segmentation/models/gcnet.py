"""GCNet (Cao et al., Non-local Networks Meet Squeeze-Excitation Networks and Beyond, 2019)."""

from __future__ import annotations

from dataclasses import dataclass

from omma.layers import ContextBlock, NormKind
from omma.registry import register
from omma_segmentation.models.heads.context import Context


@register
@dataclass(kw_only=True, frozen=True)
class GlobalContext(Context):
    """One vector for all pixels, the mean that attention weighs."""

    name = "gc_block"

    reduction: int = 4
    """The vector passes through this part of the channels."""

    def make(self, channels: int, norm: NormKind) -> ContextBlock:
        """(N, channels, H, W) to the same shape; the block has a norm of its own."""
        return ContextBlock(channels, reduction=self.reduction)
