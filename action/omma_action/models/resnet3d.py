"""ResNet over time and space, and the stages that its kin share.

One network, by its arguments: I3D (Carreira and Zisserman, 2017), SlowOnly (Feichtenhofer et al., 2018),
R(2+1)D (Tran et al., 2018), CSN (Tran et al., 2019), each with non-local blocks (Wang et al., 2017) on wish.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from omma.backbones.base import check_stages, run
from omma.layers import NormKind
from omma.registry import register
from omma_action.models.blocks3d import BLOCKS, Block3d, BlockForm3d, Bottleneck3d, Separation, TimeKernel
from omma_action.models.bricks import ConvKind, ConvNormAct3d, Triple, init_clips
from omma_action.models.clip_backbone import ClipBackbone
from omma_action.models.inflate import inflated
from omma_action.models.non_local3d import NonLocal3d, NonLocalForm

Depth = Literal[18, 34, 50, 101, 152]
PerBlock = tuple[int | tuple[int, ...], ...]
"""0 or 1 for each stage, or for each block of it."""
_BLOCKS: dict[int, tuple[int, ...]] = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}


@dataclass(frozen=True, kw_only=True)
class Lateral:
    """How a network takes in the maps of a faster one beside it (SlowFast)."""

    speed_ratio: int
    """Frames of the fast one for each of the slow one."""
    channel_ratio: int
    """Channels of the slow one for each of the fast one."""
    kernel: int
    """Frames that a lateral connection sees."""
    norm: NormKind | None = None
    """Of lateral connections, with an activation behind it; null: neither."""

    def make(self, channels: int) -> ConvNormAct3d:
        """From the fast one's map to what is put beside a map of ``channels``."""
        fast = channels // self.channel_ratio
        kernel, stride = (self.kernel, 1, 1), (self.speed_ratio, 1, 1)
        act = None if self.norm is None else "relu"
        return ConvNormAct3d(
            fast, self.added(channels), kernel, stride=stride, bias=False, norm=self.norm, act=act
        )

    def added(self, channels: int) -> int:
        """Channels that come beside a map of ``channels``."""
        return 2 * channels // self.channel_ratio


@register
class ResNet3d(ClipBackbone):
    """A stem and stages of residual blocks over (N, C, T, H, W).

    Parameter names are OpenMMLab's (``layer1.0.conv1.conv.weight``); files of ResNets for images are
    inflated.

    Args:
        depth: number of layers.
        stage_blocks: blocks of each stage; null: those of the depth.
        in_channels: of the clips.
        base_channels: of the stem; stages have 1, 2, 4, 8 times as many, in bottlenecks four times that.
        out_indices: stages to return, 0 is the first.
        conv1_kernel: of the stem: frames, pixels, pixels.
        conv1_stride, pool1_stride: (time, space) strides of the stem's convolution and pooling.
        pool2: halve the frames by a maximum after the first stage.
        spatial_strides, temporal_strides: of each stage's first block.
        inflate: which blocks see several frames.
        kernel: which convolution of a bottleneck does: the first (3x1x1) or the second (3x3x3).
        conv: kind of the convolutions.
        separation: make the second convolution of bottlenecks depthwise; null: don't.
        non_local: blocks that a non-local one follows.
        non_local_form: of that.
        lateral: how the maps of a faster network are taken in; null: there is none.
        norm: kind of the norm layers.
        norm_eval: keep batch norm on its stored statistics during training too.
        norm_frozen: leave the weights and biases of batch norm as they are.
        frozen_stages: -1 trains all; 0 freezes the stem; k freezes the stem and stages 1..k.
        zero_init_residual: start each block as the identity.
        recompute: run each block again in the backward pass instead of keeping what it computed.
        weights: initial weights, a file or ``publisher://name``; null: random.

    Raises:
        ValueError: an argument is out of its range.
        WeightsError: ``weights`` isn't there or isn't of this network.
    """

    def __init__(
        self,
        *,
        depth: Depth = 50,
        stage_blocks: tuple[int, ...] | None = None,
        in_channels: int = 3,
        base_channels: int = 64,
        out_indices: tuple[int, ...] = (3,),
        conv1_kernel: Triple = (5, 7, 7),
        conv1_stride: tuple[int, int] = (2, 2),
        pool1_stride: tuple[int, int] = (2, 2),
        pool2: bool = True,
        spatial_strides: tuple[int, ...] = (1, 2, 2, 2),
        temporal_strides: tuple[int, ...] = (1, 1, 1, 1),
        inflate: PerBlock = (1, 1, 1, 1),
        kernel: TimeKernel = "3x1x1",
        conv: ConvKind = "3d",
        separation: Separation | None = None,
        non_local: PerBlock = (0, 0, 0, 0),
        non_local_form: NonLocalForm | None = None,
        lateral: Lateral | None = None,
        norm: NormKind = "bn",
        norm_eval: bool = False,
        norm_frozen: bool = False,
        frozen_stages: int = -1,
        zero_init_residual: bool = False,
        recompute: bool = False,
        weights: str | None = None,
    ) -> None:
        super().__init__()
        if depth not in _BLOCKS:
            raise ValueError(f"depth must be one of {', '.join(map(str, _BLOCKS))}, got {depth}")
        blocks = _BLOCKS[depth] if stage_blocks is None else tuple(stage_blocks)
        stages = len(blocks)
        for name, value in (("spatial_strides", spatial_strides), ("temporal_strides", temporal_strides)):
            if len(value) != stages:
                raise ValueError(f"{name} must be {stages} numbers, one for each stage, got {value}")
        check_stages(out_indices, range(stages), frozen_stages, stages)
        block = BLOCKS[depth < 50]
        if separation is not None and block is not Bottleneck3d:
            raise ValueError(f"separation needs bottlenecks: depth 50, 101 or 152, got {depth}")
        self.out_indices, self.recompute, self.norm_eval = out_indices, recompute, norm_eval
        self.pool2 = nn.MaxPool3d((2, 1, 1)) if pool2 else nn.Identity()
        self._add_stem(in_channels, base_channels, conv1_kernel, conv1_stride, pool1_stride, norm, conv)
        self.laterals: list[str] = []
        channels = self._add_lateral("conv1_lateral", base_channels, lateral)
        form = BlockForm3d(norm=norm, conv=conv, kernel=kernel, separation=separation)
        widths = [base_channels * 2**i for i in range(stages)]
        self.stage_channels = tuple(width * block.expansion for width in widths)
        inflations = _per_block("inflate", inflate, blocks)
        attentions = _per_block("non_local", non_local, blocks)
        for i in range(max(out_indices) + 1):
            stride = (temporal_strides[i], spatial_strides[i], spatial_strides[i])
            stage = _make_stage(block, channels, widths[i], stride, form, inflations[i])
            self.add_module(f"layer{i + 1}", stage)
            for each, attends in zip(stage, attentions[i]):
                if attends:
                    each.non_local_block = (non_local_form or NonLocalForm()).make(self.stage_channels[i])
            channels = self.stage_channels[i]
            if i < stages - 1:
                channels = self._add_lateral(f"layer{i + 1}_lateral", channels, lateral)
        self.out_channels = tuple(self.stage_channels[i] for i in out_indices)
        self._finish(zero_init_residual, frozen_stages, norm_frozen, weights)

    def _add_stem(
        self,
        in_channels: int,
        channels: int,
        kernel: Triple,
        stride: tuple[int, int],
        pool_stride: tuple[int, int],
        norm: NormKind,
        conv: ConvKind,
    ) -> None:
        strides = (stride[0], stride[1], stride[1])
        self.conv1 = ConvNormAct3d(in_channels, channels, kernel, stride=strides, norm=norm, kind=conv)
        strides = (pool_stride[0], pool_stride[1], pool_stride[1])
        self.maxpool = nn.MaxPool3d((1, 3, 3), stride=strides, padding=(0, 1, 1))

    def _add_lateral(self, name: str, channels: int, lateral: Lateral | None) -> int:
        """A lateral connection to a map of ``channels``, and the channels that there are with it."""
        if lateral is None:
            return channels
        self.add_module(name, lateral.make(channels))
        self.laterals.append(name)
        return channels + lateral.added(channels)

    def _finish(
        self, zero_init_residual: bool, frozen_stages: int, norm_frozen: bool, weights: str | None
    ) -> None:
        attentions = {m for each in self.modules() if isinstance(each, NonLocal3d) for m in each.modules()}
        for module in self.modules():
            if isinstance(module, nn.Conv3d) and module not in attentions:
                init_clips(module)
            elif zero_init_residual and isinstance(module, Block3d):
                nn.init.zeros_(module.last_norm.get_parameter("weight"))
        frozen: list[str] = []
        if frozen_stages >= 0:
            last = min(frozen_stages, max(self.out_indices) + 1)
            frozen = ["conv1", *(f"layer{i}" for i in range(1, last + 1))]
            frozen += [name for name in self.laterals if name.removesuffix("_lateral") in frozen]
        self.start(weights, frozen=frozen, norm_frozen=norm_frozen)

    @property
    def added_names(self) -> tuple[str, ...]:
        """What the weights of a network for images lack."""
        return tuple(self.laterals)

    def own_state(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The weights of a ResNet for images, inflated; others as they are."""
        return inflated(state, self.state_dict())

    def stem(self, x: Tensor) -> Tensor:
        """What the stages take of clips (N, C, T, H, W)."""
        return self.maxpool(self.conv1(x))

    def stage(self, i: int, x: Tensor) -> Tensor:
        """The map of stage ``i`` from the one before."""
        x = run(self.get_submodule(f"layer{i + 1}").children(), x, recompute=self.recompute)
        return self.pool2(x) if i == 0 else x

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(N, C, T, H, W) -> one map per entry of ``out_indices``."""
        x = self.stem(x)
        maps = []
        for i in range(max(self.out_indices) + 1):
            x = self.stage(i, x)
            if i in self.out_indices:
                maps.append(x)
        return tuple(maps)


def _make_stage(
    block: type[Block3d],
    in_channels: int,
    width: int,
    stride: Triple,
    form: BlockForm3d,
    inflations: tuple[int, ...],
) -> nn.Sequential:
    blocks: list[nn.Module] = []
    for i, inflate in enumerate(inflations):
        step: Triple = stride if i == 0 else (1, 1, 1)
        blocks.append(block(in_channels, width, stride=step, form=form, inflate=bool(inflate)))
        in_channels = width * block.expansion
    return nn.Sequential(*blocks)


def _per_block(name: str, given: PerBlock, blocks: tuple[int, ...]) -> list[tuple[int, ...]]:
    """For each block of each stage what ``given`` says of it.

    Raises:
        ValueError: it says something else than it must.
    """
    rows = [(row,) * count if isinstance(row, int) else tuple(row) for row, count in zip(given, blocks)]
    if len(given) != len(blocks) or [len(row) for row in rows] != [*blocks]:
        raise ValueError(f"{name} must be 0 or 1 for each stage or block of {list(blocks)}, got {given}")
    return rows
