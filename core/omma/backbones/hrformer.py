"""HRFormer (Yuan et al., High-Resolution Transformer for Dense Prediction, 2021)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import StochasticDepth

from omma.backbones.base import check_stages, drop_rates
from omma.backbones.hrnet import BranchNet, FusedBranches, frozen_parts, narrow
from omma.layers import NormKind, WindowAttention, make_norm
from omma.ops import window_partition, window_reverse
from omma.registry import register


@register
class HRFormer(BranchNet):
    """HRNet whose branches attend within windows, and whose branches are halved by depthwise convolutions.

    Parameter names are OpenMMLab's. Published: HRFormer-S has a width of 32, HRFormer-B of 78.

    Args:
        width: channels of the branch at stride 4; each coarser one has twice as many.
        heads: attention heads of that branch; each coarser one has twice as many.
        modules: modules of stages 2, 3 and 4.
        blocks: transformer blocks of each branch in a module.
        stem_blocks: bottlenecks of stage 1.
        window: side of the windows, in positions.
        mlp_ratio: hidden width of the feed-forward layers, as a multiple of the branch's.
        drop_path: share of blocks skipped in training at the end; it grows along the depth from 0.
        single_output: fuse the last module into the branch at stride 4 only, and return that.
        norm: kind of the norm layers of convolutions.
        norm_eval: keep batch norm on its stored statistics during training too.
        frozen_stages: -1 trains all; 0 freezes the stem; k freezes the stem and stages 1..k.
        recompute: run the bottlenecks again in the backward pass instead of keeping what they computed.
        weights: initial weights, a file or ``publisher://name``; null: random.

    Raises:
        ValueError: an argument is out of its range.
        WeightsError: ``weights`` isn't there or isn't of this network.
    """

    def __init__(
        self,
        *,
        width: int = 32,
        heads: int = 1,
        modules: tuple[int, int, int] = (1, 4, 2),
        blocks: int = 2,
        stem_blocks: int = 2,
        window: int = 7,
        mlp_ratio: float = 4.0,
        drop_path: float = 0.1,
        single_output: bool = False,
        norm: NormKind = "bn",
        norm_eval: bool = False,
        frozen_stages: int = -1,
        recompute: bool = False,
        weights: str | None = None,
    ) -> None:
        super().__init__()
        if min(width, heads, *modules, blocks, stem_blocks, window) < 1 or width % heads:
            raise ValueError(
                "width, heads, modules, blocks, stem_blocks, window must be positive, and width a multiple "
                "of heads"
            )
        check_stages((0,), range(1), frozen_stages, 4)
        self.norm_eval, self.recompute = norm_eval, recompute
        rates = iter(drop_rates(drop_path, blocks * sum(modules)))

        def module(widths: tuple[int, ...], single: bool) -> HRFormerModule:
            each = [next(rates) for _ in range(blocks)]
            return HRFormerModule(widths, heads, window, mlp_ratio, each, norm, single_output=single)

        self.build(
            width=width,
            modules=modules,
            stem_blocks=stem_blocks,
            norm=norm,
            make_module=module,
            single_output=single_output,
        )
        for part in self.modules():
            if isinstance(part, nn.Conv2d):
                nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(part, nn.Linear):
                nn.init.trunc_normal_(part.weight, std=0.02)
                nn.init.zeros_(part.bias)
        self.start(weights, frozen=frozen_parts(frozen_stages))


class HRFormerModule(FusedBranches):
    """Transformer blocks in every branch, then each branch becomes the sum of all.

    Args:
        widths: channels of the branches, fine to coarse.
        heads: of the finest branch.
        window: side of the windows.
        mlp_ratio: of the feed-forward layers.
        rates: how often each block of a branch is skipped.
        norm: of the convolutions.
        single_output: make the finest branch only.
    """

    def __init__(
        self,
        widths: tuple[int, ...],
        heads: int,
        window: int,
        mlp_ratio: float,
        rates: Sequence[float],
        norm: NormKind,
        *,
        single_output: bool,
    ) -> None:
        branches = (
            nn.Sequential(
                *(LocalBlock(w, heads * 2**i, window, int(w * mlp_ratio), rate, norm) for rate in rates)
            )
            for i, w in enumerate(widths)
        )
        targets = range(1 if single_output else len(widths))
        steps = (
            nn.ModuleList(_to_branch(widths, source, target, norm) for source in range(len(widths)))
            for target in targets
        )
        super().__init__(nn.ModuleList(branches), nn.ModuleList(steps), "bilinear")


class LocalBlock(nn.Module):
    """Attention within windows and a convolutional feed-forward layer, each added to its input."""

    def __init__(
        self, channels: int, heads: int, window: int, hidden: int, drop_path: float, norm: NormKind
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(channels, eps=1e-6)
        self.attn = CentredWindows(channels, heads, window)
        self.norm2 = nn.LayerNorm(channels, eps=1e-6)
        self.ffn = CrossFeedForward(channels, hidden, norm)
        self.drop_path = StochasticDepth(drop_path, "row")

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> the same shape."""
        x = x.permute(0, 2, 3, 1)
        x = x + self.drop_path(self.attn(self.norm1(x)))
        mixed = self.ffn(self.norm2(x).permute(0, 3, 1, 2))
        return x.permute(0, 3, 1, 2).contiguous() + self.drop_path(mixed)


class CentredWindows(nn.Module):
    """Attention within windows of a map that is filled up with zeros, as much on one side as on the other."""

    def __init__(self, channels: int, heads: int, window: int) -> None:
        super().__init__()
        self.window = window
        self.attn = WindowAttention(channels, heads, window)

    def forward(self, x: Tensor) -> Tensor:
        """(N, H, W, C) -> the same shape."""
        height, width = x.shape[1:3]
        down, right = -height % self.window, -width % self.window
        top, left = down // 2, right // 2
        x = F.pad(x, (0, 0, left, right - left, top, down - top))
        windows = self.attn(window_partition(x, size=self.window), None)
        x = window_reverse(windows, sides=(height + down, width + right), size=self.window)
        return x[:, top : top + height, left : left + width]


class CrossFeedForward(nn.Module):
    """1x1, depthwise 3x3 and 1x1 convolutions, each with a norm and GELU: windows see beyond themselves."""

    def __init__(self, channels: int, hidden: int, norm: NormKind) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(channels, hidden, 1)
        self.norm1 = make_norm(norm, hidden)
        self.dw3x3 = nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden)
        self.norm2 = make_norm(norm, hidden)
        self.fc2 = nn.Conv2d(hidden, channels, 1)
        self.norm3 = make_norm(norm, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> the same shape."""
        x = F.gelu(self.norm1(self.fc1(x)))
        x = F.gelu(self.norm2(self.dw3x3(x)))
        return F.gelu(self.norm3(self.fc2(x)))


def _to_branch(widths: tuple[int, ...], source: int, target: int, norm: NormKind) -> nn.Module:
    """From one branch's channels and size to another's; enlarging, which has no parameters, comes after."""
    if source == target:
        return nn.Identity()
    if source > target:
        return narrow(widths[source], widths[target], norm)
    steps = (*(widths[source],) * (target - source), widths[target])
    halvings = [_halve(a, b, norm) for a, b in pairwise(steps)]
    # The last has no ReLU: what it gives is added to the other branches.
    del halvings[-1][4]
    return nn.Sequential(*halvings)


def _halve(in_channels: int, out_channels: int, norm: NormKind) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, in_channels, 3, stride=2, padding=1, groups=in_channels, bias=False),
        make_norm(norm, in_channels),
        nn.Conv2d(in_channels, out_channels, 1, bias=False),
        make_norm(norm, out_channels),
        nn.ReLU(inplace=True),
    )
