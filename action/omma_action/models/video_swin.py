"""Video Swin Transformer (Liu et al., 2021)."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from torch import Tensor, nn
from torch.nn import functional as F

from omma.backbones.base import check_stages, drop_rates, run
from omma.layers import Mlp, PatchMerging, TokenBlock, WindowAttention, attend_in_windows
from omma.registry import register
from omma_action.models.bricks import Triple
from omma_action.models.clip_backbone import ClipBackbone
from omma_action.models.inflate import repeated
from omma_action.models.tokens import start_tokens


@register
class SwinTransformer3d(ClipBackbone):
    """Four stages of attention within windows of frames, every second time shifted, at strides 4, 8, 16, 32.

    Parameter names are the authors'. Weights of a Swin for images are inflated: the kernel of the patches is
    repeated along time, and so is each table of relative positions.

    Args:
        channels: of the first stage; they double with each stage.
        depths: blocks of each stage.
        heads: attention heads of each stage.
        patch: frames, height and width that become one position.
        window: sides of the windows, positions. Along an axis on which a map has no more, it is the map's and
            isn't shifted.
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
        patch: Triple = (2, 4, 4),
        window: Triple = (8, 7, 7),
        mlp_ratio: float = 4.0,
        drop_path: float = 0.1,
        out_indices: tuple[int, ...] = (3,),
        frozen_stages: int = -1,
        recompute: bool = False,
        weights: str | None = None,
    ) -> None:
        super().__init__()
        check_stages(out_indices, range(4), frozen_stages, 4)
        widths = [channels * 2**i for i in range(4)]
        if any(width % number for width, number in zip(widths, heads)):
            raise ValueError(f"widths {widths} must be divisible by heads {heads}")
        self.out_indices, self.recompute, self.window = out_indices, recompute, window
        self.out_channels = tuple(widths[i] for i in out_indices)
        self.patch_embed = PatchEmbed3d(channels, patch)
        last = max(out_indices)
        rates = iter(drop_rates(drop_path, sum(depths)))
        self.layers = nn.ModuleList(
            SwinStage3d(
                width,
                number,
                window,
                int(width * mlp_ratio),
                [next(rates) for _ in range(depth)],
                downsample=i < last,
            )
            for i, (width, number, depth) in enumerate(zip(widths, heads, depths))
            if i <= last
        )
        for i in out_indices:
            self.add_module(f"norm{i}", nn.LayerNorm(widths[i]))
        self.added_names = tuple(f"norm{i}" for i in out_indices)
        frozen = ["patch_embed"] if frozen_stages >= 0 else []
        for i in range(min(frozen_stages, last + 1)):
            frozen += [f"layers.{i}", *([f"norm{i}"] if i in out_indices else [])]
        start_tokens(self, weights, frozen=frozen)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(N, 3, T, H, W) -> one map (N, C, T', H', W') per entry of ``out_indices``."""
        x = self.patch_embed(x)
        maps = []
        for i, stage in enumerate(self.layers):
            assert isinstance(stage, SwinStage3d)
            x = run(stage.blocks, x, recompute=self.recompute)
            if i in self.out_indices:
                maps.append(getattr(self, f"norm{i}")(x).movedim(-1, 1).contiguous())
            if stage.downsample is not None:
                x = stage.downsample(x)
        return tuple(maps)

    def own_state(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """A state of the authors' networks for images, inflated; one for clips as it is."""
        kernel = state.get("patch_embed.proj.weight")
        if kernel is None or kernel.ndim != 4:
            return dict(state)
        mine, out = self.state_dict(), {}
        for name, value in state.items():
            if name.endswith("relative_position_bias_table") and name in mine:
                value = self._inflated_table(value)
            if not re.search(r"relative_position_index|attn_mask", name):
                out[re.sub(r"^norm\.", "norm3.", name)] = value
        out["patch_embed.proj.weight"] = repeated(kernel, self.patch_embed.patch[0])
        return out

    def _inflated_table(self, table: Tensor) -> Tensor:
        """A table of relative rows and columns, for those of ``window`` and at each relative frame."""
        frames, *sides = (2 * side - 1 for side in self.window)
        given = math.isqrt(len(table))
        if given**2 == len(table) and [given, given] != sides:
            grid = table.T.unflatten(1, (given, given))[None]
            table = F.interpolate(grid, size=sides, mode="bicubic", align_corners=False)[0].flatten(1).T
        return table.repeat(frames, 1)


class PatchEmbed3d(nn.Module):
    """Patches of some frames as vectors: (N, 3, T, H, W) to (N, T', H', W', C)."""

    def __init__(self, channels: int, patch: Triple) -> None:
        super().__init__()
        self.patch = patch
        self.proj = nn.Conv3d(3, channels, patch, stride=patch)
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, T, H, W) -> (N, ceil(T / patch), ceil(H / patch), ceil(W / patch), C)."""
        missing = [-side % patch for side, patch in zip(x.shape[2:], self.patch)]
        x = F.pad(x, (0, missing[2], 0, missing[1], 0, missing[0]))
        return self.norm(self.proj(x).movedim(1, -1))


class SwinStage3d(nn.Module):
    """Blocks, and where another stage follows, the merging of 2 x 2 patches of each frame."""

    def __init__(
        self, channels: int, heads: int, window: Triple, hidden: int, rates: list[float], *, downsample: bool
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            SwinBlock3d(channels, heads, window, hidden, rate, shifted=i % 2 == 1)
            for i, rate in enumerate(rates)
        )
        self.downsample = PatchMerging(channels, order="columns") if downsample else None


class SwinBlock3d(TokenBlock):
    """Attends within windows of a clip, which is rolled by half of them before, if ``shifted``."""

    attn: WindowAttention

    def __init__(
        self, channels: int, heads: int, window: Triple, hidden: int, drop_path: float, *, shifted: bool
    ) -> None:
        attention = WindowAttention(channels, heads, window)
        super().__init__(channels, attention=attention, mlp=Mlp(channels, hidden), drop_path=drop_path)
        self.window, self.shifted = window, shifted

    def attend(self, x: Tensor) -> Tensor:
        """(N, T, H, W, C) -> the same shape."""
        sides = x.shape[1:-1]
        size = tuple(min(side, most) for side, most in zip(sides, self.window))
        shift = tuple(
            most // 2 if self.shifted and side > most else 0 for side, most in zip(sides, self.window)
        )
        return attend_in_windows(self.attn, x, size=size, shift=shift)
