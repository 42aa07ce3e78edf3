"""UniFormerV2 (Li et al., Arming Image ViTs with Video UniFormer, 2022)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torchvision.ops import StochasticDepth

from omma.backbones.base import drop_rates, run
from omma.registry import register
from omma_action.models.clip_backbone import ClipBackbone


@register
class UniFormerV2(ClipBackbone):
    """CLIP's ViT on each frame; behind some of its blocks a token of the clip looks at all patches.

    The form without local attention over time, as all weights of OpenMMLab have it. CLIP's visual weights
    are understood, too.

    Args:
        frames: of a clip.
        image_size: side of its frames, pixels.
        patch: side of the patches, pixels.
        channels: of the tokens.
        depth: blocks.
        heads: attention heads.
        looks: blocks behind which the clip's token looks at the patches, 0 is the first.
        dropout: share of values dropped in the feed-forward layers of the clip's token.
        drop_path: share of blocks skipped in training at the end; it grows along the depth from 0.
        recompute: run each block again in the backward pass instead of keeping what it computed.
        weights: initial weights, a file or ``publisher://name``; null: random.

    Raises:
        ValueError: ``looks`` aren't rising blocks, or heads don't divide the channels.
        WeightsError: ``weights`` isn't there or isn't of this network.
    """

    def __init__(
        self,
        *,
        frames: int = 8,
        image_size: int = 224,
        patch: int = 16,
        channels: int = 768,
        depth: int = 12,
        heads: int = 12,
        looks: tuple[int, ...] = (8, 9, 10, 11),
        dropout: float = 0.5,
        drop_path: float = 0.0,
        recompute: bool = False,
        weights: str | None = None,
    ) -> None:
        super().__init__()
        if not looks or sorted(set(looks)) != [*looks] or not 0 <= looks[0] <= looks[-1] < depth:
            raise ValueError(f"looks must be rising blocks in 0..{depth - 1}, got {looks}")
        if channels % heads:
            raise ValueError(f"channels {channels} must be divisible by heads {heads}")
        self.frames, self.recompute, self.out_channels = frames, recompute, (channels,)
        count, scale = (image_size // patch) ** 2, channels**-0.5
        self.conv1 = nn.Conv3d(3, channels, (1, patch, patch), stride=(1, patch, patch), bias=False)
        self.class_embedding = nn.Parameter(scale * torch.randn(channels))
        self.positional_embedding = nn.Parameter(scale * torch.randn(count + 1, channels))
        self.ln_pre = nn.LayerNorm(channels)
        self.transformer = ClipTransformer(channels, heads, drop_rates(drop_path, depth), looks, dropout)
        self.start(weights)

    @property
    def added_names(self) -> tuple[str, ...]:
        """What a network for images lacks: all of the clip's token."""
        names = ("temporal_cls_token", "dpe", "dec", "norm", "balance")
        return tuple(f"transformer.{name}" for name in names)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(N, 3, T, H, W) -> the clip's token (N, C).

        Raises:
            ValueError: clips of another size.
        """
        patches = self.conv1(x)  # (N, C, T, h, w)
        grid = (patches.shape[2], patches.shape[3], patches.shape[4])
        wanted, found = len(self.positional_embedding) - 1, grid[1] * grid[2]
        if (grid[0], found) != (self.frames, wanted):
            raise ValueError(
                f"this UniFormerV2 takes {self.frames} frames of {wanted} patches, got {grid[0]} of {found}"
            )
        tokens = patches.permute(0, 2, 3, 4, 1).flatten(2, 3).flatten(0, 1)
        first = self.class_embedding.expand(len(tokens), 1, -1)
        tokens = self.ln_pre(torch.cat([first, tokens], dim=1) + self.positional_embedding)
        return (self.transformer(tokens, grid, recompute=self.recompute),)

    def own_state(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """A state of CLIP's visual network, as it is here; one for clips as it is."""
        own = {name.removeprefix("visual."): value for name, value in state.items()}
        kernel = own.get("conv1.weight")
        if kernel is not None and kernel.ndim == 4:
            own["conv1.weight"] = kernel[:, :, None]
        return own


class ClipTransformer(nn.Module):
    """Blocks on the tokens of each frame, and those of the clip's token."""

    def __init__(
        self, channels: int, heads: int, rates: list[float], looks: tuple[int, ...], dropout: float
    ) -> None:
        super().__init__()
        self.looks = looks
        self.resblocks = nn.ModuleList(FrameBlock(channels, heads, rate) for rate in rates)
        self.temporal_cls_token = nn.Parameter(torch.zeros(1, 1, channels))
        self.dpe = nn.ModuleList(nn.Conv3d(channels, channels, 3, padding=1, groups=channels) for _ in looks)
        self.dec = nn.ModuleList(ClipBlock(channels, heads, dropout) for _ in looks)
        self.norm = nn.LayerNorm(channels)
        self.balance = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor, grid: tuple[int, int, int], *, recompute: bool) -> Tensor:
        """Tokens (N * T, 1 + h w, C) of a ``grid`` (T, h, w) -> (N, C)."""
        clip = self.temporal_cls_token.repeat(len(x) // grid[0], 1, 1)
        for i, block in enumerate(self.resblocks):
            x = run([block], x, recompute=recompute)
            if i in self.looks:
                j = self.looks.index(i)
                clip = self.dec[j](clip, self.with_places(x, grid, self.dpe[j]))
        share = self.balance.sigmoid()
        of_frames = x[:, 0].unflatten(0, (-1, grid[0])).mean(dim=1)
        return self.norm((1 - share) * clip[:, 0] + share * of_frames)

    def with_places(self, x: Tensor, grid: tuple[int, int, int], conv: nn.Module) -> Tensor:
        """All tokens (N, T (1 + h w), C) of a clip; what ``conv`` sees around is added to the patches."""
        frames = x.unflatten(0, (-1, grid[0]))  # (N, T, 1 + h w, C)
        maps = frames[:, :, 1:].flatten(1, 2).transpose(1, 2).unflatten(2, grid)
        places = conv(maps).flatten(2).transpose(1, 2).unflatten(1, (grid[0], -1))
        return torch.cat([frames[:, :, :1], frames[:, :, 1:] + places], dim=2).flatten(1, 2)


class QuickGELU(nn.Module):
    """CLIP's approximation of GELU."""

    def forward(self, x: Tensor) -> Tensor:
        """The same shape."""
        return x * torch.sigmoid(1.702 * x)


class FrameBlock(nn.Module):
    """CLIP's block: attention and a feed-forward layer, each normalised first and added to its input."""

    def __init__(self, channels: int, heads: int, drop_path: float) -> None:
        super().__init__()
        self.attn = nn.MultiheadAttention(channels, heads, batch_first=True)
        self.ln_1 = nn.LayerNorm(channels)
        self.mlp = _mlp(channels, dropout=0.0)
        self.ln_2 = nn.LayerNorm(channels)
        self.drop_path = StochasticDepth(drop_path, "row")

    def forward(self, x: Tensor) -> Tensor:
        """Tokens (N, L, C) -> the same shape."""
        normed = self.ln_1(x)
        x = x + self.drop_path(self.attn(normed, normed, normed, need_weights=False)[0])
        return x + self.drop_path(self.mlp(self.ln_2(x)))


class ClipBlock(nn.Module):
    """A token looks at others, and a feed-forward layer; both begin as the identity."""

    def __init__(self, channels: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.attn = nn.MultiheadAttention(channels, heads, batch_first=True)
        self.ln_1 = nn.LayerNorm(channels)
        self.mlp = _mlp(channels, dropout=dropout)
        self.ln_2 = nn.LayerNorm(channels)
        self.ln_3 = nn.LayerNorm(channels)
        for layer in (self.attn.out_proj, self.mlp[-1]):
            for value in layer.parameters():
                nn.init.zeros_(value)

    def forward(self, x: Tensor, others: Tensor) -> Tensor:
        """Tokens (N, 1, C) that look at ``others`` (N, L, C) -> the same shape."""
        seen = self.ln_3(others)
        x = x + self.attn(self.ln_1(x), seen, seen, need_weights=False)[0]
        return x + self.mlp(self.ln_2(x))


def _mlp(channels: int, *, dropout: float) -> nn.Sequential:
    layers: dict[str, nn.Module] = {"c_fc": nn.Linear(channels, 4 * channels), "gelu": QuickGELU()}
    if dropout:
        layers["dropout"] = nn.Dropout(dropout)
    return nn.Sequential(OrderedDict(layers, c_proj=nn.Linear(4 * channels, channels)))
