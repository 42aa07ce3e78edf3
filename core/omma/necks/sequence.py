"""Necks one behind the other."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor

from omma.necks.base import Neck
from omma.registry import register


@register
class NeckSequence(Neck):
    """Each neck takes the maps of the one before it. The children are called 0, 1, ..., as OpenMMLab's.

    Args:
        necks: in order.

    Raises:
        ValueError: there is none, or one takes other channels than the one before gives.
    """

    def __init__(self, *, necks: tuple[Neck, ...]) -> None:
        super().__init__()
        if not necks:
            raise ValueError("need at least one neck")
        for i, (first, second) in enumerate(pairwise(necks)):
            if tuple(first.out_channels) != tuple(second.in_channels):
                raise ValueError(
                    f"necks[{i}].out_channels is {tuple(first.out_channels)}, "
                    f"necks[{i + 1}].in_channels is {tuple(second.in_channels)}"
                )
        self.in_channels, self.out_channels = necks[0].in_channels, necks[-1].out_channels
        self.count = len(necks)
        for i, neck in enumerate(necks):
            self.add_module(str(i), neck)

    @property
    def necks(self) -> list[Neck]:
        """In order."""
        return [getattr(self, str(i)) for i in range(self.count)]

    def out_strides(self, strides: tuple[int, ...]) -> tuple[int, ...]:
        """Those of the last neck."""
        for neck in self.necks:
            strides = neck.out_strides(strides)
        return strides

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Maps (N, in_channels[i], H_i, W_i) -> those of the last neck."""
        for neck in self.necks:
            maps = neck(maps)
        return tuple(maps)
