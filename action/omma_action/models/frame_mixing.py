"""What lets frames see each other in a network for images, and how it gets into one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import ClassVar

from torch import Tensor, nn

from omma.backbones import Backbone, ResNet
from omma.backbones.residual import BrickBasicBlock, BrickBottleneck
from omma.layers import ConvNormAct


class FrameMixing(ABC):
    """Put into a backbone after that is built and has its weights.

    Args:
        frames: T of a clip; they lie one after another along the first axis of a map, (B * T, C, H, W).

    Raises:
        ValueError: fewer than one frame.
    """

    def __init__(self, *, frames: int) -> None:
        if frames < 1:
            raise ValueError(f"frames must be at least 1, got {frames}")
        self.frames = frames

    @abstractmethod
    def put_into(self, backbone: Backbone) -> None:
        """Change ``backbone`` in place.

        Raises:
            ValueError: it is none of the networks that this is made for.
        """


class Around(nn.Module):
    """A module that has another one inside: its parameters are one step deeper than they were without."""

    inside: ClassVar[str]
    """Name of the other one."""

    def own_names(self, names: Iterable[str]) -> dict[str, str]:
        """Names of the module inside by itself to those that it has here."""
        children = dict(self.named_children())
        return {name: f"{self.inside}.{name}" for name in names if name.partition(".")[0] not in children}


def brick_stages(backbone: Backbone) -> list[nn.Sequential]:
    """The stages of a ResNet, each of blocks of bricks.

    Raises:
        ValueError: ``backbone`` is no ResNet of bricks.
    """
    if not isinstance(backbone, ResNet) or not backbone.bricks:
        raise ValueError(
            f"frames are mixed in a ResNet with bricks: true, got {type(backbone).__name__} without"
        )
    stages = [child for name, child in backbone.named_children() if name.startswith("layer")]
    return [stage for stage in stages if isinstance(stage, nn.Sequential)]


def wrap_first(block: nn.Module, wrap: Callable[[nn.Conv2d], nn.Module]) -> None:
    """Put what ``wrap`` makes of the first convolution of a block in its place.

    Raises:
        ValueError: ``block`` isn't of bricks, or that was done before.
    """
    first = block.conv1 if isinstance(block, BrickBasicBlock | BrickBottleneck) else block
    conv = first.conv if isinstance(first, ConvNormAct) else None
    if not isinstance(first, ConvNormAct) or not isinstance(conv, nn.Conv2d):
        raise ValueError(f"expected a block that begins with a convolution, got {type(block).__name__}")
    first.add_module("conv", wrap(conv))


def to_clips(x: Tensor, frames: int) -> Tensor:
    """Maps of frames (B * T, C, H, W) as (B, T, C, H, W)."""
    return x.unflatten(0, (-1, frames))
