"""MSPN (Li et al., Rethinking on Multi-Stage Networks for Human Pose Estimation, 2019)."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from omma.backbones.base import Backbone
from omma.backbones.residual import BlockForm, Bottleneck
from omma.layers import ConvNormAct, NormKind, init_conv
from omma.registry import register

MakeBlock = Callable[[int, int, int, nn.Module | None], nn.Module]
"""A residual block of these channels in, width, stride and shortcut."""
STEM = 64
"""Channels at stride 4."""


class MultiStageNet(Backbone):
    """Networks from stride 4 down to 32 and up again, each of which is fed with all that the one before saw.

    Each gives a map at strides 32, 16, 8 and 4.
    """

    stages_name: str
    """What the networks are called in checkpoints."""

    def build(
        self,
        *,
        stages: int,
        blocks: tuple[int, int, int, int],
        channels: int,
        expansion: int,
        make_block: MakeBlock,
        norm: NormKind,
        norm_eval: bool,
        weights: str | None,
    ) -> None:
        """All parts, for the constructors of the families."""
        if min(stages, channels, *blocks) < 1:
            raise ValueError("stages, blocks and channels must be positive")
        self.norm_eval = norm_eval
        self.out_channels = (channels,) * 4 * stages
        self.strides = (32, 16, 8, 4) * stages
        pool = nn.MaxPool2d(3, stride=2, padding=1)
        top = nn.Sequential(ConvNormAct(3, STEM, 7, stride=2, padding=3, norm=norm), pool)
        self.top = nn.Sequential(OrderedDict(top=top))
        widths = tuple(STEM * 2**i * expansion for i in range(4))
        down = [Descent(blocks, expansion, make_block, norm) for _ in range(stages)]
        up = [Ascent(widths, channels, norm, last=i == stages - 1) for i in range(stages)]
        parts = (SingleStage(*pair) for pair in zip(down, up))
        self.add_module(self.stages_name, nn.ModuleList(parts))
        init_conv(self, kind="kaiming")
        self.start(weights)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(N, 3, H, W) -> maps (N, channels, H / s, W / s), s = 32, 16, 8, 4 of each stage."""
        x = self.top(x)
        skips: Sequence[Tensor] | None = None
        maps: list[Tensor] = []
        for stage in self.get_submodule(self.stages_name).children():
            made, skips, x = stage(x, skips)
            maps += made
        return tuple(maps)

    def own_state(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """A state as in the files of a ResNet of this depth, which every stage starts from."""
        if any(name.startswith("top.") for name in state):
            return dict(state)
        own: dict[str, Tensor] = {}
        stages = len(list(self.get_submodule(self.stages_name).children()))
        for name, value in state.items():
            if not name.startswith("layer"):
                own[re.sub(r"^(conv|bn)1\.", r"top.top.0.\1.", name)] = value
                continue
            name = name.replace(".downsample.0.", ".downsample.conv.")
            name = name.replace(".downsample.1.", ".downsample.bn.")
            for i in range(stages):
                own[f"{self.stages_name}.{i}.downsample.{name}"] = value
        return own


@register
class MSPN(MultiStageNet):
    """ResNets whose maps are joined from coarse to fine, one after another.

    Parameter names are OpenMMLab's; files of a ResNet are understood too, and fill every stage.

    Args:
        stages: networks one after another.
        blocks: bottlenecks at strides 4, 8, 16 and 32.
        channels: of the maps.
        norm: kind of the norm layers.
        norm_eval: keep batch norm on its stored statistics during training too.
        weights: initial weights, a file or ``publisher://name``; null: random.

    Raises:
        ValueError: an argument is out of its range.
        WeightsError: ``weights`` isn't there or isn't of this network.
    """

    stages_name = "multi_stage_mspn"

    def __init__(
        self,
        *,
        stages: int = 4,
        blocks: tuple[int, int, int, int] = (3, 4, 6, 3),
        channels: int = 256,
        norm: NormKind = "bn",
        norm_eval: bool = False,
        weights: str | None = None,
    ) -> None:
        super().__init__()
        form = BlockForm(norm=norm)

        def bottleneck(in_channels: int, width: int, stride: int, shortcut: nn.Module | None) -> nn.Module:
            return Bottleneck(in_channels, width, stride=stride, form=form, downsample=shortcut)

        self.build(
            stages=stages,
            blocks=blocks,
            channels=channels,
            expansion=Bottleneck.expansion,
            make_block=bottleneck,
            norm=norm,
            norm_eval=norm_eval,
            weights=weights,
        )


class SingleStage(nn.Module):
    """Down and up once.

    Args:
        downsample: from stride 4 to 32.
        upsample: from stride 32 to 4.
    """

    def __init__(self, downsample: Descent, upsample: Ascent) -> None:
        super().__init__()
        self.downsample, self.upsample = downsample, upsample

    def forward(self, x: Tensor, skips: Sequence[Tensor] | None) -> tuple[list[Tensor], list[Tensor], Tensor]:
        """What came from the stage before -> the maps, coarse to fine, and what goes to the stage after."""
        return self.upsample(self.downsample(x, skips))


class Descent(nn.Module):
    """Residual blocks at strides 4, 8, 16 and 32.

    Args:
        blocks: of each stride.
        expansion: channels of a block's output, as a multiple of its width.
        make_block: makes one.
        norm: of the shortcuts.
    """

    def __init__(
        self, blocks: tuple[int, int, int, int], expansion: int, make_block: MakeBlock, norm: NormKind
    ) -> None:
        super().__init__()
        before = STEM
        for i, count in enumerate(blocks):
            width, stride = STEM * 2**i, 1 if i == 0 else 2
            after = width * expansion
            shortcut = None
            if stride != 1 or before != after:
                shortcut = ConvNormAct(before, after, 1, stride=stride, norm=norm, act=None)
            layer = [make_block(before, width, stride, shortcut)]
            layer += [make_block(after, width, 1, None) for _ in range(count - 1)]
            self.add_module(f"layer{i + 1}", nn.Sequential(*layer))
            before = after

    def forward(self, x: Tensor, skips: Sequence[Tensor] | None) -> list[Tensor]:
        """Maps of each stride, fine to coarse; ``skips``, of the same shapes, are added to them."""
        maps = []
        for i, layer in enumerate(self.children()):
            x = layer(x)
            if skips is not None:
                x = x + skips[i]
            maps.append(x)
        return maps


class Ascent(nn.Module):
    """Each map joined with the enlarged one below it.

    Args:
        widths: channels of the maps, fine to coarse.
        channels: of what comes out.
        norm: kind of the norms.
        last: whether no stage comes after.
    """

    def __init__(self, widths: tuple[int, ...], channels: int, norm: NormKind, *, last: bool) -> None:
        super().__init__()
        self.last = last
        for i, width in enumerate(reversed(widths)):
            finest = i == len(widths) - 1
            unit = UpUnit(width, channels, norm, coarsest=i == 0, last=last, crosses=finest and not last)
            self.add_module(f"up{i + 1}", unit)

    def forward(self, maps: list[Tensor]) -> tuple[list[Tensor], list[Tensor], Tensor]:
        """Maps, fine to coarse -> those of ``channels``, coarse to fine; the next stage's skips and input."""
        made: list[Tensor] = []
        skips: list[Tensor] = []
        unit = None
        for unit, x in zip(self.children(), reversed(maps)):
            assert isinstance(unit, UpUnit)
            made.append(unit(x, made[-1] if made else None))
            if not self.last:
                skips.insert(0, unit.skip(x, made[-1]))
        cross = made[-1] if self.last or unit is None else unit.get_submodule("cross_conv")(made[-1])
        return made, skips, cross


class UpUnit(nn.Module):
    """One map of the way up.

    Args:
        in_channels: of the map on the way down.
        channels: of this one.
        norm: kind of the norms.
        coarsest: whether there is none below.
        last: whether no stage comes after.
        crosses: whether the next stage begins with this map.
    """

    def __init__(
        self, in_channels: int, channels: int, norm: NormKind, *, coarsest: bool, last: bool, crosses: bool
    ) -> None:
        super().__init__()
        self.in_skip = ConvNormAct(in_channels, channels, 1, norm=norm, act=None)
        self.up_conv = None if coarsest else ConvNormAct(channels, channels, 1, norm=norm, act=None)
        self.out_skip1 = None if last else ConvNormAct(in_channels, in_channels, 1, norm=norm)
        self.out_skip2 = None if last else ConvNormAct(channels, in_channels, 1, norm=norm)
        if crosses:
            self.cross_conv = ConvNormAct(channels, STEM, 1, norm=norm)

    def forward(self, x: Tensor, below: Tensor | None) -> Tensor:
        """(N, in_channels, H, W) and (N, channels, H / 2, W / 2) -> (N, channels, H, W)."""
        out = self.in_skip(x)
        if self.up_conv is not None and below is not None:
            enlarged = F.interpolate(below, size=x.shape[-2:], mode="bilinear", align_corners=True)
            out = out + self.up_conv(enlarged)
        return torch.relu(out)

    def skip(self, x: Tensor, out: Tensor) -> Tensor:
        """What the next stage adds to its own map of this size, (N, in_channels, H, W)."""
        assert self.out_skip1 is not None
        assert self.out_skip2 is not None
        return self.out_skip1(x) + self.out_skip2(out)
