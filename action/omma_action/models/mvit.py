"""MViTv2 (Li et al., Improved Multiscale Vision Transformers for Classification and Detection, 2022)."""

from __future__ import annotations

from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn
from torchvision.ops import StochasticDepth

from omma.backbones.base import drop_rates, run
from omma.layers import Mlp
from omma.registry import register
from omma_action.models.bricks import Triple
from omma_action.models.clip_backbone import ClipBackbone
from omma_action.models.pooling_attention import PoolingAttention, pooled

Widening = Literal["attention", "mlp"]
"""Where the channels double: in the attention that halves the map, or in the feed-forward layer before it."""
_PATCH, _EPS = ((3, 7, 7), (2, 4, 4), (1, 3, 3)), 1e-6


@register
class MViT(ClipBackbone):
    """Blocks of pooling attention; some halve the map, double the channels and the heads.

    Args:
        frames: of a clip that the learnt relative positions are for; others interpolate them.
        image_size: side of its frames, likewise, pixels.
        channels: of the first blocks.
        depth: blocks.
        heads: attention heads of the first blocks.
        halving: blocks that halve the map.
        kv_stride: by how much the first blocks pool keys and values; it halves with the map.
        widening: where the channels double.
        mlp_ratio: hidden width of the feed-forward layers, as a multiple of a block's channels.
        drop_path: share of blocks skipped in training at the end; it grows along the depth from 0.
        recompute: run each block again in the backward pass instead of keeping what it computed.
        weights: initial weights, a file or ``publisher://name``; null: random.

    Raises:
        ValueError: heads don't divide the channels, or ``halving`` isn't rising within the depth.
        WeightsError: ``weights`` isn't there or isn't of this network.
    """

    def __init__(
        self,
        *,
        frames: int = 16,
        image_size: int = 224,
        channels: int = 96,
        depth: int = 16,
        heads: int = 1,
        halving: tuple[int, ...] = (1, 3, 14),
        kv_stride: Triple = (1, 8, 8),
        widening: Widening = "attention",
        mlp_ratio: float = 4.0,
        drop_path: float = 0.0,
        recompute: bool = False,
        weights: str | None = None,
    ) -> None:
        super().__init__()
        if sorted(set(halving)) != [*halving] or not set(halving) <= set(range(1, depth)):
            raise ValueError(f"halving must be rising blocks in 1..{depth - 1}, got {halving}")
        if channels % heads:
            raise ValueError(f"channels {channels} must be divisible by heads {heads}")
        self.recompute = recompute
        kernel, stride, padding = _PATCH
        self.patch_embed = nn.ModuleDict({"projection": nn.Conv3d(3, channels, kernel, stride, padding)})
        self.cls_token = nn.Parameter(torch.zeros(1, 1, channels))
        grid: Triple = (-(-frames // stride[0]), -(-image_size // stride[1]), -(-image_size // stride[2]))
        self.blocks = nn.ModuleList()
        for i, rate in enumerate(drop_rates(drop_path, depth)):
            step: Triple = (1, 2, 2) if i in halving else (1, 1, 1)
            if i in halving:
                heads *= 2
                kv_stride = (kv_stride[0], max(kv_stride[1] // 2, 1), max(kv_stride[2] // 2, 1))
            wider = i in halving if widening == "attention" else i + 1 in halving
            width = 2 * channels if wider else channels
            attended = width if widening == "attention" else channels
            attention = PoolingAttention(
                channels, attended, heads, grid=grid, stride_q=step, stride_kv=kv_stride, eps=_EPS
            )
            self.blocks.append(PoolingBlock(channels, width, attention, mlp_ratio, rate))
            # Of an odd grid the tables of positions are for one less than there is, as in published weights.
            grid, channels = (grid[0] // step[0], grid[1] // step[1], grid[2] // step[2]), width
        last = len(halving)
        self.add_module(f"norm{last}", nn.LayerNorm(channels, eps=_EPS))
        self.last_norm = f"norm{last}"
        self.out_channels = (channels, channels)
        self._init()
        self.start(weights)

    def _init(self) -> None:
        """Narrow weights, and biases a little above zero, as the authors begin."""
        for module in self.modules():
            if isinstance(module, (nn.Linear, nn.Conv3d)):
                nn.init.trunc_normal_(module.weight, std=0.02)
            if isinstance(module, (nn.Linear, nn.LayerNorm)) and module.bias is not None:
                nn.init.constant_(module.bias, 0.02)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(N, 3, T, H, W) -> the last map (N, C, T / 2, H / 32, W / 32) and the class token (N, C)."""
        x = self.patch_embed["projection"](x)
        grid = (x.shape[2], x.shape[3], x.shape[4])
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x.flatten(2).transpose(1, 2)], dim=1)
        for block in self.blocks:
            assert isinstance(block, PoolingBlock)
            x = run([partial(block, grid=grid)], x, recompute=self.recompute)
            grid = block.attn.grid_after(grid)
        x = self.get_submodule(self.last_norm)(x)
        return x[:, 1:].transpose(1, 2).unflatten(2, grid), x[:, 0]


class PoolingBlock(nn.Module):
    """Pooling attention and a feed-forward layer, each normalised first and added to its (pooled) input."""

    def __init__(
        self, channels: int, width: int, attention: PoolingAttention, mlp_ratio: float, drop_path: float
    ) -> None:
        super().__init__()
        attended = attention.channels
        self.norm1 = nn.LayerNorm(channels, eps=_EPS)
        self.attn = attention
        self.norm2 = nn.LayerNorm(attended, eps=_EPS)
        self.mlp = Mlp(attended, int(attended * mlp_ratio), out_channels=width)
        self.proj = nn.Linear(channels, width) if width != channels else None
        self.widens_first = attended != channels
        self.pool_skip = None
        if max(attention.stride_q) > 1:
            sides = tuple(step + 1 if step > 1 else 1 for step in attention.stride_q)
            self.pool_skip = nn.MaxPool3d(sides, attention.stride_q, tuple(side // 2 for side in sides))
        self.drop_path = StochasticDepth(drop_path, "row")

    def forward(self, x: Tensor, grid: Triple) -> Tensor:
        """Tokens (N, 1 + T H W, C) of a ``grid`` (T, H, W), class token first -> those of the next one."""
        normed = self.norm1(x)
        skip = self.proj(normed) if self.proj is not None and self.widens_first else x
        if self.pool_skip is not None:
            skip = pooled(skip[:, None], self.pool_skip, grid)[:, 0]
        x = skip + self.drop_path(self.attn(normed, grid))
        normed = self.norm2(x)
        skip = self.proj(normed) if self.proj is not None and not self.widens_first else x
        return skip + self.drop_path(self.mlp(normed))
