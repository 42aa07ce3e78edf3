"""The contract of heads that find the key points of one object."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from omma_pose.codecs import Codec


class PoseHead(nn.Module, ABC):
    """From feature maps to the outputs that a codec decodes.

    Args:
        num_keypoints: K.
        in_channels: channels of the map that the head takes.
        in_index: which map that is.
        codec: between key points and outputs.

    Raises:
        ValueError: there is no key point.
    """

    def __init__(self, *, num_keypoints: int, in_channels: int, in_index: int = -1, codec: Codec) -> None:
        super().__init__()
        if num_keypoints < 1:
            raise ValueError(f"num_keypoints must be at least 1, got {num_keypoints}")
        self.num_keypoints, self.in_channels, self.in_index = num_keypoints, in_channels, in_index
        self.codec = codec

    @abstractmethod
    def forward(self, maps: Sequence[Tensor]) -> Any:
        """Raw outputs of N objects: a tensor, or a tuple of them."""

    @abstractmethod
    def loss(self, outputs: Any, keypoints: Tensor, visible: Tensor) -> dict[str, Tensor]:
        """Named scalar losses.

        Args:
            outputs: of ``forward``.
            keypoints: (N, K, 2) pixels of the input, whole numbers at centres.
            visible: (N, K) 0 where a key point isn't labelled, elsewhere how much it counts, usually 1.
        """

    def decode(self, outputs: Any) -> tuple[Tensor, Tensor]:
        """Key points (N, K, 2) in pixels of the input and their scores (N, K)."""
        return self.codec.decode(outputs)

    def upright(self, outputs: Any, order: Tensor) -> Any:
        """Outputs on mirrored images as if they were on the images themselves; see ``Codec.upright``."""
        return self.codec.upright(outputs, order)

    def merge(self, outputs: Any, mirrored: Any, order: Tensor) -> Any:
        """The mean of outputs on images and on their mirror images; ``order`` as in ``Codec.upright``."""
        return mean_of(outputs, self.upright(mirrored, order))

    def check_outputs(self, outputs: Tensor, target: Tensor) -> None:
        """Whether the network gives what the codec asks for.

        Raises:
            ValueError: its outputs have another shape.
        """
        if outputs.shape != target.shape:
            raise ValueError(
                f"the network gives {tuple(outputs.shape)} and the codec {tuple(target.shape)}; the sizes of "
                "the codec must fit the network and its input"
            )

    def check_maps(self, channels: Sequence[int]) -> None:
        """Whether the head fits maps of these ``channels``.

        Raises:
            ValueError: it takes a map that isn't there or has other channels.
        """
        if not -len(channels) <= self.in_index < len(channels):
            raise ValueError(f"the head takes map {self.in_index}, but there are {len(channels)}")
        if channels[self.in_index] != self.in_channels:
            raise ValueError(
                f"in_channels of the head says {self.in_channels} for map {self.in_index}, which has "
                f"{channels[self.in_index]} channels; the maps have {list(channels)}"
            )


def mean_of(a: Any, b: Any) -> Any:
    """The mean of two tensors, or of each pair in two tuples of them."""
    if isinstance(a, torch.Tensor):
        return (a + b) / 2
    return tuple(mean_of(x, y) for x, y in zip(a, b, strict=True))
