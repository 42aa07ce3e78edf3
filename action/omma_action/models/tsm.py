"""Temporal shift module (Lin et al., 2018): some channels of a frame come from its neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from torch import Tensor, nn

from omma.backbones import Backbone, MobileNetV2
from omma.backbones.mobilenet_v2 import InvertedResidual
from omma.ops import temporal_shift
from omma.registry import register
from omma_action.models.frame_mixing import Around, FrameMixing, brick_stages, to_clips, wrap_first
from omma_action.models.heads.class_head import ClassHead
from omma_action.models.non_local3d import NonLocal3d, NonLocalForm

_DEEP = 23
"""Of a ResNet whose third stage has so many blocks, each second one shifts."""


@register
class TemporalShift(FrameMixing):
    """Shifts the input of each block's first convolution.

    In a ResNet in all blocks (each second one of deep networks), in MobileNetV2 in those with a shortcut,
    where published weights have the convolution and its norm one step deeper.

    Args:
        frames: of a clip.
        divisor: one channel of so many comes from the next frame, as many from the one before.

    Raises:
        ValueError: ``divisor`` is below 2.
    """

    def __init__(self, *, frames: int, divisor: int = 8) -> None:
        super().__init__(frames=frames)
        if divisor < 2:
            raise ValueError(f"divisor must be at least 2, got {divisor}")
        self.divisor = divisor

    def put_into(self, backbone: Backbone) -> None:
        """See ``FrameMixing``."""
        wrap = partial(ShiftedConv, frames=self.frames, divisor=self.divisor)
        if isinstance(backbone, MobileNetV2):
            for parent, name in _mobile_firsts(backbone):
                parent.add_module(name, wrap(parent.get_submodule(name)))
            return
        for block in _blocks(backbone):
            wrap_first(block, wrap)


def _blocks(backbone: Backbone) -> list[nn.Module]:
    stages = brick_stages(backbone)
    step = 2 if len(stages) > 2 and len(stages[2]) >= _DEEP else 1
    return [block for stage in stages for block in list(stage)[::step]]


def _mobile_firsts(backbone: MobileNetV2) -> list[tuple[nn.Module, str]]:
    """Of each block with a shortcut: what its first layer lies in, and what it is called there."""
    blocks = [m for m in backbone.modules() if isinstance(m, InvertedResidual) and m.residual]
    layers: list[tuple[nn.Module, str]] = [(block, block.order[0]) for block in blocks]
    numbered = [(parent.get_submodule(name), "0") for parent, name in layers if name == "conv"]
    return numbered or layers


class ShiftedConv(Around):
    """A layer called ``net`` on shifted maps: (B * T, C, H, W) to what it makes of them."""

    inside = "net"

    def __init__(self, net: nn.Module, *, frames: int, divisor: int) -> None:
        super().__init__()
        self.net, self.frames, self.divisor = net, frames, divisor

    def forward(self, x: Tensor) -> Tensor:
        """(B * T, C, H, W) -> (B * T, C', H', W')."""
        shifted = temporal_shift(to_clips(x, self.frames), fold=x.shape[1] // self.divisor)
        return self.net(shifted.flatten(0, 1))


@register
class NonLocalFrames(FrameMixing):
    """Puts non-local blocks over all frames behind blocks of a ResNet.

    Args:
        frames: of a clip.
        blocks: 0 or 1 for each block of each stage.
        form: of the non-local blocks.
    """

    def __init__(self, *, frames: int, blocks: tuple[tuple[int, ...], ...], form: NonLocalForm) -> None:
        super().__init__(frames=frames)
        self.blocks, self.form = blocks, form

    def put_into(self, backbone: Backbone) -> None:
        """See ``FrameMixing``."""
        stages = brick_stages(backbone)
        if [len(row) for row in self.blocks] != [len(stage) for stage in stages]:
            counts = [len(stage) for stage in stages]
            raise ValueError(f"blocks must be 0 or 1 for each of {counts} blocks, got {self.blocks}")
        for stage, row in zip(stages, self.blocks):
            for i, attends in enumerate(row):
                if attends:
                    stage[i] = AttendedBlock(stage[i], frames=self.frames, form=self.form)


class AttendedBlock(Around):
    """A residual block, and a non-local one behind it: (B * T, C, H, W) to (B * T, C', H', W')."""

    inside = "block"
    added_names = ("non_local_block",)

    def __init__(self, block: nn.Module, *, frames: int, form: NonLocalForm) -> None:
        super().__init__()
        self.block, self.frames = block, frames
        channels = [m for m in block.modules() if isinstance(m, nn.BatchNorm2d)][-1].num_features
        self.non_local_block: NonLocal3d = form.make(channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B * T, C, H, W) -> (B * T, C', H', W')."""
        clips = to_clips(self.block(x), self.frames).transpose(1, 2)
        return self.non_local_block(clips).transpose(1, 2).flatten(0, 1)


@register
class TSMHead(ClassHead):
    """Classifies each frame; a clip's scores are the mean of its frames'.

    Args:
        num_classes, in_channels, dropout, init_std, loss, label_smoothing, average: as ``ClassHead``.
    """

    def forward(self, maps: Sequence[Tensor], clips: int) -> Tensor:
        """Scores (B, C)."""
        pooled = maps[-1].flatten(2).mean(dim=2)  # (B * T, C')
        return self.fc_cls(self.dropout(pooled)).unflatten(0, (clips, -1)).mean(dim=1)
