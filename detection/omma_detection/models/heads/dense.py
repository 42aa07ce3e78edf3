"""The contract of heads that predict at every position of a pyramid."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from omma.structures import Batch, Prediction


class DenseHead(nn.Module, ABC):
    """Raw maps, their loss, and the boxes that they say."""

    in_channels: int
    """Channels of every level that comes in."""
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


def check_levels(out_channels: Sequence[int], head: DenseHead) -> None:
    """Whether a pyramid's levels are those that the head expects.

    Raises:
        ValueError: another number of levels, or other channels.
    """
    if len(out_channels) != len(head.strides):
        raise ValueError(f"the neck gives {len(out_channels)} levels, the head has strides {head.strides}")
    if set(out_channels) != {head.in_channels}:
        raise ValueError(f"the neck gives {out_channels[0]} channels, the head expects {head.in_channels}")
