"""ResNet (He et al., Deep Residual Learning for Image Recognition, 2015)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from omma.backbones.base import Backbone
from omma.backbones.extras import Deform, Plugin
from omma.layers import ContextBlock, DeformConv2d, NormKind, make_norm, norm_name
from omma.registry import register

Style = Literal["pytorch", "caffe"]
"""Which convolution of a bottleneck has the stride: the 3x3 (pytorch) or the first 1x1 (caffe)."""


@register
class ResNet(Backbone):
    """Four stages of residual blocks at strides 4, 8, 16, 32.

    Parameter names are torchvision's and OpenMMLab's (``layer1.0.bn1.weight``; with
    group norm ``layer1.0.gn1.weight``).

    Args:
        depth: number of layers.
        style: position of a bottleneck's stride.
        norm: kind of the norm layers.
        norm_eval: keep batch norm on its stored statistics during training too (small batches).
        norm_frozen: leave the weights and biases of batch norm as they are, as caffe-style recipes do.
        frozen_stages: -1 trains all; 0 freezes the stem; k freezes the stem and stages 1..k.
        out_indices: stages to return, 0 is the first.
        stage_strides: stride of each stage's first block; the stem has 4.
        dilations: of the 3x3 convolutions of each stage; with a stride of 1 in place of 2, a dilation of 2
            keeps the field of view.
        zero_init_residual: start each block as the identity.
        deform: stages of bottlenecks with deformable convolutions; null: none.
        plugins: further modules in the bottlenecks of chosen stages.
        weights: initial weights, ``torchvision://resnet50`` or a file; null: random.

    Raises:
        ValueError: an argument is out of its range.
        WeightsError: ``weights`` isn't there or isn't of this network.
    """

    def __init__(
        self,
        *,
        depth: Literal[18, 34, 50, 101, 152],
        style: Style = "pytorch",
        norm: NormKind = "bn",
        norm_eval: bool = True,
        norm_frozen: bool = False,
        frozen_stages: int = -1,
        out_indices: tuple[int, ...] = (0, 1, 2, 3),
        stage_strides: tuple[int, int, int, int] = (1, 2, 2, 2),
        dilations: tuple[int, int, int, int] = (1, 1, 1, 1),
        zero_init_residual: bool = False,
        deform: Deform | None = None,
        plugins: tuple[Plugin, ...] = (),
        weights: str | None = None,
    ) -> None:
        super().__init__()
        if depth not in _ARCHITECTURES:
            raise ValueError(f"depth must be one of {', '.join(map(str, _ARCHITECTURES))}, got {depth}")
        if not -1 <= frozen_stages <= 4:
            raise ValueError(f"frozen_stages must be in -1..4, got {frozen_stages}")
        if (
            not out_indices
            or not set(out_indices) <= {0, 1, 2, 3}
            or sorted(set(out_indices)) != [*out_indices]
        ):
            raise ValueError(f"out_indices must be some of 0, 1, 2, 3 in rising order, got {out_indices}")
        block, blocks = _ARCHITECTURES[depth]
        if block is BasicBlock and (deform or plugins):
            raise ValueError(f"deform and plugins need bottlenecks: depth 50, 101 or 152, got {depth}")
        self.norm_eval = norm_eval
        self.norm_frozen = norm_frozen
        self.frozen_stages = frozen_stages
        self.out_indices = out_indices
        self.out_channels = tuple(64 * 2**i * block.expansion for i in out_indices)
        self.strides = tuple(4 * math.prod(stage_strides[: i + 1]) for i in out_indices)
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.stem_norm = f"{norm_name(norm)}1"
        self.add_module(self.stem_norm, make_norm(norm, 64))
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        channels = 64
        for i in range(max(out_indices) + 1):
            form = BlockForm(
                style=style,
                norm=norm,
                dilation=dilations[i],
                deform=deform if deform and i in deform.stages else None,
                plugins=tuple(each for each in plugins if i in each.stages),
            )
            stage = _stage(block, blocks[i], channels, 64 * 2**i, stage_strides[i], form)
            self.add_module(f"layer{i + 1}", stage)
            channels = 64 * 2**i * block.expansion
        self._initialise(zero_init_residual)
        if weights is not None:
            from omma.checkpoint.pretrained import load_pretrained

            load_pretrained(self, weights)
        self._freeze()

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(N, 3, H, W) -> one map per entry of ``out_indices``."""
        x = self.maxpool(self.relu(getattr(self, self.stem_norm)(self.conv1(x))))
        maps = []
        for i in range(max(self.out_indices) + 1):
            x = getattr(self, f"layer{i + 1}")(x)
            if i in self.out_indices:
                maps.append(x)
        return tuple(maps)

    def train(self, mode: bool = True) -> ResNet:
        """As ``nn.Module.train``, except that frozen stages and, on wish, batch norm stay in eval mode."""
        super().train(mode)
        for frozen in self._frozen():
            frozen.eval()
        if mode and self.norm_eval:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self

    def _frozen(self) -> list[nn.Module]:
        if self.frozen_stages < 0:
            return []
        last = min(self.frozen_stages, max(self.out_indices) + 1)
        names = ["conv1", self.stem_norm, *(f"layer{i}" for i in range(1, last + 1))]
        return [self.get_submodule(name) for name in names]

    def _freeze(self) -> None:
        for module in self._frozen():
            module.eval().requires_grad_(False)
        if self.norm_frozen:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.requires_grad_(False)

    def _initialise(self, zero_init_residual: bool) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif zero_init_residual and isinstance(module, BasicBlock | Bottleneck):
                nn.init.zeros_(module.get_parameter(f"{module.norms[-1]}.weight"))
        for module in self.modules():
            if isinstance(module, DeformConv2d | ContextBlock):
                module.reset_parameters()


@dataclass(frozen=True)
class BlockForm:
    """What the blocks of a stage have in common."""

    style: Style
    norm: NormKind
    dilation: int
    deform: Deform | None = None
    plugins: tuple[Plugin, ...] = ()


def _stage(
    block: type[BasicBlock] | type[Bottleneck],
    count: int,
    in_channels: int,
    width: int,
    stride: int,
    form: BlockForm,
) -> nn.Sequential:
    out_channels = width * block.expansion
    shortcut = None
    if stride != 1 or in_channels != out_channels:
        conv = nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)
        shortcut = nn.Sequential(conv, make_norm(form.norm, out_channels))
    first = block(in_channels, width, stride=stride, form=form, downsample=shortcut)
    rest = (block(out_channels, width, stride=1, form=form, downsample=None) for _ in range(1, count))
    return nn.Sequential(first, *rest)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut."""

    expansion = 1

    def __init__(
        self, in_channels: int, width: int, *, stride: int, form: BlockForm, downsample: nn.Module | None
    ) -> None:
        super().__init__()
        d = form.dilation
        self.norms = tuple(f"{norm_name(form.norm)}{i}" for i in (1, 2))
        self.conv1 = nn.Conv2d(in_channels, width, 3, stride, padding=d, dilation=d, bias=False)
        self.add_module(self.norms[0], make_norm(form.norm, width))
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.add_module(self.norms[1], make_norm(form.norm, width))
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, width, H / stride, W / stride)."""
        norm1, norm2 = (getattr(self, name) for name in self.norms)
        out = self.relu(norm1(self.conv1(x)))
        out = norm2(self.conv2(out))
        return self.relu(out + (x if self.downsample is None else self.downsample(x)))


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions beside a shortcut; the last has four times the width."""

    expansion = 4

    def __init__(
        self, in_channels: int, width: int, *, stride: int, form: BlockForm, downsample: nn.Module | None
    ) -> None:
        super().__init__()
        first, second = (stride, 1) if form.style == "caffe" else (1, stride)
        d = form.dilation
        self.norms = tuple(f"{norm_name(form.norm)}{i}" for i in (1, 2, 3))
        self.conv1 = nn.Conv2d(in_channels, width, 1, first, bias=False)
        self.add_module(self.norms[0], make_norm(form.norm, width))
        self.conv2 = (
            form.deform.make(width, second, d, groups=1)
            if form.deform
            else nn.Conv2d(width, width, 3, second, padding=d, dilation=d, bias=False)
        )
        self.add_module(self.norms[1], make_norm(form.norm, width))
        self.conv3 = nn.Conv2d(width, width * self.expansion, 1, bias=False)
        self.add_module(self.norms[2], make_norm(form.norm, width * self.expansion))
        self.plugins = tuple(plugin.name for plugin in form.plugins)
        for plugin in form.plugins:
            self.add_module(plugin.name, plugin.make(width * self.expansion))
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, 4 * width, H / stride, W / stride)."""
        norm1, norm2, norm3 = (getattr(self, name) for name in self.norms)
        out = self.relu(norm1(self.conv1(x)))
        out = self.relu(norm2(self.conv2(out)))
        out = norm3(self.conv3(out))
        for name in self.plugins:
            out = getattr(self, name)(out)
        return self.relu(out + (x if self.downsample is None else self.downsample(x)))


_ARCHITECTURES: dict[int, tuple[type[BasicBlock] | type[Bottleneck], tuple[int, int, int, int]]] = {
    18: (BasicBlock, (2, 2, 2, 2)),
    34: (BasicBlock, (3, 4, 6, 3)),
    50: (Bottleneck, (3, 4, 6, 3)),
    101: (Bottleneck, (3, 4, 23, 3)),
    152: (Bottleneck, (3, 8, 36, 3)),
}
