"""Pyramid Vision Transformer, version 1 (Wang et al., 2021) and 2 (Wang et al., PVT v2, 2021).

The blocks are those of other families too (``twins.py``, ``mit.py``).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import StochasticDepth

from omma.backbones.base import Backbone, check_stages, drop_rates, run
from omma.registry import register


@dataclass(frozen=True)
class StageForm:
    """What the blocks of a stage have in common."""

    channels: int
    heads: int
    hidden: int
    reduction: int
    """Keys and values are made of patches of this side; 1: of every position."""
    conv_ffn: bool
    reduced_eps: float = 1e-5
    """Of the norm of those patches."""


class PyramidTransformer(Backbone):
    """Stages of patches and transformer blocks whose keys and values are fewer than the queries."""

    def build(
        self,
        *,
        channels: int,
        depths: tuple[int, ...],
        heads: tuple[int, ...],
        mlp_ratios: tuple[int, ...],
        reductions: tuple[int, ...],
        drop_path: float,
        version: int,
        train_size: int,
        out_indices: tuple[int, ...],
        frozen_stages: int,
        recompute: bool,
        weights: str | None,
        reduced_eps: float = 1e-5,
    ) -> None:
        """All parts, for the constructors of the families."""
        check_stages(out_indices, range(4), frozen_stages, 4)
        self.out_indices = out_indices
        self.out_channels = tuple(channels * heads[i] for i in out_indices)
        self.strides = tuple(4 * 2**i for i in out_indices)
        self.recompute = recompute
        self.layers = nn.ModuleList()
        rates = iter(drop_rates(drop_path, sum(depths)))
        before = 3
        for i in range(max(out_indices) + 1):
            width, stride = channels * heads[i], 4 if i == 0 else 2
            hidden = width * mlp_ratios[i]
            form = StageForm(width, heads[i], hidden, reductions[i], version == 2, reduced_eps)
            blocks: list[nn.Module] = [PvtBlock(form, next(rates)) for _ in range(depths[i])]
            if version == 1:
                blocks.insert(0, PositionEmbedding(width, train_size // (4 * 2**i)))
            norm = nn.LayerNorm(width, eps=1e-6) if version == 2 else nn.Identity()
            patch = PatchEmbed(before, width, stride, overlap=version == 2)
            self.layers.append(nn.ModuleList([patch, nn.ModuleList(blocks), norm]))
            before = width
        initialise(self)
        last = min(frozen_stages, len(self.layers))
        frozen = [f"layers.{i}" for i in range(last)] if frozen_stages else ["layers.0.0"]
        self.start(weights, frozen=frozen)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(N, 3, H, W) -> one map per entry of ``out_indices``."""
        maps = []
        for i, stage in enumerate(self.layers):
            patch, blocks, norm = stage.children()
            x = norm(run(blocks.children(), patch(x), recompute=self.recompute))
            x = x.permute(0, 3, 1, 2).contiguous()
            if i in self.out_indices:
                maps.append(x)
        return tuple(maps)

    def own_state(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """A state as in the authors' files, which keep queries apart from keys and values, as it is here."""
        own: dict[str, Tensor] = {}
        for name, value in state.items():
            if ".attn.q." in name:
                value = torch.cat([value, state[name.replace(".attn.q.", ".attn.kv.")]])
                name = re.sub(r"\.attn\.q\.(\w+)$", r".attn.attn.in_proj_\1", name)
            elif re.search(r"\.mlp\.fc\d\.weight$", name):
                value = value[..., None, None]
            elif name.startswith("pos_embed"):
                # The last stage's begin with that of the class token.
                value = value[:, value.shape[1] - math.isqrt(value.shape[1]) ** 2 :]
            if ".attn.kv." not in name:
                own[self._own_name(name)] = value
        return own

    def _own_name(self, name: str) -> str:
        # Blocks of version 1 come behind the positions.
        shift = 1 if any(isinstance(module, PositionEmbedding) for module in self.modules()) else 0
        stage = r"(\d)"
        name = re.sub(rf"^patch_embed{stage}\.", lambda m: f"layers.{int(m[1]) - 1}.0.", name)
        name = re.sub(rf"^pos_embed{stage}$", lambda m: f"layers.{int(m[1]) - 1}.1.0.pos_embed", name)
        name = re.sub(rf"^norm{stage}\.", lambda m: f"layers.{int(m[1]) - 1}.2.", name)
        block = re.compile(rf"^block{stage}\.(\d+)\.")
        name = block.sub(lambda m: f"layers.{int(m[1]) - 1}.1.{int(m[2]) + shift}.", name)
        name = re.sub(r"^(layers\.\d\.0)\.proj\.", r"\1.projection.", name)
        name = re.sub(r"(?<!\.attn)\.attn\.proj\.", ".attn.attn.out_proj.", name)
        name = name.replace(".mlp.fc1.", ".ffn.layers.0.").replace(".mlp.dwconv.dwconv.", ".ffn.layers.1.")
        return name.replace(".mlp.fc2.", f".ffn.layers.{4 - shift}.")


@register
class PyramidVisionTransformer(PyramidTransformer):
    """Version 1: patches side by side, learnt positions, keys and values of patches.

    Args:
        channels: of one head; a stage has as many times more as it has heads.
        depths: blocks of each stage.
        heads: attention heads of each stage.
        mlp_ratios: hidden width of each stage's feed-forward layers, as a multiple of the stage's.
        reductions: side of the patches that each stage's keys and values are made of.
        drop_path: share of blocks skipped in training at the end; it grows along the depth from 0.
        train_size: side of the images, pixels, that the learnt positions are for; others interpolate them.
        out_indices: stages to return, 0 is the first.
        frozen_stages: -1 trains all; 0 freezes the first patches; k freezes stages 1..k.
        recompute: run each block again in the backward pass instead of keeping what it computed.
        weights: initial weights, a file or ``publisher://name``; null: random.

    Raises:
        ValueError: an argument is out of its range.
        WeightsError: ``weights`` isn't there or isn't of this network.
    """

    def __init__(
        self,
        *,
        channels: int = 64,
        depths: tuple[int, int, int, int] = (3, 4, 6, 3),
        heads: tuple[int, int, int, int] = (1, 2, 5, 8),
        mlp_ratios: tuple[int, int, int, int] = (8, 8, 4, 4),
        reductions: tuple[int, int, int, int] = (8, 4, 2, 1),
        drop_path: float = 0.1,
        train_size: int = 224,
        out_indices: tuple[int, ...] = (0, 1, 2, 3),
        frozen_stages: int = -1,
        recompute: bool = False,
        weights: str | None = None,
    ) -> None:
        super().__init__()
        self.build(
            channels=channels,
            depths=depths,
            heads=heads,
            mlp_ratios=mlp_ratios,
            reductions=reductions,
            drop_path=drop_path,
            version=1,
            train_size=train_size,
            out_indices=out_indices,
            frozen_stages=frozen_stages,
            recompute=recompute,
            weights=weights,
        )


@register
class PyramidVisionTransformerV2(PyramidTransformer):
    """Version 2: overlapping patches, and a depthwise convolution in the feed-forward layers for positions.

    Args:
        channels: of one head; a stage has as many times more as it has heads.
        depths: blocks of each stage.
        heads: attention heads of each stage.
        mlp_ratios: hidden width of each stage's feed-forward layers, as a multiple of the stage's.
        reductions: side of the patches that each stage's keys and values are made of.
        drop_path: share of blocks skipped in training at the end; it grows along the depth from 0.
        out_indices: stages to return, 0 is the first; each ends with a norm.
        frozen_stages: -1 trains all; 0 freezes the first patches; k freezes stages 1..k.
        recompute: run each block again in the backward pass instead of keeping what it computed.
        weights: initial weights, a file or ``publisher://name``; null: random.

    Raises:
        ValueError: an argument is out of its range.
        WeightsError: ``weights`` isn't there or isn't of this network.
    """

    def __init__(
        self,
        *,
        channels: int = 64,
        depths: tuple[int, int, int, int] = (3, 4, 6, 3),
        heads: tuple[int, int, int, int] = (1, 2, 5, 8),
        mlp_ratios: tuple[int, int, int, int] = (8, 8, 4, 4),
        reductions: tuple[int, int, int, int] = (8, 4, 2, 1),
        drop_path: float = 0.1,
        out_indices: tuple[int, ...] = (0, 1, 2, 3),
        frozen_stages: int = -1,
        recompute: bool = False,
        weights: str | None = None,
    ) -> None:
        super().__init__()
        self.build(
            channels=channels,
            depths=depths,
            heads=heads,
            mlp_ratios=mlp_ratios,
            reductions=reductions,
            drop_path=drop_path,
            version=2,
            train_size=0,
            out_indices=out_indices,
            frozen_stages=frozen_stages,
            recompute=recompute,
            weights=weights,
        )


class PatchEmbed(nn.Module):
    """Patches as normalised vectors: (N, C, H, W) to (N, H / stride, W / stride, C')."""

    def __init__(
        self, in_channels: int, channels: int, stride: int, *, overlap: bool, eps: float = 1e-6
    ) -> None:
        super().__init__()
        self.stride = stride
        kernel = 2 * stride - 1 if overlap else stride
        padding = stride - 1 if overlap else 0
        self.projection = nn.Conv2d(in_channels, channels, kernel, stride, padding)
        self.norm = nn.LayerNorm(channels, eps=eps)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, ceil(H / stride), ceil(W / stride), C')."""
        if not self.projection.padding[0]:
            x = F.pad(x, (0, -x.shape[-1] % self.stride, 0, -x.shape[-2] % self.stride))
        return self.norm(self.projection(x).permute(0, 2, 3, 1))


class PositionEmbedding(nn.Module):
    """Adds a learnt vector for each position of a square map, interpolated to the size of the map."""

    def __init__(self, channels: int, side: int) -> None:
        super().__init__()
        self.side = side
        self.pos_embed = nn.Parameter(torch.zeros(1, side**2, channels))
        nn.init.trunc_normal_(self.pos_embed, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        """(N, H, W, C) -> the same shape."""
        grid = self.pos_embed.unflatten(1, (self.side, self.side)).permute(0, 3, 1, 2)
        grid = F.interpolate(grid, size=x.shape[1:3], mode="bilinear", align_corners=False)
        return x + grid.permute(0, 2, 3, 1)


class PvtBlock(nn.Module):
    """Attention and a feed-forward layer, each normalised first and added to its input."""

    def __init__(self, form: StageForm, drop_path: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(form.channels, eps=1e-6)
        self.attn = ReducedAttention(form)
        self.norm2 = nn.LayerNorm(form.channels, eps=1e-6)
        self.ffn = ConvFeedForward(form)
        self.drop_path = StochasticDepth(drop_path, "row")

    def forward(self, x: Tensor) -> Tensor:
        """(N, H, W, C) -> the same shape."""
        x = x + self.drop_path(self.attn(self.norm1(x)))
        return x + self.drop_path(self.ffn(self.norm2(x)))


class ReducedAttention(nn.Module):
    """Every position attends to patches of the map."""

    def __init__(self, form: StageForm) -> None:
        super().__init__()
        self.attn = nn.MultiheadAttention(form.channels, form.heads, batch_first=True)
        self.reduction = form.reduction
        if form.reduction > 1:
            self.sr = nn.Conv2d(form.channels, form.channels, form.reduction, form.reduction)
            self.norm = nn.LayerNorm(form.channels, eps=form.reduced_eps)

    def forward(self, x: Tensor) -> Tensor:
        """(N, H, W, C) -> the same shape."""
        query = x.flatten(1, 2)
        keys = query
        if self.reduction > 1:
            keys = self.norm(self.sr(x.permute(0, 3, 1, 2)).flatten(2).transpose(1, 2))
        return self.attn(query, keys, keys, need_weights=False)[0].reshape(x.shape)


class ConvFeedForward(nn.Module):
    """Two 1x1 convolutions, between them a depthwise 3x3 one (version 2) and GELU."""

    def __init__(self, form: StageForm) -> None:
        super().__init__()
        hidden = form.hidden
        depthwise = [nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden)] if form.conv_ffn else []
        first, last = nn.Conv2d(form.channels, hidden, 1), nn.Conv2d(hidden, form.channels, 1)
        # The published files count a dropout in front of the last layer.
        self.layers = nn.Sequential(first, *depthwise, nn.GELU(), nn.Identity(), last)

    def forward(self, x: Tensor) -> Tensor:
        """(N, H, W, C) -> the same shape."""
        return self.layers(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


def initialise(net: nn.Module) -> None:
    """Initial weights as the authors have them: convolutions by fan-out, linear layers small."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            fan_out = module.kernel_size[0] * module.kernel_size[1] * module.out_channels / module.groups
            nn.init.normal_(module.weight, std=math.sqrt(2 / fan_out))
        elif isinstance(module, nn.Linear):
            nn.init.trunc_normal_(module.weight, std=0.02)
        else:
            continue
        if module.bias is not None:
            nn.init.zeros_(module.bias)
