"""The contract of every codec."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor


class Codec(ABC):
    """Turns key points into a network's targets, and its outputs into key points.

    Key points are (x, y) in pixels of the network's input, whole numbers at the centres of pixels: the first
    pixel's is at 0, the last one's at width - 1. All is batched and stays on its device.

    Args:
        input_size: (width, height) of the network's input, pixels.

    Raises:
        ValueError: a side is below 2.
    """

    unbiased: bool = False
    """How images must be cropped: see ``omma_pose.transforms.crop_matrix``."""

    def __init__(self, *, input_size: tuple[int, int]) -> None:
        if min(input_size) < 2:
            raise ValueError(f"input_size needs sides from 2 on, got {input_size}")
        self.input_size = input_size

    @abstractmethod
    def encode(self, keypoints: Tensor, visible: Tensor) -> tuple[Any, Tensor]:
        """The targets of N objects, and the weight of each key point.

        Args:
            keypoints: (N, K, 2) pixels of the input.
            visible: (N, K) 0 where a key point isn't labelled, elsewhere how much it counts, usually 1.

        Returns:
            Targets as the subclass says, and weights (N, K) float32: ``visible``, and 0 for key points that
            lie too far outside to be learned.
        """

    @abstractmethod
    def decode(self, outputs: Any) -> tuple[Tensor, Tensor]:
        """Key points (N, K, 2) in pixels of the input, and their scores (N, K), of a network's outputs."""

    @abstractmethod
    def upright(self, outputs: Any, order: Tensor) -> Any:
        """What a network says of mirrored images, as if it had said it of the images themselves.

        Args:
            outputs: as ``decode`` takes them.
            order: (K,) which key point stands in the place of each in a mirror.
        """
