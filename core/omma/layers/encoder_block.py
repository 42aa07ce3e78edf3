"""The block of plain vision transformers (Dosovitskiy et al., An Image is Worth 16x16 Words, 2020)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchvision.ops import StochasticDepth

from omma.layers.ffn import FeedForward


class EncoderBlock(nn.Module):
    """Attention and a feed-forward layer, each normalised first and added to its input.

    Parameter names are OpenMMLab's: ``ln1``, ``attn``, ``ln2``, ``ffn``, ``gamma_1``, ``gamma_2``.

    Args:
        channels: of the tokens.
        attention: tokens (N, T, C), and what else ``forward`` is given, to (N, T, C).
        hidden: width between the two linear layers.
        eps: of the norms.
        dropout: share of values dropped of what is added.
        drop_path: how often what is added is left out in training, for an image as a whole.
        layer_scale: initial factor of each channel of what is added; null: there is none.
    """

    def __init__(
        self,
        channels: int,
        *,
        attention: nn.Module,
        hidden: int,
        eps: float = 1e-6,
        dropout: float = 0.0,
        drop_path: float = 0.0,
        layer_scale: float | None = None,
    ) -> None:
        super().__init__()
        self.ln1 = nn.LayerNorm(channels, eps=eps)
        self.attn = attention
        self.ln2 = nn.LayerNorm(channels, eps=eps)
        self.ffn = FeedForward(channels, hidden, act=nn.GELU, dropout=dropout)
        self.dropout = nn.Dropout(dropout)
        self.drop_path = StochasticDepth(drop_path, "row")
        self.gamma_1 = self.gamma_2 = None
        if layer_scale is not None:
            self.gamma_1 = nn.Parameter(torch.full((channels,), layer_scale))
            self.gamma_2 = nn.Parameter(torch.full((channels,), layer_scale))

    def forward(self, x: Tensor, context: tuple[Tensor, ...] = ()) -> Tensor:
        """Tokens (N, T, C), and what the attention takes besides -> (N, T, C)."""
        attended = self.dropout(self.attn(self.ln1(x), *context))
        x = x + self.drop_path(attended if self.gamma_1 is None else self.gamma_1 * attended)
        fed = self.ffn(self.ln2(x))
        return x + self.drop_path(fed if self.gamma_2 is None else self.gamma_2 * fed)
