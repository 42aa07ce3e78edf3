"""The contract of heads that predict at every position of a pyramid."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from torch import Tensor, nn

from omma.backbones import Backbone
from omma.layers import Activation, ConvNormAct, DeformVersion, NormKind
from omma.necks import Neck, channels_behind
from omma.structures import Batch, Prediction


class DenseHead(nn.Module, ABC):
    """Raw maps, their loss, and the boxes that they say."""

    in_channels: int | tuple[int, ...]
    """Channels of every level that comes in, or of each."""
    strides: tuple[int, ...]
    """Input pixels per position, one per level."""
    num_classes: int

    @abstractmethod
    def forward(self, maps: Sequence[Tensor]) -> Any:
        """Raw output maps for the levels (N, C, H_i, W_i)."""

    @abstractmethod
    def loss(self, outputs: Any, batch: Batch) -> dict[str, Tensor]:
        """Named, weighted losses of what ``forward`` gave."""

    @abstractmethod
    def predict(self, outputs: Any, batch: Batch) -> list[Prediction]:
        """Predictions in original pixels from what ``forward`` gave."""


def conv_tower(
    in_channels: int,
    channels: int,
    count: int,
    *,
    norm: NormKind | None,
    bias: bool | None = None,
    deform: Mapping[int, DeformVersion] | None = None,
    deform_groups: int = 1,
    act: Activation = "relu",
) -> nn.Sequential:
    """``count`` 3x3 convolutions of ``channels`` maps, each with norm and activation; 0 is the identity.

    ``deform`` says which of them, 0 the first, are deformable, and how.

    Raises:
        ValueError: there is none, or fewer, and the widths differ.
    """
    if count < 0 or (count == 0 and in_channels != channels):
        raise ValueError(f"{count} convolutions can't make {channels} channels of {in_channels}")
    widths = (in_channels, *(channels,) * count)
    kinds = deform or {}
    return nn.Sequential(
        *(
            ConvNormAct(
                a,
                b,
                3,
                padding=1,
                bias=bias,
                norm=norm,
                act=act,
                deform=kinds.get(i),
                deform_groups=deform_groups if i in kinds else 1,
            )
            for i, (a, b) in enumerate(pairwise(widths))
        )
    )


def shared_towers(
    in_channels: int,
    channels: int,
    count: int,
    *,
    norm: NormKind | None,
    towers: int,
    act: Activation = "relu",
) -> nn.ModuleList:
    """Towers of convolutions that share their weights and have norms of their own.

    The weights have one name in each tower, as in OpenMMLab's checkpoints.
    """
    made = [conv_tower(in_channels, channels, count, norm=norm, act=act) for _ in range(towers)]
    for tower in made[1:]:
        for first, other in zip(made[0].children(), tower.children()):
            other.conv = first.conv
    return nn.ModuleList(made)


def map_sizes(maps: Sequence[Tensor]) -> list[tuple[int, int]]:
    """(H, W) of each level."""
    return [(m.shape[-2], m.shape[-1]) for m in maps]


def check_parts(backbone: Backbone, neck: Neck | None) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Channels and strides of the pyramid that backbone and neck make together.

    Raises:
        ValueError: the neck takes other channels than the backbone gives.
    """
    channels = channels_behind(neck, backbone.out_channels)
    return channels, backbone.strides if neck is None else neck.out_strides(backbone.strides)


def check_levels(
    channels: Sequence[int],
    strides: Sequence[int],
    *,
    name: str,
    head_channels: int | Sequence[int],
    head_strides: Sequence[int],
) -> None:
    """Whether a pyramid's levels are those that a head expects; ``name`` is the head's, for the message.

    Raises:
        ValueError: other channels or strides.
    """
    expected = (head_channels,) * len(channels) if isinstance(head_channels, int) else tuple(head_channels)
    if tuple(channels) != expected:
        raise ValueError(f"the pyramid has channels {tuple(channels)}, {name}.in_channels is {head_channels}")
    if tuple(strides) != tuple(head_strides):
        raise ValueError(
            f"the pyramid has strides {tuple(strides)}, those of {name} are {tuple(head_strides)}"
        )
