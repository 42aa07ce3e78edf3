"""Vision Transformer (Dosovitskiy et al., An Image is Worth 16x16 Words, 2020)."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from omma.backbones.base import Backbone, check_stages, drop_rates, run
from omma.layers import EncoderBlock, PackedSelfAttention, SelfAttention
from omma.registry import register

ClassToken = Literal["used", "stored", "none"]
"""Whether a token of no patch takes part, is only kept for checkpoints that have one, or isn't there."""
Interpolation = Literal["bilinear", "bicubic"]


class PlainTransformer(Backbone):
    """Patches as tokens, and blocks at one resolution. Subclasses make the ``layers``."""

    layers: nn.ModuleList
    interpolation: Interpolation

    def embed(
        self,
        *,
        image_size: tuple[int, int],
        patch: int,
        patch_padding: int,
        patch_bias: bool,
        channels: int,
        class_token: ClassToken,
        positions: bool,
        interpolation: Interpolation,
        dropout: float,
    ) -> None:
        """All that comes before the blocks."""
        if min(image_size) < patch:
            raise ValueError(f"an image of {image_size} holds no patch of {patch} pixels")
        self.patch, self.interpolation, self.class_token = patch, interpolation, class_token
        self.grid = (image_size[0] // patch, image_size[1] // patch)
        self.patch_embed = PatchEmbed(channels, patch, patch_padding, bias=patch_bias)
        has_token = class_token != "none"
        if has_token:
            self.cls_token = nn.Parameter(torch.zeros(1, 1, channels))
            nn.init.trunc_normal_(self.cls_token, std=0.02)
            self.cls_token.requires_grad_(class_token == "used")
        self.pos_embed = None
        if positions:
            self.pos_embed = nn.Parameter(torch.zeros(1, math.prod(self.grid) + has_token, channels))
            nn.init.trunc_normal_(self.pos_embed, std=0.02)
        self.drop_after_pos = nn.Dropout(dropout)

    def finish(
        self,
        *,
        depth: int,
        channels: int,
        out_indices: tuple[int, ...],
        frozen_stages: int,
        final_norm: bool,
        eps: float,
        return_class_token: bool,
        recompute: bool,
        weights: str | None,
    ) -> None:
        """All that comes after the blocks, initial weights, and what of them doesn't change."""
        if return_class_token and self.class_token != "used":
            raise ValueError("return_class_token needs class_token: used")
        self.out_indices, self.recompute, self.depth = out_indices, recompute, depth
        self.return_class_token = return_class_token
        self.out_channels = (channels,) * len(out_indices)
        self.strides = (self.patch,) * len(out_indices)
        self.ln1 = nn.LayerNorm(channels, eps=eps) if final_norm and depth - 1 in out_indices else None
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        frozen: list[str] = []
        if frozen_stages >= 0:
            frozen = ["patch_embed", *(name for name, _ in self.named_parameters(recurse=False))]
        frozen += [f"layers.{i}" for i in range(min(frozen_stages, len(self.layers)))]
        self.start(weights, frozen=frozen)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(N, 3, H, W) -> one map per entry of ``out_indices``; then their class tokens (N, C), on wish."""
        x = self.patch_embed(x)
        grid = (x.shape[1], x.shape[2])
        x, context = self.tokens(x), self.context(grid)
        first = int(self.class_token == "used")
        maps, tokens = [], []
        for i, block in enumerate(self.layers):
            x = run([partial(block, context=context)], x, recompute=self.recompute)
            if i == self.depth - 1 and self.ln1 is not None:
                x = self.ln1(x)
            if i in self.out_indices:
                maps.append(x[:, first:].transpose(1, 2).unflatten(2, grid).contiguous())
                tokens.append(x[:, 0])
        return (*maps, *tokens) if self.return_class_token else tuple(maps)

    def tokens(self, patches: Tensor) -> Tensor:
        """Patches (N, h, w, C) to tokens (N, T, C) with their positions, the class token first."""
        grid, x = (patches.shape[1], patches.shape[2]), patches.flatten(1, 2)
        if self.class_token == "used":
            x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], dim=1)
        if self.pos_embed is not None:
            positions = self.pos_embed
            if grid != self.grid:
                positions = resize_positions(positions, self.grid, grid, self.interpolation)
            x = x + positions[:, -x.shape[1] :]
        return self.drop_after_pos(x)

    def context(self, grid: tuple[int, int]) -> tuple[Tensor, ...]:
        """What blocks take beside the tokens, for so many patches along each side."""
        return ()

    def own_state(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """A state as in the authors' files, for images of another size too, as it is here."""
        own = {self._own_name(name): value for name, value in state.items()}
        if self.pos_embed is not None and "pos_embed" in own:
            theirs, tokens = own["pos_embed"], self.pos_embed.shape[1] - math.prod(self.grid)
            side = math.isqrt(theirs.shape[1])
            if theirs.shape[1] - side**2 <= 1 and theirs.shape[1] != self.pos_embed.shape[1]:
                theirs = resize_positions(theirs, (side, side), self.grid, self.interpolation)
                own["pos_embed"] = theirs[:, -math.prod(self.grid) - tokens :]
        return own

    def _own_name(self, name: str) -> str:
        if name.startswith("norm."):
            return name.replace("norm.", "ln1.", 1)
        name = name.replace("patch_embed.proj.", "patch_embed.projection.")
        name = re.sub(r"^blocks\.(\d+)\.norm([12])\.", r"layers.\1.ln\2.", name)
        name = re.sub(r"^blocks\.", "layers.", name)
        name = name.replace(".mlp.fc1.", ".ffn.layers.0.0.").replace(".mlp.fc2.", ".ffn.layers.1.")
        if any(isinstance(module, PackedSelfAttention) for module in self.modules()):
            name = re.sub(r"\.attn\.qkv\.(\w+)$", r".attn.attn.in_proj_\1", name)
            name = re.sub(r"(?<!\.attn)\.attn\.proj\.", ".attn.attn.out_proj.", name)
        return name


@register
class VisionTransformer(PlainTransformer):
    """Patches as tokens with learnt positions, and blocks of attention among all of them.

    Files of timm and of mmpretrain are understood too; positions are interpolated to ``image_size``.

    Args:
        image_size: height and width that the learnt positions are for, pixels; others interpolate them.
        patch: side of the patches, pixels.
        patch_padding: zeros around the image; 0: only as many, below and to the right, as fill up patches.
        patch_bias: whether patches become tokens with a bias; MMSegmentation's networks have none.
        channels: of the tokens.
        depth: blocks.
        heads: attention heads.
        mlp_ratio: hidden width of the feed-forward layers, as a multiple of ``channels``.
        class_token: whether a token of no patch takes part.
        attention: names of its weights: ``attn.attn.in_proj_weight``, as in MMSegmentation (``packed``), or
            ``attn.qkv.weight``, as in mmpretrain and timm (``qkv``).
        out_indices: blocks to return the tokens of, 0 is the first.
        return_class_token: return their class tokens too, (N, C) each, behind the maps.
        final_norm: norm behind the last block.
        eps: of the norms.
        interpolation: of the positions.
        dropout: share of values dropped of positions and of what each block adds.
        drop_path: share of blocks skipped in training at the end; it grows along the depth from 0.
        frozen_stages: -1 trains all; 0 freezes patches and positions; k freezes them and k blocks.
        recompute: run each block again in the backward pass instead of keeping what it computed.
        weights: initial weights, a file or ``publisher://name``; null: random.

    Raises:
        ValueError: an argument is out of its range.
        WeightsError: ``weights`` isn't there or isn't of this network.
    """

    def __init__(
        self,
        *,
        image_size: tuple[int, int] = (224, 224),
        patch: int = 16,
        patch_padding: int = 0,
        patch_bias: bool = True,
        channels: int = 768,
        depth: int = 12,
        heads: int = 12,
        mlp_ratio: float = 4.0,
        class_token: ClassToken = "used",
        attention: Literal["packed", "qkv"] = "packed",
        out_indices: tuple[int, ...] = (11,),
        return_class_token: bool = False,
        final_norm: bool = False,
        eps: float = 1e-6,
        interpolation: Interpolation = "bicubic",
        dropout: float = 0.0,
        drop_path: float = 0.0,
        frozen_stages: int = -1,
        recompute: bool = False,
        weights: str | None = None,
    ) -> None:
        super().__init__()
        check_stages(out_indices, range(depth), frozen_stages, depth)
        self.embed(
            image_size=image_size,
            patch=patch,
            patch_padding=patch_padding,
            patch_bias=patch_bias,
            channels=channels,
            class_token=class_token,
            positions=True,
            interpolation=interpolation,
            dropout=dropout,
        )
        make = PackedSelfAttention if attention == "packed" else SelfAttention
        self.layers = nn.ModuleList(
            EncoderBlock(
                channels,
                attention=make(channels, heads),
                hidden=int(mlp_ratio * channels),
                eps=eps,
                dropout=dropout,
                drop_path=rate,
            )
            for rate in drop_rates(drop_path, depth)[: max(out_indices) + 1]
        )
        self.finish(
            depth=depth,
            channels=channels,
            out_indices=out_indices,
            frozen_stages=frozen_stages,
            final_norm=final_norm,
            eps=eps,
            return_class_token=return_class_token,
            recompute=recompute,
            weights=weights,
        )


class PatchEmbed(nn.Module):
    """Patches as vectors: (N, 3, H, W) to (N, h, w, C)."""

    def __init__(self, channels: int, patch: int, padding: int, *, bias: bool) -> None:
        super().__init__()
        self.patch, self.padding = patch, padding
        self.projection = nn.Conv2d(3, channels, patch, stride=patch, padding=padding, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, h, w, C), h = ceil(H / patch) where nothing is padded all around."""
        if not self.padding:
            x = F.pad(x, (0, -x.shape[-1] % self.patch, 0, -x.shape[-2] % self.patch))
        return self.projection(x).permute(0, 2, 3, 1)


def resize_positions(
    positions: Tensor, old: tuple[int, int], new: tuple[int, int], mode: Interpolation
) -> Tensor:
    """Learnt positions (1, T, C) of a grid for another one; those of no patch, in front, stay as they are."""
    count = math.prod(old)
    tokens, grid = positions[:, :-count], positions[:, -count:].unflatten(1, old).permute(0, 3, 1, 2)
    grid = F.interpolate(grid, size=new, mode=mode, align_corners=False)
    return torch.cat([tokens, grid.flatten(2).transpose(1, 2)], dim=1)
