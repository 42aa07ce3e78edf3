"""Non-local network (Wang et al., Non-local Neural Networks, 2017)."""

from __future__ import annotations

from dataclasses import dataclass

from omma.layers import NonLocal2d, NormKind
from omma.registry import register
from omma_segmentation.models.heads.context import Context


@register
@dataclass(kw_only=True, frozen=True)
class NonLocalContext(Context):
    """Attention of every pixel to every other."""

    name = "nl_block"

    reduction: int = 2
    """Likeness is judged in this part of the channels."""
    scaled: bool = True
    """Divide it by the root of their number before the softmax."""

    def make(self, channels: int, norm: NormKind) -> NonLocal2d:
        """(N, channels, H, W) to the same shape."""
        return NonLocal2d(channels, reduction=self.reduction, scaled=self.scaled, norm=norm)
