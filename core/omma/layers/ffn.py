"""The two layers between the attentions of a transformer (Vaswani et al., 2017)."""

from __future__ import annotations

from torch import Tensor, nn


class FeedForward(nn.Module):
    """Linear, activation, linear on the last axis; the names are those of OpenMMLab's FFN.

    Args:
        channels: of input and output.
        hidden: between the two.
        act: the activation, ReLU or GELU.
        dropout: share of values dropped after each layer.
    """

    def __init__(
        self, channels: int, hidden: int, *, act: type[nn.ReLU | nn.GELU] = nn.ReLU, dropout: float = 0.0
    ) -> None:
        super().__init__()
        first = nn.Sequential(nn.Linear(channels, hidden), act(), nn.Dropout(dropout))
        self.layers = nn.Sequential(first, nn.Linear(hidden, channels), nn.Dropout(dropout))

    def forward(self, x: Tensor) -> Tensor:
        """(..., channels) -> the same shape."""
        return self.layers(x)
