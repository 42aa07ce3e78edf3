"""Attention within windows (Liu et al., Swin Transformer, 2021; Video Swin Transformer, 2021)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from omma.ops import window_mask, window_partition, window_reverse

Sides = tuple[int, ...]
"""Of a window: height and width, or frames, height and width."""


class WindowAttention(nn.Module):
    """Multi-head attention among the positions of a window, with a learnt bias for each relative position.

    Args:
        channels: of the positions.
        heads: attention heads.
        window: its sides, positions; one number: of a square one.
    """

    relative_position_index: Tensor

    def __init__(self, channels: int, heads: int, window: int | Sides) -> None:
        super().__init__()
        self.heads = heads
        sides = (window, window) if isinstance(window, int) else window
        relative = math.prod(2 * side - 1 for side in sides)
        self.relative_position_bias_table = nn.Parameter(torch.zeros(relative, heads))
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)
        self.register_buffer("relative_position_index", relative_positions(sides), persistent=False)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)

    def forward(self, windows: Tensor, mask: Tensor | None) -> Tensor:
        """(N, K, P, C), K windows of P positions -> the same shape; ``mask`` (K, P, P): who sees whom.

        Windows of fewer positions than the table is for have the biases of its first P, as in the published
        models: of fewer frames those are the right ones.
        """
        n, k, p, c = windows.shape
        query, key, value = self.qkv(windows).reshape(n, k, p, 3, self.heads, -1).permute(3, 0, 1, 4, 2, 5)
        bias = self.relative_position_bias_table[self.relative_position_index[:p, :p].flatten()]
        bias = bias.reshape(p, p, self.heads).permute(2, 0, 1)  # (heads, P, P)
        bias = bias[None]
        if mask is not None:
            # A large number in place of infinity, as in the published models.
            bias = bias + (mask[:, None].logical_not() * -100.0).to(bias)  # (K, heads, P, P)
        bias = bias.to(query).expand(n, k, -1, -1, -1).flatten(0, 1)
        query, key, value = (t.flatten(0, 1) for t in (query, key, value))
        out = F.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        return self.proj(out.transpose(1, 2).reshape(n, k, p, c))


def attend_in_windows(
    attention: WindowAttention, x: Tensor, *, size: int | Sides, shift: int | Sides
) -> Tensor:
    """``attention`` within the windows of a map, (N, H, W, C) or (N, T, H, W, C), rolled by ``shift``.

    Positions that the roll brought together don't see each other.
    """
    sides = tuple(x.shape[1:-1])
    windows = window_partition(x, size=size, shift=shift)
    shifted = shift > 0 if isinstance(shift, int) else any(shift)
    mask = window_mask(sides, size=size, shift=shift, device=x.device) if shifted else None
    return window_reverse(attention(windows, mask), sides=sides, size=size, shift=shift)


def relative_positions(sides: Sides) -> Tensor:
    """Row of the bias table for each pair of positions of a window, (P, P)."""
    places = torch.meshgrid(*(torch.arange(side) for side in sides), indexing="ij")
    rows = torch.zeros((), dtype=torch.int64)
    for place, side in zip((axis.flatten() for axis in places), sides):
        rows = rows * (2 * side - 1) + (place[:, None] - place + side - 1)
    return rows
