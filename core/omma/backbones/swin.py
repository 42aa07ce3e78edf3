"""Swin Transformer (Liu et al., Hierarchical Vision Transformer using Shifted Windows, 2021)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import count

from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import StochasticDepth

from omma.backbones.base import Backbone, check_stages, drop_rates, run
from omma.layers import FeedForward, PatchMerging, WindowAttention, attend_in_windows
from omma.registry import register


@register
class SwinTransformer(Backbone):
    """Four stages of attention within windows, every second time shifted, at strides 4, 8, 16, 32.

    Parameter names are OpenMMLab's; files of the authors are understood too.

    Args:
        channels: of the first stage; they double with each stage.
        depths: blocks of each stage.
        heads: attention heads of each stage.
        window: side of the windows, in positions.
        mlp_ratio: hidden width of the feed-forward layers, as a multiple of the stage's.
        drop_path: share of blocks skipped in training at the end; it grows along the depth from 0.
        out_indices: stages to return, 0 is the first; each has a norm of its own.
        frozen_stages: -1 trains all; 0 freezes the patch embedding; k freezes it and stages 1..k.
        recompute: run each block again in the backward pass instead of keeping what it computed.
        weights: initial weights, a file or ``publisher://name``; null: random.

    Raises:
        ValueError: an argument is out of its range.
        WeightsError: ``weights`` isn't there or isn't of this network.
    """

    def __init__(
        self,
        *,
        channels: int = 96,
        depths: tuple[int, int, int, int] = (2, 2, 6, 2),
        heads: tuple[int, int, int, int] = (3, 6, 12, 24),
        window: int = 7,
        mlp_ratio: float = 4.0,
        drop_path: float = 0.1,
        out_indices: tuple[int, ...] = (0, 1, 2, 3),
        frozen_stages: int = -1,
        recompute: bool = False,
        weights: str | None = None,
    ) -> None:
        super().__init__()
        check_stages(out_indices, range(4), frozen_stages, 4)
        widths = [channels * 2**i for i in range(4)]
        if any(width % number for width, number in zip(widths, heads)):
            raise ValueError(f"widths {widths} must be divisible by heads {heads}")
        self.out_indices = out_indices
        self.out_channels = tuple(widths[i] for i in out_indices)
        self.strides = tuple(4 * 2**i for i in out_indices)
        self.recompute = recompute
        self.patch_embed = PatchEmbed(channels)
        last = max(out_indices)
        rates = iter(drop_rates(drop_path, sum(depths)))
        self.stages = nn.ModuleList(
            SwinStage(
                widths[i],
                heads[i],
                window,
                int(widths[i] * mlp_ratio),
                [next(rates) for _ in range(depths[i])],
                downsample=i < last,
            )
            for i in range(last + 1)
        )
        for i in out_indices:
            self.add_module(f"norm{i}", nn.LayerNorm(widths[i]))
        self.added_names = tuple(f"norm{i}" for i in out_indices)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        frozen = ["patch_embed"] if frozen_stages >= 0 else []
        for i in range(min(frozen_stages, last + 1)):
            frozen += [f"stages.{i}", *([f"norm{i}"] if i in out_indices else [])]
        self.start(weights, frozen=frozen)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(N, 3, H, W) -> one map per entry of ``out_indices``."""
        x = self.patch_embed(x)
        maps = []
        for i, stage in enumerate(self.stages):
            assert isinstance(stage, SwinStage)
            x = run(stage.blocks, x, recompute=self.recompute)
            if i in self.out_indices:
                maps.append(getattr(self, f"norm{i}")(x).permute(0, 3, 1, 2).contiguous())
            if stage.downsample is not None:
                x = stage.downsample(x)
        return tuple(maps)

    def own_state(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """A state as in the authors' files, which merge patches column by column, as it is here."""
        own = {}
        for name, value in state.items():
            if re.match(r"layers\.\d+\.downsample\.", name):
                value = value.unflatten(-1, (2, 2, -1))  # (..., column, row, C)
                value = value.transpose(-3, -2).flatten(-3, -2).transpose(-2, -1).flatten(-2)
            if name.startswith("layers."):
                name = re.sub(r"\.attn\.(?!w_msa)", ".attn.w_msa.", "stages." + name.removeprefix("layers."))
                name = name.replace(".mlp.fc1.", ".ffn.layers.0.0.").replace(".mlp.fc2.", ".ffn.layers.1.")
            own[name.replace("patch_embed.proj.", "patch_embed.projection.")] = value
        return own


class PatchEmbed(nn.Module):
    """Patches of 4 x 4 pixels as vectors: (N, 3, H, W) to (N, H / 4, W / 4, C)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.projection = nn.Conv2d(3, channels, 4, stride=4)
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, ceil(H / 4), ceil(W / 4), C)."""
        x = F.pad(x, (0, -x.shape[-1] % 4, 0, -x.shape[-2] % 4))
        return self.norm(self.projection(x).permute(0, 2, 3, 1))


class SwinStage(nn.Module):
    """Blocks, and where another stage follows, the merging of 2 x 2 patches."""

    def __init__(
        self, channels: int, heads: int, window: int, hidden: int, rates: list[float], *, downsample: bool
    ) -> None:
        super().__init__()
        shifts = (0 if i % 2 == 0 else window // 2 for i in count())
        blocks = (SwinBlock(channels, heads, window, next(shifts), hidden, rate) for rate in rates)
        self.blocks = nn.ModuleList(blocks)
        self.downsample = PatchMerging(channels) if downsample else None


class SwinBlock(nn.Module):
    """Attention within windows and a feed-forward layer, each normalised first and added to its input."""

    def __init__(
        self, channels: int, heads: int, window: int, shift: int, hidden: int, drop_path: float
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(channels)
        self.attn = ShiftedWindows(channels, heads, window, shift)
        self.norm2 = nn.LayerNorm(channels)
        self.ffn = FeedForward(channels, hidden, act=nn.GELU)
        self.drop_path = StochasticDepth(drop_path, "row")

    def forward(self, x: Tensor) -> Tensor:
        """(N, H, W, C) -> the same shape."""
        x = x + self.drop_path(self.attn(self.norm1(x)))
        return x + self.drop_path(self.ffn(self.norm2(x)))


class ShiftedWindows(nn.Module):
    """Attention within windows of a map that is rolled by ``shift`` positions."""

    def __init__(self, channels: int, heads: int, window: int, shift: int) -> None:
        super().__init__()
        self.window, self.shift = window, shift
        self.w_msa = WindowAttention(channels, heads, window)

    def forward(self, x: Tensor) -> Tensor:
        """(N, H, W, C) -> the same shape."""
        return attend_in_windows(self.w_msa, x, size=self.window, shift=self.shift)
