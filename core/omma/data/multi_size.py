"""Batches whose size changes in the course of a run (Redmon and Farhadi, YOLO9000, 2016)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from omma.data.transforms.base import canvas
from omma.data.transforms.resize import resize
from omma.structures import Sample


@dataclass(kw_only=True, frozen=True)
class MultiSize:
    """Brings all samples of a batch to a size that is drawn anew every few batches.

    The size is a function of the seed and the batch's number: the same on all processes, and after a resume.
    The first batches stay as they are.

    Raises:
        ValueError: the sides are no rising multiples of the divisor, or a number isn't positive.
    """

    low: int
    """Smallest height of a batch, pixels; the width follows from the shape of the batch."""
    high: int
    """Largest height."""
    divisor: int = 32
    """Heights and widths are multiples of this."""
    every: int = 10
    """Batches of one size."""

    def __post_init__(self) -> None:
        if min(self.divisor, self.every) < 1 or not self.divisor <= self.low <= self.high:
            raise ValueError(
                "need every and divisor of at least 1, and divisor <= low <= high, got "
                f"{self.every}, {self.divisor}, {self.low}, {self.high}"
            )
        if self.low % self.divisor or self.high % self.divisor:
            raise ValueError(f"low and high must be multiples of {self.divisor}, got {self.low}, {self.high}")

    def size(self, height: int, width: int, *, batch: int, seed: int) -> tuple[int, int]:
        """(H, W) that batch number ``batch``, of at most ``height`` and ``width``, is brought to."""
        turn = batch // self.every
        if turn == 0:
            return height, width
        draw = np.random.default_rng((seed, turn, 2))
        units = int(draw.integers(self.low // self.divisor, self.high // self.divisor + 1))
        return units * self.divisor, max(1, int(units * width / height)) * self.divisor

    def apply(self, samples: Sequence[Sample], *, batch: int, seed: int) -> list[Sample]:
        """The samples of batch number ``batch``, each resized as the whole batch is."""
        sizes = [canvas(sample) for sample in samples]
        height, width = (max(sides) for sides in zip(*sizes))
        target = self.size(height, width, batch=batch, seed=seed)
        y, x = target[0] / height, target[1] / width
        return [resize(s, max(1, round(h * y)), max(1, round(w * x))) for s, (h, w) in zip(samples, sizes)]
