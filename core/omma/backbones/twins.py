"""Twins (Chu et al., Twins: Revisiting the Design of Spatial Attention in Vision Transformers, 2021)."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torchvision.ops import StochasticDepth

from omma.backbones.base import Backbone, check_stages, drop_rates, run
from omma.backbones.pvt import PatchEmbed, ReducedAttention, StageForm, initialise
from omma.layers import FeedForward, SelfAttention
from omma.ops import window_partition, window_reverse
from omma.registry import register


class TwinsTransformer(Backbone):
    """Stages of patches and transformer blocks, behind the first of which a convolution tells positions."""

    def build(
        self,
        *,
        channels: tuple[int, ...],
        depths: tuple[int, ...],
        heads: tuple[int, ...],
        mlp_ratios: tuple[int, ...],
        reductions: tuple[int, ...],
        windows: tuple[int, ...] | None,
        stage_norm: bool,
        drop_path: float,
        out_indices: tuple[int, ...],
        frozen_stages: int,
        recompute: bool,
        weights: str | None,
    ) -> None:
        """All parts, for the constructors of both kinds."""
        check_stages(out_indices, range(4), frozen_stages, 4)
        if any(width % number for width, number in zip(channels, heads)):
            raise ValueError(f"channels {list(channels)} must be divisible by heads {list(heads)}")
        self.out_indices, self.recompute = out_indices, recompute
        self.out_channels = tuple(channels[i] for i in out_indices)
        self.strides = tuple(4 * 2**i for i in out_indices)
        rates = iter(drop_rates(drop_path, sum(depths)))
        self.patch_embeds, self.layers = nn.ModuleList(), nn.ModuleList()
        self.position_encodings = nn.ModuleList()
        self.norm_list = nn.ModuleList()
        for i, width in enumerate(channels[: max(out_indices) + 1]):
            before, stride = (3, 4) if i == 0 else (channels[i - 1], 2)
            form = StageForm(width, heads[i], width * mlp_ratios[i], reductions[i], conv_ffn=False)
            sides = [windows[i] if windows and j % 2 == 0 else None for j in range(depths[i])]
            self.patch_embeds.append(PatchEmbed(before, width, stride, overlap=False, eps=1e-5))
            self.layers.append(nn.ModuleList(TwinsBlock(form, side, next(rates)) for side in sides))
            self.position_encodings.append(PositionConv(width))
            if stage_norm:
                self.norm_list.append(nn.LayerNorm(width))
        if stage_norm:
            self.added_names = ("norm_list",)
        initialise(self)
        parts = ("patch_embeds", "position_encodings", "layers", *(["norm_list"] if stage_norm else []))
        last = min(frozen_stages, max(out_indices) + 1)
        frozen = [f"{part}.{i}" for i in range(last) for part in parts]
        self.start(weights, frozen=frozen if frozen_stages else ["patch_embeds.0"])

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(N, 3, H, W) -> one map per entry of ``out_indices``."""
        maps = []
        for i, (patches, blocks) in enumerate(zip(self.patch_embeds, self.layers)):
            first, *others = blocks.children()
            steps = (first, self.position_encodings[i], *others)
            x = run(steps, patches(x), recompute=self.recompute)
            if self.norm_list:
                x = self.norm_list[i](x)
            x = x.permute(0, 3, 1, 2).contiguous()
            if i in self.out_indices:
                maps.append(x)
        return tuple(maps)

    def own_state(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """A state as in the authors' files, which keep queries apart from keys and values, as it is here."""
        own: dict[str, Tensor] = {}
        for name, value in state.items():
            if ".attn.kv." in name:
                continue
            if ".attn.q." in name:
                value = torch.cat([value, state[name.replace(".attn.q.", ".attn.kv.")]])
                name = re.sub(r"\.attn\.q\.(\w+)$", r".attn.attn.in_proj_\1", name)
            elif ".attn.proj." in name and name.replace(".attn.proj.", ".attn.q.") in state:
                name = name.replace(".attn.proj.", ".attn.attn.out_proj.")
            name = re.sub(r"^(patch_embeds\.\d)\.proj\.", r"\1.projection.", name)
            name = re.sub(r"^pos_block\.(\d)\.proj\.0\.", r"position_encodings.\1.proj.", name)
            name = re.sub(r"^blocks\.", "layers.", name)
            own[name.replace(".mlp.fc1.", ".ffn.layers.0.0.").replace(".mlp.fc2.", ".ffn.layers.1.")] = value
        return own


@register
class PCPVT(TwinsTransformer):
    """Twins-PCPVT: a pyramid whose keys and values are made of patches; a convolution tells positions.

    Parameter names are OpenMMLab's; files of the authors are understood too.

    Args:
        channels: of each stage.
        depths: blocks of each stage.
        heads: attention heads of each stage.
        mlp_ratios: hidden width of each stage's feed-forward layers, as a multiple of the stage's.
        reductions: side of the patches that each stage's keys and values are made of.
        drop_path: share of blocks skipped in training at the end; it grows along the depth from 0.
        stage_norm: end each stage with a norm.
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
        channels: tuple[int, int, int, int] = (64, 128, 320, 512),
        depths: tuple[int, int, int, int] = (3, 4, 6, 3),
        heads: tuple[int, int, int, int] = (1, 2, 5, 8),
        mlp_ratios: tuple[int, int, int, int] = (8, 8, 4, 4),
        reductions: tuple[int, int, int, int] = (8, 4, 2, 1),
        drop_path: float = 0.2,
        stage_norm: bool = False,
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
            windows=None,
            stage_norm=stage_norm,
            drop_path=drop_path,
            out_indices=out_indices,
            frozen_stages=frozen_stages,
            recompute=recompute,
            weights=weights,
        )


@register
class SVT(TwinsTransformer):
    """Twins-SVT: attention within windows and attention to patches of the whole map in turn.

    Parameter names are OpenMMLab's; files of the authors are understood too.

    Args:
        channels: of each stage.
        depths: blocks of each stage.
        heads: attention heads of each stage.
        mlp_ratios: hidden width of each stage's feed-forward layers, as a multiple of the stage's.
        reductions: side of the patches that each stage's keys and values are made of.
        windows: side of the windows of each stage, positions.
        drop_path: share of blocks skipped in training at the end; it grows along the depth from 0.
        stage_norm: end each stage with a norm.
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
        channels: tuple[int, int, int, int] = (64, 128, 256, 512),
        depths: tuple[int, int, int, int] = (2, 2, 10, 4),
        heads: tuple[int, int, int, int] = (2, 4, 8, 16),
        mlp_ratios: tuple[int, int, int, int] = (4, 4, 4, 4),
        reductions: tuple[int, int, int, int] = (8, 4, 2, 1),
        windows: tuple[int, int, int, int] = (7, 7, 7, 7),
        drop_path: float = 0.2,
        stage_norm: bool = True,
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
            windows=windows,
            stage_norm=stage_norm,
            drop_path=drop_path,
            out_indices=out_indices,
            frozen_stages=frozen_stages,
            recompute=recompute,
            weights=weights,
        )


class PositionConv(nn.Module):
    """Adds a depthwise 3x3 convolution, whose zeros around the map tell where positions are."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)

    def forward(self, x: Tensor) -> Tensor:
        """(N, H, W, C) -> the same shape."""
        return x + self.proj(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


class TwinsBlock(nn.Module):
    """Attention and a feed-forward layer, each normalised first and added to its input.

    Args:
        form: what the blocks of the stage have in common.
        window: attend within windows of this side; null: to patches of the whole map.
        drop_path: how often what is added is left out in training, for an image as a whole.
    """

    def __init__(self, form: StageForm, window: int | None, drop_path: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(form.channels)
        self.attn = ReducedAttention(form) if window is None else WindowedAttention(form, window)
        self.norm2 = nn.LayerNorm(form.channels)
        self.ffn = FeedForward(form.channels, form.hidden, act=nn.GELU)
        self.drop_path = StochasticDepth(drop_path, "row")

    def forward(self, x: Tensor) -> Tensor:
        """(N, H, W, C) -> the same shape."""
        x = x + self.drop_path(self.attn(self.norm1(x)))
        return x + self.drop_path(self.ffn(self.norm2(x)))


class WindowedAttention(SelfAttention):
    """Attention within windows, from the upper left corner on; what fills the last ones up isn't seen."""

    def __init__(self, form: StageForm, window: int) -> None:
        super().__init__(form.channels, form.heads)
        self.window = window

    def bias(self, *context: Tensor) -> Tensor | None:
        """Forbids positions outside the map, from whether each is within, (N, P); without it all are."""
        if not context:
            return None
        (within,) = context
        return torch.where(within, 0.0, -1000.0)[:, None, None]

    def forward(self, x: Tensor, *context: Tensor) -> Tensor:
        """(N, H, W, C) -> the same shape."""
        height, width = x.shape[1:3]
        windows = window_partition(x, size=self.window)  # (N, K, P, C)
        if height % self.window or width % self.window:
            within = window_partition(torch.ones_like(x[..., :1]), size=self.window)[..., 0] > 0
            context = (within.flatten(0, 1),)
        seen = super().forward(windows.flatten(0, 1), *context).view(windows.shape)
        return window_reverse(seen, sides=(height, width), size=self.window)
