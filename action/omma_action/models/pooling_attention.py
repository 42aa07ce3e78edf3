"""Attention among pooled queries, keys and values (Fan et al., MViT, 2021; Li et al., MViTv2, 2022)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from omma_action.models.bricks import Triple


class PoolingAttention(nn.Module):
    """Multi-head attention; queries, keys and values are pooled by depthwise convolutions before.

    What a query sees depends on relative positions, too, along each axis by itself; the pooled queries are
    added to the result.

    Args:
        in_channels: of the tokens.
        channels: of the queries, keys, values and outputs.
        heads: attention heads.
        grid: frames, rows and columns of the tokens that the positions are for; others interpolate them.
        stride_q: by how much queries are pooled along each axis.
        stride_kv: keys and values.
        eps: of the norms behind the pooling.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        heads: int,
        *,
        grid: Triple,
        stride_q: Triple,
        stride_kv: Triple,
        eps: float,
    ) -> None:
        super().__init__()
        self.channels, self.heads, self.stride_q, self.stride_kv = channels, heads, stride_q, stride_kv
        each = channels // heads
        self.qkv = nn.Linear(in_channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)
        for name, stride in (("q", stride_q), ("k", stride_kv), ("v", stride_kv)):
            conv = nn.Conv3d(each, each, 3, stride=stride, padding=1, groups=each, bias=False)
            self.add_module(f"pool_{name}", conv)
            self.add_module(f"norm_{name}", nn.LayerNorm(each, eps=eps))
        for name, side, of_q, of_kv in zip("thw", grid, stride_q, stride_kv):
            rows = 2 * max(side // of_q, side // of_kv) - 1
            table = nn.Parameter(torch.zeros(rows, each))
            nn.init.trunc_normal_(table, std=0.02)
            self.register_parameter(f"rel_pos_{name}", table)

    def grid_after(self, grid: Triple) -> Triple:
        """Frames, rows and columns of the outputs for tokens of ``grid``."""
        return _strided(grid, self.stride_q)

    def forward(self, x: Tensor, grid: Triple) -> Tensor:
        """Tokens (N, 1 + T H W, C) of a ``grid``, one of no place first -> (N, 1 + T' H' W', C')."""
        query, key, value = (
            self.get_submodule(f"norm_{name}")(pooled(part, self.get_submodule(f"pool_{name}"), grid))
            for name, part in zip(
                "qkv", self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
            )
        )
        bias = self.relative(query[:, :, 1:], self.grid_after(grid), _strided(grid, self.stride_kv))
        seen = F.scaled_dot_product_attention(query, key, value, F.pad(bias, (1, 0, 1, 0)))
        seen = torch.cat([seen[:, :, :1], seen[:, :, 1:] + query[:, :, 1:]], dim=2)
        return self.proj(seen.transpose(1, 2).flatten(2))

    def relative(self, query: Tensor, of_query: Triple, of_key: Triple) -> Tensor:
        """How much queries (N, heads, Q, c) of a grid want to see keys of another: (N, heads, Q, K)."""
        query = query.unflatten(2, of_query)
        t, h, w = (
            relative_rows(self.get_parameter(f"rel_pos_{name}"), queries, keys).to(query)
            for name, queries, keys in zip("thw", of_query, of_key)
        )
        bias = torch.einsum("nbthwc,tkc->nbthwk", query, t)[..., :, None, None]
        bias = bias + torch.einsum("nbthwc,hkc->nbthwk", query, h)[..., None, :, None]
        bias = bias + torch.einsum("nbthwc,wkc->nbthwk", query, w)[..., None, None, :]
        return bias.flatten(5).flatten(2, 4)


def pooled(x: Tensor, pool: nn.Module, grid: Triple) -> Tensor:
    """Tokens (N, heads, 1 + T H W, c) of a ``grid``, without the first one, through ``pool``."""
    tokens = x[:, :, 1:].flatten(0, 1).transpose(1, 2).unflatten(2, grid)  # (N * heads, c, T, H, W)
    tokens = pool(tokens).flatten(2).transpose(1, 2).unflatten(0, x.shape[:2])
    return torch.cat([x[:, :, :1], tokens], dim=2)


def relative_rows(table: Tensor, queries: int, keys: int) -> Tensor:
    """The rows (queries, keys, c) of a ``table`` (R, c) of relative positions along an axis.

    Positions count in the finer of the two grids; a table of another number of rows is interpolated.
    """
    rows = 2 * max(queries, keys) - 1
    if len(table) != rows:
        table = F.interpolate(table.T[None], size=rows, mode="linear", align_corners=False)[0].T
    of_query, of_key = max(keys / queries, 1.0), max(queries / keys, 1.0)
    places = torch.arange(queries, device=table.device)[:, None] * of_query
    others = torch.arange(keys, device=table.device) * of_key
    return table[(places - others + (keys - 1) * of_key).long()]


def _strided(grid: Triple, stride: Triple) -> Triple:
    frames, rows, columns = (-(-side // step) for side, step in zip(grid, stride))
    return frames, rows, columns
