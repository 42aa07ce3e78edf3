"""Attention of every position in every frame to all others (Wang et al., Non-local Neural Networks, 2017)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from omma.layers import NormKind
from omma_action.models.bricks import ConvNormAct3d

Likeness = Literal["embedded_gaussian", "gaussian", "dot_product"]
"""How alike two positions are: the softmax of the product of what two convolutions make of them, or of their
own features; or that product over the number of positions."""


@dataclass(kw_only=True, frozen=True)
class NonLocalForm:
    """What the non-local blocks of a network have in common."""

    likeness: Likeness = "embedded_gaussian"
    subsample: bool = True
    """Whether positions are compared with a pool of 2 x 2 others each."""
    scaled: bool = False
    """Whether embedded products are divided by the root of their channels before the softmax."""
    norm: NormKind | None = "bn"
    """Of what is added."""

    def make(self, channels: int) -> NonLocal3d:
        """A block for (N, ``channels``, T, H, W)."""
        return NonLocal3d(channels, form=self)


class NonLocal3d(nn.Module):
    """Adds to each position the others' values, weighed by likeness; the identity at first.

    Args:
        channels: C, of which half are compared.
        form: how.
    """

    added_names = ("g", "theta", "phi", "conv_out")

    def __init__(self, channels: int, *, form: NonLocalForm) -> None:
        super().__init__()
        self.likeness = form.likeness
        inner = max(channels // 2, 1)
        self.scale = inner**-0.5 if form.scaled and form.likeness == "embedded_gaussian" else 1.0
        pool = (nn.MaxPool3d((1, 2, 2)),) if form.subsample else ()
        convs = [ConvNormAct3d(channels, inner, act=None) for _ in range(3 if self._embeds else 1)]
        for conv in convs:
            nn.init.normal_(conv.conv.get_parameter("weight"), std=0.01)
            nn.init.zeros_(conv.conv.get_parameter("bias"))
        self.g = _pooled(convs[0], *pool)
        if self._embeds:
            self.theta, self.phi = convs[1], _pooled(convs[2], *pool)
        else:
            self.theta, self.phi = nn.Identity(), nn.Sequential(*pool)
        self.conv_out = ConvNormAct3d(inner, channels, norm=form.norm, act=None)
        last = self.conv_out
        for value in (getattr(last, last.norm_name) if last.norm_name else last.conv).parameters():
            nn.init.zeros_(value)

    @property
    def _embeds(self) -> bool:
        return self.likeness != "gaussian"

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T, H, W) -> the same shape."""
        query, key, value = (layer(x).flatten(2) for layer in (self.theta, self.phi, self.g))  # (N, C', P)
        weights = query.transpose(1, 2) @ key * self.scale  # (N, P, P')
        weights = weights / key.shape[2] if self.likeness == "dot_product" else weights.softmax(dim=-1)
        seen = (weights @ value.transpose(1, 2)).transpose(1, 2)
        return x + self.conv_out(seen.reshape(len(x), -1, *x.shape[2:]))


def _pooled(conv: nn.Module, *pool: nn.Module) -> nn.Module:
    return nn.Sequential(conv, *pool) if pool else conv
