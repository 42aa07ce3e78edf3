"""Multi-head attention of tokens among themselves (Vaswani et al., Attention Is All You Need, 2017)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Biases = Literal["all", "query_value"]
"""Which of queries, keys and values have a bias; one of the keys changes no result."""


class SelfAttention(nn.Module):
    """One linear layer to queries, keys and values, attention, another linear layer.

    The children are called ``qkv`` and ``proj``; where keys have no bias, the others' are ``q_bias`` and
    ``v_bias``, as in BEiT.

    Args:
        channels: of the tokens.
        heads: attention heads.
        biases: of queries, keys and values.
    """

    def __init__(self, channels: int, heads: int, *, biases: Biases = "all") -> None:
        super().__init__()
        _check_heads(channels, heads)
        self.heads = heads
        self.qkv = nn.Linear(channels, 3 * channels, bias=biases == "all")
        if biases == "query_value":
            self.q_bias = nn.Parameter(torch.zeros(channels))
            self.v_bias = nn.Parameter(torch.zeros(channels))
        self.proj = nn.Linear(channels, channels)

    def bias(self, *context: Tensor) -> Tensor | None:
        """What subclasses add to the likeness of tokens, from what ``forward`` is given: (N, heads, T, T).

        Axes along which it is the same may be 1.
        """
        return None

    def forward(self, x: Tensor, *context: Tensor) -> Tensor:
        """Tokens (N, T, C), and what ``bias`` takes -> (N, T, C)."""
        bias = self.bias(*context)
        if self.qkv.bias is not None:
            mixed = self.qkv(x)
        else:
            joint = torch.cat([self.q_bias, torch.zeros_like(self.q_bias), self.v_bias])
            mixed = F.linear(x, self.qkv.weight, joint)
        query, key, value = mixed.unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mask = None if bias is None else bias.to(query)
        return self.proj(F.scaled_dot_product_attention(query, key, value, mask).transpose(1, 2).flatten(2))


class PackedSelfAttention(nn.Module):
    """The same through ``nn.MultiheadAttention``, which OpenMMLab's checkpoints keep under ``attn``.

    Args:
        channels: of the tokens.
        heads: attention heads.
    """

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        _check_heads(channels, heads)
        self.attn = nn.MultiheadAttention(channels, heads, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens (N, T, C) -> the same shape."""
        return self.attn(x, x, x, need_weights=False)[0]


def _check_heads(channels: int, heads: int) -> None:
    if channels % heads:
        raise ValueError(f"channels {channels} must be divisible by heads {heads}")
