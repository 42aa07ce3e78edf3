"""Lite-HRNet (Yu et al., Lite-HRNet: A Lightweight High-Resolution Network, 2021)."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from omma.backbones.base import Backbone, check_stages
from omma.layers import (
    ConvNormAct,
    NormKind,
    SeparableConv,
    ShuffleUnit,
    SqueezeExcitation,
    init_conv,
    make_norm,
    resize,
    shuffle,
)
from omma.registry import register


@register
class LiteHRNet(Backbone):
    """Branches at strides 4, 8, 16 and 32 side by side, whose channels are weighed across all of them.

    Parameter names are OpenMMLab's. Published: Lite-HRNet-18 has 2, 4, 2 modules, Lite-HRNet-30 3, 8, 3; the
    naive networks of the paper are ``weighted=False``.

    Args:
        width: channels of the branch at stride 4; each coarser one has twice as many.
        modules: modules of the three stages, which have 2, 3 and 4 branches.
        blocks: blocks of a module.
        reduction: of the channels that weights across branches are computed from.
        weighted: weigh channels across branches; else each branch has shuffled units of its own.
        with_head: join the branches from coarse to fine, each narrowed to the next one's channels.
        single_output: return the branch at stride 4 only.
        norm: kind of the norm layers.
        norm_eval: keep batch norm on its stored statistics during training too.
        frozen_stages: -1 trains all; 0 freezes the stem; k freezes the stem and stages 1..k.
        recompute: run each module again in the backward pass instead of keeping what it computed.
        weights: initial weights, a file or ``publisher://name``; null: random.

    Raises:
        ValueError: an argument is out of its range.
        WeightsError: ``weights`` isn't there or isn't of this network.
    """

    def __init__(
        self,
        *,
        width: int = 40,
        modules: tuple[int, int, int] = (2, 4, 2),
        blocks: int = 2,
        reduction: int = 8,
        weighted: bool = True,
        with_head: bool = True,
        single_output: bool = False,
        norm: NormKind = "bn",
        norm_eval: bool = False,
        frozen_stages: int = -1,
        recompute: bool = False,
        weights: str | None = None,
    ) -> None:
        super().__init__()
        if min(width, *modules, blocks, reduction) < 1 or width % 2:
            raise ValueError("width must be even, modules, blocks and reduction positive")
        check_stages((0,), range(1), frozen_stages, 3)
        self.norm_eval, self.recompute = norm_eval, recompute
        self.stem = LiteStem(32, norm)
        before: tuple[int, ...] = (32,)
        for stage, count in enumerate(modules):
            widths = tuple(width * 2**i for i in range(stage + 2))
            self.add_module(f"transition{stage}", _transition(before, widths, norm))
            last = [stage == 2 and i == count - 1 for i in range(count)]
            parts = (
                LiteModule(
                    widths,
                    blocks,
                    norm,
                    reduction=reduction if weighted else None,
                    single_output=single_output and not with_head and one,
                )
                for one in last
            )
            self.add_module(f"stage{stage}", nn.Sequential(*parts))
            before = widths
        self.head_layer = IterativeHead(before, norm) if with_head else None
        made = 1 if single_output else 4
        self.out_channels = ((width, *before[:-1]) if with_head else before)[:made]
        self.strides = (4, 8, 16, 32)[:made]
        init_conv(self, std=0.001)
        frozen = ["stem", *(f"{part}{i}" for i in range(frozen_stages) for part in ("transition", "stage"))]
        self.start(weights, frozen=frozen if frozen_stages >= 0 else [])

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(N, 3, H, W) -> one map per branch."""
        branches = [self.stem(x)]
        for stage in range(3):
            transition = self.get_submodule(f"transition{stage}")
            # The new branch starts from the coarsest there is; the others go on by themselves.
            sources = [branches[min(i, len(branches) - 1)] for i in range(stage + 2)]
            branches = [step(source) for step, source in zip(transition.children(), sources)]
            for module in self.get_submodule(f"stage{stage}").children():
                branches = module(branches)
        if self.head_layer is not None:
            branches = self.head_layer(branches)
        return tuple(branches[: len(self.strides)])


class LiteStem(nn.Module):
    """A strided convolution, then another one beside an inverted residual: stride 4.

    Args:
        channels: C.
        norm: kind of the norms.
    """

    def __init__(self, channels: int, norm: NormKind) -> None:
        super().__init__()
        half = channels // 2
        self.conv1 = ConvNormAct(3, channels, 3, stride=2, padding=1, norm=norm)
        self.branch1 = nn.Sequential(
            _depthwise(half, 2, norm),
            ConvNormAct(half, half, 1, norm=norm),
        )
        self.expand_conv = ConvNormAct(half, channels, 1, norm=norm)
        self.depthwise_conv = _depthwise(channels, 2, norm)
        self.linear_conv = ConvNormAct(channels, half, 1, norm=norm)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, C, H / 4, W / 4)."""
        first, second = self.conv1(x).chunk(2, dim=1)
        second = self.linear_conv(self.depthwise_conv(self.expand_conv(second)))
        return shuffle(torch.cat([self.branch1(first), second], dim=1), 2)


class LiteModule(nn.Module):
    """Blocks in every branch, then each branch becomes the sum of all, brought to its size.

    Args:
        widths: channels of the branches, fine to coarse.
        blocks: blocks in a row.
        norm: kind of the norms.
        reduction: of the channels that weights across branches are computed from; null: there are none.
        single_output: make the finest branch only.
    """

    def __init__(
        self,
        widths: tuple[int, ...],
        blocks: int,
        norm: NormKind,
        *,
        reduction: int | None,
        single_output: bool,
    ) -> None:
        super().__init__()
        if reduction is None:
            self.layers = nn.ModuleList(
                nn.Sequential(*(ShuffleUnit(w, w, stride=1, norm=norm) for _ in range(blocks)))
                for w in widths
            )
        else:
            self.layers = nn.Sequential(*(WeightedBlock(widths, reduction, norm) for _ in range(blocks)))
        targets = range(1 if single_output else len(widths))
        self.fuse_layers = nn.ModuleList(
            nn.ModuleList(_to_branch(widths, source, target, norm) for source in range(len(widths)))
            for target in targets
        )

    def forward(self, branches: list[Tensor]) -> list[Tensor]:
        """Maps (N, widths[i], H / 2**i, W / 2**i) -> the same, fused."""
        if isinstance(self.layers, nn.Sequential):
            branches = self.layers(branches)
        else:
            branches = [units(x) for units, x in zip(self.layers, branches)]
        fused = []
        for target, steps in enumerate(self.fuse_layers):
            assert isinstance(steps, nn.ModuleList)
            parts = [step(x) for step, x in zip(steps, branches)]
            # The published networks count the finest branch twice, and coarser ones take it as it is then.
            total = 2 * parts[0]
            for source, part in enumerate(parts[1:], start=1):
                size = branches[target].shape[-2:]
                total = total + (F.interpolate(part, size, mode="nearest") if source > target else part)
            if target == 0:
                branches = [total, *branches[1:]]
            fused.append(total.relu())
        return fused


class WeightedBlock(nn.Module):
    """Half of the channels of every branch weighed across branches, convolved, weighed again; all shuffled.

    Args:
        widths: channels of the branches, fine to coarse.
        reduction: of the channels that weights across branches are computed from.
        norm: kind of the norms.
    """

    def __init__(self, widths: tuple[int, ...], reduction: int, norm: NormKind) -> None:
        super().__init__()
        halves = [width // 2 for width in widths]
        self.cross_resolution_weighting = CrossWeighting(halves, reduction, norm)
        self.depthwise_convs = nn.ModuleList(_depthwise(half, 1, norm) for half in halves)
        self.spatial_weighting = nn.ModuleList(SqueezeExcitation(half, half // 4) for half in halves)

    def forward(self, branches: list[Tensor]) -> list[Tensor]:
        """Maps (N, widths[i], H / 2**i, W / 2**i) -> the same shapes."""
        pairs = [x.chunk(2, dim=1) for x in branches]
        weighed = self.cross_resolution_weighting([second for _, second in pairs])
        steps = zip(pairs, weighed, self.depthwise_convs, self.spatial_weighting)
        return [shuffle(torch.cat([first, gate(conv(x))], dim=1), 2) for (first, _), x, conv, gate in steps]


class CrossWeighting(nn.Module):
    """Weighs every branch by what all of them are at the coarsest one's size.

    Args:
        widths: channels of the branches, fine to coarse.
        reduction: of all their channels.
        norm: kind of the norms.
    """

    def __init__(self, widths: list[int], reduction: int, norm: NormKind) -> None:
        super().__init__()
        self.widths = widths
        total = sum(widths)
        self.conv1 = ConvNormAct(total, total // reduction, 1, norm=norm)
        self.conv2 = ConvNormAct(total // reduction, total, 1, norm=norm, act=None)

    def forward(self, branches: list[Tensor]) -> list[Tensor]:
        """Maps (N, widths[i], H / 2**i, W / 2**i) -> the same shapes."""
        *fine, coarsest = branches
        height, width = coarsest.shape[-2:]
        joined = torch.cat([*(F.adaptive_avg_pool2d(x, (height, width)) for x in fine), coarsest], dim=1)
        weights = self.conv2(self.conv1(joined)).sigmoid().split(self.widths, dim=1)
        return [x * F.interpolate(w, x.shape[-2:], mode="nearest") for x, w in zip(branches, weights)]


class IterativeHead(nn.Module):
    """From the coarsest branch on, each is joined by the one before and narrowed to the next one's channels.

    Args:
        widths: channels of the branches, fine to coarse.
        norm: kind of the norms.
    """

    def __init__(self, widths: tuple[int, ...], norm: NormKind) -> None:
        super().__init__()
        steps = pairwise((*widths[::-1], widths[0]))
        self.projects = nn.ModuleList(
            SeparableConv(a, b, 3, padding=1, norm=norm, depthwise_act=False) for a, b in steps
        )

    def forward(self, branches: list[Tensor]) -> list[Tensor]:
        """Maps (N, widths[i], H / 2**i, W / 2**i) -> the same with the channels of the next finer one."""
        found: list[Tensor] = []
        for x, project in zip(reversed(branches), self.projects, strict=True):
            if found:
                x = x + resize(found[-1], x, align_corners=True)
            found.append(project(x))
        return found[::-1]


def _depthwise(channels: int, stride: int, norm: NormKind) -> ConvNormAct:
    return ConvNormAct(channels, channels, 3, stride=stride, padding=1, groups=channels, norm=norm, act=None)


def _separable(in_channels: int, out_channels: int, stride: int, norm: NormKind) -> nn.Sequential:
    """A depthwise and a 1x1 convolution, each with a norm; the last layer is ReLU."""
    return nn.Sequential(
        nn.Conv2d(in_channels, in_channels, 3, stride, padding=1, groups=in_channels, bias=False),
        make_norm(norm, in_channels),
        nn.Conv2d(in_channels, out_channels, 1, bias=False),
        make_norm(norm, out_channels),
        nn.ReLU(),
    )


def _to_branch(widths: tuple[int, ...], source: int, target: int, norm: NormKind) -> nn.Module:
    """From one branch's channels and size to another's; enlarging, which has no parameters, comes after."""
    if source == target:
        return nn.Identity()
    if source > target:
        return nn.Sequential(
            nn.Conv2d(widths[source], widths[target], 1, bias=False), make_norm(norm, widths[target])
        )
    steps = (*(widths[source],) * (target - source), widths[target])
    halvings = [_separable(a, b, 2, norm) for a, b in pairwise(steps)]
    # The last has no ReLU: what it gives is added to the other branches.
    del halvings[-1][4]
    return nn.Sequential(*halvings)


def _transition(before: tuple[int, ...], after: tuple[int, ...], norm: NormKind) -> nn.ModuleList:
    """From the branches of one stage to those of the next, which has one more."""
    steps = nn.ModuleList(
        nn.Identity() if a == b else _separable(a, b, 1, norm) for a, b in zip(before, after)
    )
    steps.append(nn.Sequential(_separable(before[-1], after[-1], 2, norm)))
    return steps
