"""The contract of every neck."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Protocol

from torch import Tensor, nn


class Neck(nn.Module, ABC):
    """From a backbone's feature maps to those that heads take."""

    in_channels: tuple[int, ...]
    """Channels of each map that comes in; must equal the backbone's."""
    out_channels: tuple[int, ...]
    """Channels of each map that goes out."""

    @abstractmethod
    def out_strides(self, strides: tuple[int, ...]) -> tuple[int, ...]:
        """Input pixels per pixel of each map that goes out, from those of the maps that come in."""

    @abstractmethod
    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Maps (N, C_i, H_i, W_i), fine to coarse, to maps of ``out_channels``."""


class _Channels(Protocol):
    """A neck on maps of images, or of clips."""

    in_channels: tuple[int, ...]
    out_channels: tuple[int, ...]


def channels_behind(neck: _Channels | None, channels: Sequence[int]) -> tuple[int, ...]:
    """Channels of the maps that heads get of a backbone's maps of these ``channels``; null: there is no neck.

    Raises:
        ValueError: the neck takes other channels.
    """
    if neck is None:
        return tuple(channels)
    if tuple(neck.in_channels) != tuple(channels):
        raise ValueError(
            f"neck.in_channels {list(neck.in_channels)} are not those of the backbone, {list(channels)}"
        )
    return neck.out_channels
