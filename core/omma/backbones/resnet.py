"""ResNet (He et al., Deep Residual Learning for Image Recognition, 2015) and its close variants."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal

from torch import Tensor, nn

from omma.backbones.base import Pretrained
from omma.backbones.extras import Deform, Plugin
from omma.backbones.residual import (
    BasicBlock,
    BlockForm,
    Bottleneck,
    BrickBasicBlock,
    BrickBottleneck,
    ResidualBlock,
    ResidualNet,
    Style,
    make_stage,
)
from omma.layers import NormKind
from omma.registry import register

Depth = Literal[18, 34, 50, 101, 152]


@register
class ResNet(ResidualNet):
    """Four stages of residual blocks at strides 4, 8, 16, 32.

    With ``groups`` it is ResNeXt (Xie et al., 2016), with ``deep_stem`` and ``avg_down`` ResNet-C and -D (He
    et al., Bag of Tricks, 2018). Parameter names are torchvision's and OpenMMLab's (``layer1.0.bn1.weight``;
    with group norm ``layer1.0.gn1.weight``).

    Args:
        depth: number of layers.
        base_channels: width of the stem and of the first stage's convolutions.
        style: position of a bottleneck's stride.
        groups: of the 3x3 convolutions of bottlenecks.
        width_per_group: their channels per group in the first stage; it doubles with each stage.
        deep_stem: three 3x3 convolutions in place of the 7x7 one.
        stem_bricks: call the layers of a deep stem ``stem.0.conv``, ``stem.0.bn`` ..., as checkpoints of pose
            and of mmpretrain do, in place of ``stem.0``, ``stem.1`` ... (detection and segmentation).
        bricks: call the layers ``conv1.conv``, ``conv1.bn``, ``downsample.conv`` ..., as checkpoints of
            videos do, in place of ``conv1``, ``bn1``, ``downsample.0`` ...; plain networks only.
        avg_down: average in shortcuts in place of a stride.
        norm: kind of the norm layers.
        norm_eval: keep batch norm on its stored statistics during training too (small batches).
        norm_frozen: leave the weights and biases of batch norm as they are, as caffe-style recipes do.
        partial_norm: freeze all batch norms but the first, as recipes of videos do.
        frozen_stages: -1 trains all; 0 freezes the stem; k freezes the stem and stages 1..k.
        out_indices: stages to return, 0 is the first.
        stage_strides: stride of each stage's first block; the stem has 4.
        dilations: of the 3x3 convolutions of each stage; with a stride of 1 in place of 2, a dilation of 2
            keeps the field of view.
        contract_dilation: halve the dilation in the first block of each dilated stage.
        multi_grid: dilation of each block of the last stage, in place of ``dilations``.
        zero_init_residual: start each block as the identity.
        deform: stages of bottlenecks with deformable convolutions; null: none.
        plugins: further modules in the bottlenecks of chosen stages.
        recompute: run each block again in the backward pass instead of keeping what it computed.
        weights: initial weights, ``torchvision://resnet50`` or a file; null: random.

    Raises:
        ValueError: an argument is out of its range.
        WeightsError: ``weights`` isn't there or isn't of this network.
    """

    def __init__(
        self,
        *,
        depth: Depth,
        base_channels: int = 64,
        style: Style = "pytorch",
        groups: int = 1,
        width_per_group: int = 64,
        deep_stem: bool = False,
        stem_bricks: bool = False,
        bricks: bool = False,
        avg_down: bool = False,
        norm: NormKind = "bn",
        norm_eval: bool = True,
        norm_frozen: bool = False,
        partial_norm: bool = False,
        frozen_stages: int = -1,
        out_indices: tuple[int, ...] = (0, 1, 2, 3),
        stage_strides: tuple[int, int, int, int] = (1, 2, 2, 2),
        dilations: tuple[int, int, int, int] = (1, 1, 1, 1),
        contract_dilation: bool = False,
        multi_grid: tuple[int, ...] | None = None,
        zero_init_residual: bool = False,
        deform: Deform | None = None,
        plugins: tuple[Plugin, ...] = (),
        recompute: bool = False,
        weights: str | None = None,
    ) -> None:
        super().__init__()
        block, blocks = architecture(depth)
        grouped = groups != 1 or width_per_group != 64
        if block is BasicBlock and (deform or plugins or grouped):
            needy = "deform, plugins and groups need bottlenecks"
            raise ValueError(f"{needy}: depth 50, 101 or 152, got {depth}")
        if bricks and (deform or plugins or avg_down or deep_stem):
            raise ValueError("bricks are of plain networks, without deform, plugins, avg_down and deep_stem")
        if multi_grid is not None and len(multi_grid) != blocks[3]:
            raise ValueError(f"multi_grid needs {blocks[3]} dilations, one per block, got {multi_grid}")
        widths = [base_channels * 2**i * block.expansion for i in range(4)]
        self.declare(out_indices, widths, (4, *stage_strides), frozen_stages)
        self.norm_eval = norm_eval
        self.recompute = recompute
        self.bricks = bricks
        self.add_stem(base_channels, norm, deep=deep_stem, bricks=stem_bricks or bricks)
        kind: type[ResidualBlock] = _BRICKS[block] if bricks else block
        channels = base_channels
        for i in range(max(out_indices) + 1):
            form = BlockForm(
                style=style,
                norm=norm,
                groups=groups,
                width_per_group=width_per_group,
                avg_down=avg_down,
                deform=deform if deform and i in deform.stages else None,
                plugins=tuple(each for each in plugins if i in each.stages),
                bricks=bricks,
            )
            grid = spread(dilations[i], blocks[i], contract=contract_dilation)
            if multi_grid is not None and i == 3:
                grid = multi_grid
            stride = stage_strides[i]
            stage = make_stage(kind, channels, base_channels * 2**i, stride=stride, form=form, dilations=grid)
            self.add_module(f"layer{i + 1}", stage)
            channels = widths[i]
        self.finish(
            zero_init_residual=zero_init_residual,
            frozen_stages=frozen_stages,
            norm_frozen=norm_frozen,
            weights=weights,
            partial_norm=partial_norm,
        )

    def own_names(self, names: Iterable[str]) -> dict[str, str]:
        """Names of the usual layers to those of bricks, where it is made of them."""
        return {name: brick_name(name) for name in names} if self.bricks else {}


def brick_name(name: str) -> str:
    """What a parameter of a ResNet (``layer1.0.bn2.weight``) is called in one of bricks."""
    name = re.sub(r"\bconv(\d)\.(?=weight|bias)", r"conv\1.conv.", name)
    name = re.sub(r"\b(bn|gn)(\d)\.", r"conv\2.\1.", name)
    return re.sub(r"\bdownsample\.([01])\.", lambda m: f"downsample.{('conv', 'bn')[int(m[1])]}.", name)


@register
class ResNetStage(Pretrained):
    """One stage of a ResNet by itself, as the head of a detector that pools the map before it (C4).

    Args:
        depth: of the network that it is a stage of.
        stage: 0 is the first.
        stride: of its first block.
        dilation: of its 3x3 convolutions.
        style: position of a bottleneck's stride.
        norm: kind of the norm layers.
        norm_eval: keep batch norm on its stored statistics during training too.
        norm_frozen: leave the weights and biases of batch norm as they are.
        weights: initial weights, a file of the whole network or ``publisher://name``; null: random.

    Raises:
        ValueError: there is no such network or stage.
        WeightsError: ``weights`` isn't there or isn't of this network.
    """

    def __init__(
        self,
        *,
        depth: Depth = 50,
        stage: int = 3,
        stride: int = 2,
        dilation: int = 1,
        style: Style = "pytorch",
        norm: NormKind = "bn",
        norm_eval: bool = True,
        norm_frozen: bool = False,
        weights: str | None = None,
    ) -> None:
        super().__init__()
        block, blocks = architecture(depth)
        if not 0 <= stage <= 3:
            raise ValueError(f"stage must be in 0..3, got {stage}")
        self.norm_eval = norm_eval
        self.name = f"layer{stage + 1}"
        self.in_channels = 64 if stage == 0 else 64 * 2 ** (stage - 1) * block.expansion
        self.out_channels = 64 * 2**stage * block.expansion
        self.stride = stride
        form = BlockForm(style=style, norm=norm)
        grid = spread(dilation, blocks[stage], contract=False)
        layer = make_stage(block, self.in_channels, 64 * 2**stage, stride=stride, form=form, dilations=grid)
        self.add_module(self.name, layer)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        self.start(weights, norm_frozen=norm_frozen)

    def forward(self, x: Tensor) -> Tensor:
        """(R, in_channels, S, S) -> (R, out_channels, S / stride, S / stride)."""
        return getattr(self, self.name)(x)


def architecture(depth: int) -> tuple[type[BasicBlock] | type[Bottleneck], tuple[int, int, int, int]]:
    """Kind of block and blocks of each stage.

    Raises:
        ValueError: there is no ResNet of this depth.
    """
    if depth not in _ARCHITECTURES:
        raise ValueError(f"depth must be one of {', '.join(map(str, _ARCHITECTURES))}, got {depth}")
    return _ARCHITECTURES[depth]


def spread(dilation: int, blocks: int, *, contract: bool) -> tuple[int, ...]:
    """The dilation of each block of a stage; with ``contract``, half of it in the first."""
    first = dilation // 2 if contract and dilation > 1 else dilation
    return (first, *(dilation,) * (blocks - 1))


_ARCHITECTURES: dict[int, tuple[type[BasicBlock] | type[Bottleneck], tuple[int, int, int, int]]] = {
    18: (BasicBlock, (2, 2, 2, 2)),
    34: (BasicBlock, (3, 4, 6, 3)),
    50: (Bottleneck, (3, 4, 6, 3)),
    101: (Bottleneck, (3, 4, 23, 3)),
    152: (Bottleneck, (3, 8, 36, 3)),
}

_BRICKS: dict[type, type[ResidualBlock]] = {BasicBlock: BrickBasicBlock, Bottleneck: BrickBottleneck}
