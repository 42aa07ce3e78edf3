"""Hourglass (Newell et al., Stacked Hourglass Networks, 2016), with the residual blocks of CornerNet."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from omma.backbones.base import Backbone
from omma.backbones.residual import BasicBlock, BlockForm, make_stage
from omma.layers import ConvNormAct, NormKind
from omma.registry import register


@register
class HourglassNet(Backbone):
    """Modules that look at the whole image and come back to stride 4, one after another; each gives a map.

    Args:
        stacks: modules: 1 makes Hourglass-52, 2 Hourglass-104.
        channels: of each size within a module, fine to coarse; each is half as large as the one before.
        blocks: residual blocks at each of these sizes.
        map_channels: of the maps.
        norm: kind of the norm layers.
        norm_eval: keep batch norm on its stored statistics during training too.
        weights: initial weights, a file or ``publisher://name``; null: random.

    Raises:
        ValueError: an argument is out of its range.
        WeightsError: ``weights`` isn't there or isn't of this network.
    """

    def __init__(
        self,
        *,
        stacks: int = 2,
        channels: tuple[int, ...] = (256, 256, 384, 384, 384, 512),
        blocks: tuple[int, ...] = (2, 2, 2, 2, 2, 4),
        map_channels: int = 256,
        norm: NormKind = "bn",
        norm_eval: bool = False,
        weights: str | None = None,
    ) -> None:
        super().__init__()
        if len(channels) != len(blocks) or len(channels) < 2:
            raise ValueError(
                f"channels and blocks need one length, at least 2, got {len(channels)} and {len(blocks)}"
            )
        if min(stacks, map_channels, *channels, *blocks) < 1 or channels[0] % 2:
            raise ValueError("stacks, channels, blocks and map_channels must be positive, channels[0] even")
        self.norm_eval = norm_eval
        self.out_channels, self.strides = (map_channels,) * stacks, (4,) * stacks
        width, form = channels[0], BlockForm(norm=norm)
        self.stem = nn.Sequential(
            ConvNormAct(3, width // 2, 7, stride=2, padding=3, norm=norm),
            make_stage(BasicBlock, width // 2, width, stride=2, form=form, dilations=(1,)),
        )
        self.hourglass_modules = nn.ModuleList(Hourglass(channels, blocks, form) for _ in range(stacks))
        self.out_convs = nn.ModuleList(
            ConvNormAct(width, map_channels, 3, padding=1, norm=norm) for _ in range(stacks)
        )
        # From one module to the next. Published files have a block there even where there is but one module.
        self.inters = make_stage(
            BasicBlock, width, width, stride=1, form=form, dilations=(1,) * max(stacks - 1, 1)
        )
        self.conv1x1s = nn.ModuleList(
            ConvNormAct(width, width, 1, norm=norm, act=None) for _ in range(stacks - 1)
        )
        self.remap_convs = nn.ModuleList(
            ConvNormAct(map_channels, width, 1, norm=norm, act=None) for _ in range(stacks - 1)
        )
        self.start(weights, frozen=() if stacks > 1 else ("inters",))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(N, 3, H, W) -> the map of each module, (N, map_channels, ceil(H / 4), ceil(W / 4))."""
        x = self.stem(x)
        maps = [self.out_convs[0](self.hourglass_modules[0](x))]
        joints = zip(self.conv1x1s, self.remap_convs, self.inters.children())
        later = zip(self.hourglass_modules[1:], self.out_convs[1:])
        for (keep, remap, inter), (module, out_conv) in zip(joints, later):
            x = inter((keep(x) + remap(maps[-1])).relu())
            maps.append(out_conv(module(x)))
        return tuple(maps)


class Hourglass(nn.Module):
    """Residual blocks at full size beside the same at half size, which holds an hourglass in its turn.

    Args:
        channels: of each size, from this one down.
        blocks: residual blocks of each.
        form: of the blocks.
    """

    def __init__(self, channels: tuple[int, ...], blocks: tuple[int, ...], form: BlockForm) -> None:
        super().__init__()
        here, below = channels[:2]
        each = (1,) * blocks[0]
        self.up1 = make_stage(BasicBlock, here, here, stride=1, form=form, dilations=each)
        self.low1 = make_stage(BasicBlock, here, below, stride=2, form=form, dilations=each)
        if len(channels) > 2:
            self.low2 = Hourglass(channels[1:], blocks[1:], form)
        else:
            self.low2 = make_stage(BasicBlock, below, below, stride=1, form=form, dilations=(1,) * blocks[1])
        # The last block has the shortcut here.
        self.low3 = nn.Sequential(
            *make_stage(BasicBlock, below, below, stride=1, form=form, dilations=each[1:]),
            *make_stage(BasicBlock, below, here, stride=1, form=form, dilations=each[:1]),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels[0], H, W) -> the same."""
        low = self.low3(self.low2(self.low1(x)))
        full = self.up1(x)
        return full + F.interpolate(low, size=full.shape[-2:], mode="nearest")
