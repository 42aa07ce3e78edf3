"""Attention of every position to every other (Wang et al., Non-local Neural Networks, 2017)."""

from __future__ import annotations

from torch import Tensor, nn

from omma.layers.conv import ConvNormAct
from omma.layers.norm import NormKind


class NonLocal2d(nn.Module):
    """Adds to each position the others' values, weighed by likeness; the identity at first.

    Args:
        channels: C.
        reduction: the likeness is judged in C / reduction channels.
        scaled: divide it by the root of their number before the softmax.
        norm: kind of the norm of what is added; null: none.
    """

    def __init__(
        self, channels: int, *, reduction: int = 2, scaled: bool = True, norm: NormKind | None = None
    ) -> None:
        super().__init__()
        inner = max(channels // reduction, 1)
        self.scale = inner**-0.5 if scaled else 1.0
        self.g = ConvNormAct(channels, inner, 1, act=None)
        self.theta = ConvNormAct(channels, inner, 1, act=None)
        self.phi = ConvNormAct(channels, inner, 1, act=None)
        self.conv_out = ConvNormAct(inner, channels, 1, norm=norm, act=None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Small weights; zeros in the last norm or, without one, convolution."""
        for layer in (self.g, self.theta, self.phi):
            nn.init.normal_(layer.conv.weight, std=0.01)
            nn.init.zeros_(layer.conv.get_parameter("bias"))
        last = self.conv_out
        for value in (getattr(last, last.norm_name) if last.norm_name else last.conv).parameters():
            nn.init.zeros_(value)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> the same shape."""
        query, key, value = (layer(x).flatten(2) for layer in (self.theta, self.phi, self.g))  # (N, C', P)
        weights = (query.transpose(1, 2) @ key * self.scale).softmax(dim=-1)  # (N, P, P)
        seen = (weights @ value.transpose(1, 2)).transpose(1, 2)
        return x + self.conv_out(seen.reshape(len(x), -1, *x.shape[-2:]))
