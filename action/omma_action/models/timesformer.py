"""TimeSformer (Bertasius et al., Is Space-Time Attention All You Need for Video Understanding?, 2021)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn
from torchvision.ops import StochasticDepth

from omma.backbones.base import drop_rates, run
from omma.backbones.vit import PatchEmbed, resize_positions
from omma.layers import FeedForward, PackedSelfAttention
from omma.registry import register
from omma_action.models.clip_backbone import ClipBackbone
from omma_action.models.tokens import start_tokens

Attending = Literal["divided", "joint", "space"]
"""What a patch sees: its place in all frames and then its frame; all patches; or its frame alone."""
_EPS = 1e-6


@register
class TimeSformer(ClipBackbone):
    """Patches of each frame as tokens with learnt places and times; the class token says what is done.

    Weights of a ViT for images are understood, OpenMMLab's and timm's. Of divided attention both kinds start
    from the one that they have, and what the frames add to each other starts at zero.

    Args:
        attention: what a patch sees.
        frames: of a clip.
        image_size: height and width that the learnt places are for, pixels; others interpolate them.
        patch: side of the patches, pixels.
        channels: of the tokens.
        depth: blocks.
        heads: attention heads.
        dropout: share of values dropped of places and times.
        drop_path: share of blocks skipped in training at the end; it grows along the depth from 0.
        recompute: run each block again in the backward pass instead of keeping what it computed.
        weights: initial weights, a file or ``publisher://name``; null: random.

    Raises:
        ValueError: heads don't divide the channels.
        WeightsError: ``weights`` isn't there or isn't of this network.
    """

    def __init__(
        self,
        *,
        attention: Attending = "divided",
        frames: int = 8,
        image_size: tuple[int, int] = (224, 224),
        patch: int = 16,
        channels: int = 768,
        depth: int = 12,
        heads: int = 12,
        dropout: float = 0.0,
        drop_path: float = 0.1,
        recompute: bool = False,
        weights: str | None = None,
    ) -> None:
        super().__init__()
        self.attention, self.frames, self.recompute = attention, frames, recompute
        self.out_channels = (channels,)
        self.grid = (image_size[0] // patch, image_size[1] // patch)
        self.patch_embed = PatchEmbed(channels, patch, 0, bias=True)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, channels))
        self.pos_embed = nn.Parameter(torch.zeros(1, self.grid[0] * self.grid[1] + 1, channels))
        for tokens in (self.cls_token, self.pos_embed):
            nn.init.trunc_normal_(tokens, std=0.02)
        self.drop_after_pos = nn.Dropout(dropout)
        if attention != "space":
            self.time_embed = nn.Parameter(torch.zeros(1, frames, channels))
            self.drop_after_time = nn.Dropout(dropout)
        layers = (
            DividedLayer(channels, heads, frames, rate)
            if attention == "divided"
            else TokenLayer(channels, heads, rate)
            for rate in drop_rates(drop_path, depth)
        )
        self.transformer_layers = nn.ModuleDict({"layers": nn.ModuleList(layers)})
        self.norm = nn.LayerNorm(channels, eps=_EPS)
        start_tokens(self, None)
        for layer in self.modules():
            if isinstance(layer, TimeAttention):
                nn.init.zeros_(layer.temporal_fc.weight)
        self.start(weights)

    @property
    def added_names(self) -> tuple[str, ...]:
        """What the weights of a network for images lack."""
        times = tuple(name for name, _ in self.named_modules() if name.endswith("temporal_fc"))
        return times if self.attention == "space" else ("time_embed", *times)

    def arrange(self, views: Tensor) -> Tensor:
        """(B, T, 3, H, W), as they are."""
        return views

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(N, T, 3, H, W) -> the class token (N, C).

        Raises:
            ValueError: another number of frames.
        """
        if x.shape[1] != self.frames:
            raise ValueError(f"this TimeSformer takes {self.frames} frames, got {x.shape[1]}")
        layers = self.transformer_layers["layers"]
        assert isinstance(layers, nn.ModuleList)
        x = self.in_frames(x)
        if self.attention == "space":
            x = run(layers, x.flatten(0, 1), recompute=self.recompute)
            x = x.unflatten(0, (-1, self.frames)).mean(dim=1)
        else:
            x = run(layers, self.in_clips(x), recompute=self.recompute)
        return (self.norm(x)[:, 0],)

    def in_frames(self, x: Tensor) -> Tensor:
        """Tokens (N, T, 1 + P, C) and their places in each of (N, T, 3, H, W), class token first."""
        patches = self.patch_embed(x.flatten(0, 1))
        grid = (patches.shape[1], patches.shape[2])
        places = self.pos_embed
        if grid != self.grid:
            places = resize_positions(places, self.grid, grid, "bicubic")
        tokens = torch.cat([self.cls_token.expand(len(patches), -1, -1), patches.flatten(1, 2)], dim=1)
        return self.drop_after_pos(tokens + places).unflatten(0, x.shape[:2])

    def in_clips(self, tokens: Tensor) -> Tensor:
        """Tokens (N, T, 1 + P, C) of frames as (N, 1 + P * T, C) of clips with times, place by place."""
        patches = self.drop_after_time(tokens[:, :, 1:].transpose(1, 2) + self.time_embed)
        return torch.cat([tokens[:, 0, :1], patches.flatten(1, 2)], dim=1)

    def own_state(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """A state as in files of networks for images, as it is here."""
        own = {_own_name(name): value for name, value in state.items()}
        if self.attention != "divided" or any(".attentions.1." in name for name in own):
            return own
        divided: dict[str, Tensor] = {}
        for name, value in own.items():
            name = name.replace(".norms.0.", ".attentions.0.norm.").replace(".norms.1.", ".ffns.0.norm.")
            divided[name] = value
            if ".attentions.0." in name:
                divided[name.replace(".attentions.0.", ".attentions.1.")] = value
        return divided


def _own_name(name: str) -> str:
    """What a parameter that timm calls ``name`` is called here; OpenMMLab's stay as they are."""
    name = name.replace("patch_embed.proj.", "patch_embed.projection.")
    if not name.startswith("blocks."):
        return name
    name = re.sub(r"^blocks\.", "transformer_layers.layers.", name)
    name = name.replace(".norm1.", ".norms.0.").replace(".norm2.", ".norms.1.")
    name = name.replace(".mlp.fc1.", ".ffns.0.layers.0.0.").replace(".mlp.fc2.", ".ffns.0.layers.1.")
    name = re.sub(r"\.attn\.qkv\.(\w+)$", r".attentions.0.attn.in_proj_\1", name)
    return name.replace(".attn.proj.", ".attentions.0.attn.out_proj.")


class TokenLayer(nn.Module):
    """Attention among all tokens and a feed-forward layer, each normalised first and added to its input."""

    def __init__(self, channels: int, heads: int, drop_path: float) -> None:
        super().__init__()
        self.attentions = nn.ModuleList([PackedSelfAttention(channels, heads)])
        self.ffns = nn.ModuleList([FeedForward(channels, 4 * channels, act=nn.GELU)])
        self.norms = nn.ModuleList(nn.LayerNorm(channels, eps=_EPS) for _ in range(2))
        self.drop_path = StochasticDepth(drop_path, "row")

    def forward(self, x: Tensor) -> Tensor:
        """Tokens (N, L, C) -> the same shape."""
        x = x + self.drop_path(self.attentions[0](self.norms[0](x)))
        return x + self.drop_path(self.ffns[0](self.norms[1](x)))


class DividedLayer(nn.Module):
    """Attention over time, over space and a feed-forward layer, each added to its input."""

    def __init__(self, channels: int, heads: int, frames: int, drop_path: float) -> None:
        super().__init__()
        self.attentions = nn.ModuleList(
            [
                TimeAttention(channels, heads, frames, drop_path),
                SpaceAttention(channels, heads, frames, drop_path),
            ]
        )
        self.ffns = nn.ModuleList([NormedFeedForward(channels)])
        self.drop_path = StochasticDepth(drop_path, "row")

    def forward(self, x: Tensor) -> Tensor:
        """Tokens (N, 1 + P * T, C), place by place -> the same shape."""
        over_time, over_space = self.attentions
        x = torch.cat([x[:, :1], x[:, 1:] + over_time(x[:, 1:])], dim=1)
        x = x + over_space(x)
        return x + self.drop_path(self.ffns[0](x))


class TimeAttention(PackedSelfAttention):
    """What the patches at one place in all frames add to each other."""

    def __init__(self, channels: int, heads: int, frames: int, drop_path: float) -> None:
        super().__init__(channels, heads)
        self.frames = frames
        self.norm = nn.LayerNorm(channels, eps=_EPS)
        self.temporal_fc = nn.Linear(channels, channels)
        self.drop_path = StochasticDepth(drop_path, "row")

    def forward(self, x: Tensor) -> Tensor:
        """Patches (N, P * T, C), place by place -> the same shape."""
        places = x.unflatten(1, (-1, self.frames)).flatten(0, 1)  # (N * P, T, C)
        seen = self.drop_path(super().forward(self.norm(places)))
        return self.temporal_fc(seen).view(x.shape)


class SpaceAttention(PackedSelfAttention):
    """What the patches of a frame and the class token add to each other; that one's is the mean of frames."""

    def __init__(self, channels: int, heads: int, frames: int, drop_path: float) -> None:
        super().__init__(channels, heads)
        self.frames = frames
        self.norm = nn.LayerNorm(channels, eps=_EPS)
        self.drop_path = StochasticDepth(drop_path, "row")

    def forward(self, x: Tensor) -> Tensor:
        """Tokens (N, 1 + P * T, C), place by place -> the same shape."""
        frames = x[:, 1:].unflatten(1, (-1, self.frames)).transpose(1, 2)  # (N, T, P, C)
        first = x[:, None, :1].expand(-1, self.frames, -1, -1)
        tokens = torch.cat([first, frames], dim=2).flatten(0, 1)
        seen = self.drop_path(super().forward(self.norm(tokens))).unflatten(0, (-1, self.frames))
        return torch.cat(
            [seen[:, :, 0].mean(dim=1, keepdim=True), seen[:, :, 1:].transpose(1, 2).flatten(1, 2)], dim=1
        )


class NormedFeedForward(FeedForward):
    """A feed-forward layer with a norm before."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, 4 * channels, act=nn.GELU)
        self.norm = nn.LayerNorm(channels, eps=_EPS)

    def forward(self, x: Tensor) -> Tensor:
        """(..., channels) -> the same shape."""
        return super().forward(self.norm(x))
