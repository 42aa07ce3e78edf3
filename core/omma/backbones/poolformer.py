"""PoolFormer (Yu et al., MetaFormer Is Actually What You Need for Vision, 2022)."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from omma.backbones.base import Backbone, check_stages, drop_rates, run
from omma.layers import MapBlock, NormForm, make_norm
from omma.registry import register

Size = Literal["s12", "s24", "s36", "m36", "m48"]

_NORM = NormForm(kind="gn", groups=1)


@register
class PoolFormer(Backbone):
    """A transformer whose positions see each other through an average of 3x3; strides 4, 8, 16, 32.

    Parameter names are OpenMMLab's (mmpretrain's) and the authors'.

    Args:
        size: of the published network.
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
        size: Size = "s12",
        drop_path: float = 0.0,
        out_indices: tuple[int, ...] = (0, 1, 2, 3),
        frozen_stages: int = -1,
        recompute: bool = False,
        weights: str | None = None,
    ) -> None:
        super().__init__()
        if size not in _SIZES:
            raise ValueError(f"size must be one of {', '.join(_SIZES)}, got {size}")
        check_stages(out_indices, range(4), frozen_stages, 4)
        depths, widths, layer_scale = _SIZES[size]
        self.out_indices, self.recompute = out_indices, recompute
        self.out_channels = tuple(widths[i] for i in out_indices)
        self.strides = tuple(4 * 2**i for i in out_indices)
        rates = iter(drop_rates(drop_path, sum(depths)))
        self.patch_embed = PatchEmbed(3, widths[0], 7, stride=4, padding=2)
        # Stages and what halves their maps in turn, as published files count them.
        self.network = nn.ModuleList()
        for i in range(max(out_indices) + 1):
            if i > 0:
                self.network.append(PatchEmbed(widths[i - 1], widths[i], 3, stride=2, padding=1))
            blocks = (
                MapBlock(
                    widths[i],
                    mixer=PoolMixer(),
                    hidden=4 * widths[i],
                    depthwise=False,
                    norm=_NORM,
                    layer_scale=layer_scale,
                    drop_path=next(rates),
                )
                for _ in range(depths[i])
            )
            self.network.append(nn.Sequential(*blocks))
        for i in out_indices:
            self.add_module(f"norm{2 * i}", make_norm(_NORM, widths[i]))
        self.added_names = tuple(f"norm{2 * i}" for i in out_indices)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.trunc_normal_(module.weight, std=0.02)
                assert module.bias is not None
                nn.init.zeros_(module.bias)
        last = min(frozen_stages, max(out_indices) + 1)
        frozen = [f"network.{i}" for i in range(max(2 * last - 1, 0))]
        frozen += [f"norm{2 * i}" for i in out_indices if i < last]
        self.start(weights, frozen=["patch_embed", *frozen] if frozen_stages >= 0 else [])

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(N, 3, H, W) -> one map per entry of ``out_indices``."""
        x = self.patch_embed(x)
        maps = []
        for i, part in enumerate(self.network):
            if isinstance(part, PatchEmbed):
                x = part(x)
                continue
            x = run(part.children(), x, recompute=self.recompute)
            if i // 2 in self.out_indices:
                maps.append(getattr(self, f"norm{i}")(x))
        return tuple(maps)


class PatchEmbed(nn.Module):
    """Overlapping patches as vectors: (N, C, H, W) to (N, C', H / stride, W / stride)."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, *, stride: int, padding: int
    ) -> None:
        super().__init__()
        self.proj = nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C', H / stride, W / stride)."""
        return self.proj(x)


class PoolMixer(nn.Module):
    """How the average around each position differs from it."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> the same shape."""
        return self.pool(x) - x


_SIZES: dict[str, tuple[tuple[int, ...], tuple[int, ...], float]] = {
    "s12": ((2, 2, 6, 2), (64, 128, 320, 512), 1e-5),
    "s24": ((4, 4, 12, 4), (64, 128, 320, 512), 1e-5),
    "s36": ((6, 6, 18, 6), (64, 128, 320, 512), 1e-6),
    "m36": ((6, 6, 18, 6), (96, 192, 384, 768), 1e-6),
    "m48": ((8, 8, 24, 8), (96, 192, 384, 768), 1e-6),
}
"""Blocks and channels of each stage, and the initial scale of what blocks add."""
