"""Samples to a batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor
from torchvision import tv_tensors

from omma.structures import Batch, Polygons, Sample


def collate(samples: Sequence[Sample]) -> Batch:
    """Images and the rest of each sample, side by side; nothing is padded or copied.

    tv_tensors become plain tensors, which cost models less per operation; outlines stay ``Polygons``.
    """
    rest: list[Any] = [
        {key: _plain(value) for key, value in sample.items() if key != "image"} for sample in samples
    ]
    return Batch([_plain(sample["image"]) for sample in samples], rest)


def _plain(value: Any) -> Any:
    if isinstance(value, tv_tensors.TVTensor) and not isinstance(value, Polygons):
        return value.as_subclass(Tensor)
    return value
