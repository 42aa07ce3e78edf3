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


class Mlp(nn.Module):
    """The same with GELU under the names of timm's, ``fc1`` and ``fc2``.

    Args:
        channels: of the input.
        hidden: between the two layers.
        out_channels: of the output; null: as many as of the input.
        dropout: share of values dropped after each layer.
    """

    def __init__(
        self, channels: int, hidden: int, *, out_channels: int | None = None, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels, hidden)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(hidden, out_channels or channels)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(..., channels) -> (..., out_channels)."""
        return self.dropout(self.fc2(self.dropout(self.act(self.fc1(x)))))
