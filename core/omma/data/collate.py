"""Samples to a batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from omma.structures import Batch, Sample


def collate(samples: Sequence[Sample]) -> Batch:
    """Images and the rest of each sample, side by side; nothing is padded or copied."""
    rest: list[Any] = [{key: value for key, value in sample.items() if key != "image"} for sample in samples]
    return Batch([sample["image"].as_subclass(Tensor) for sample in samples], rest)
