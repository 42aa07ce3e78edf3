"""DNLNet (Yin et al., Disentangled Non-Local Neural Networks, 2020)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F

from omma.layers import NonLocal2d, NormKind
from omma.registry import register
from omma_segmentation.models.heads.context import Context


@register
@dataclass(kw_only=True, frozen=True)
class DisentangledContext(Context):
    """Attention between pixels, and apart from it one to pixels that matter to all."""

    name = "dnl_block"

    reduction: int = 2
    """Likeness is judged in this part of the channels."""
    scaled: bool = True
    """Divide it by the root of their number before the softmax."""
    temperature: float = 0.05
    """Divide it by this too."""

    def make(self, channels: int, norm: NormKind) -> DisentangledNonLocal:
        """(N, channels, H, W) to the same shape."""
        return DisentangledNonLocal(
            channels, reduction=self.reduction, scaled=self.scaled, temperature=self.temperature, norm=norm
        )


class DisentangledNonLocal(NonLocal2d):
    """Pairwise attention of whitened queries and keys, and unary attention of the pixels themselves.

    Args:
        channels: C.
        reduction: likeness is judged in C / reduction channels.
        scaled: divide it by the root of their number before the softmax.
        temperature: divide it by this too.
        norm: of what is added.
    """

    def __init__(
        self, channels: int, *, reduction: int, scaled: bool, temperature: float, norm: NormKind | None
    ) -> None:
        super().__init__(channels, reduction=reduction, scaled=scaled, norm=norm)
        self.scale = self.scale / temperature
        self.conv_mask = nn.Conv2d(channels, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> the same shape."""
        query, key, value = (
            layer(x).flatten(2).transpose(1, 2) for layer in (self.theta, self.phi, self.g)
        )  # (N, P, C')
        query, key = query - query.mean(dim=1, keepdim=True), key - key.mean(dim=1, keepdim=True)
        pairs = F.scaled_dot_product_attention(query, key, value, scale=self.scale)
        share = self.conv_mask(x).flatten(2).softmax(dim=-1)  # (N, 1, P)
        unary = (share @ value).transpose(1, 2)[..., None]  # (N, C', 1, 1)
        return x + self.conv_out(pairs.transpose(1, 2).unflatten(2, x.shape[-2:])) + self.conv_out(unary)
