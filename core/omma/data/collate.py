"""Samples to a batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor
from torchvision import tv_tensors

from omma.structures import INPUT_KEYS, Batch, Polygons, Sample


def collate(samples: Sequence[Sample]) -> Batch:
    """What the network looks at, and the rest of each sample, side by side; nothing is padded or copied.

    tv_tensors become plain tensors, which cost models less per operation; outlines stay ``Polygons``.

    Raises:
        ValueError: a sample has no image, video, volume or skeleton.
    """
    seen: list[Tensor] = []
    rest: list[Any] = []
    for sample in samples:
        plain: dict[str, Any] = {key: _plain(value) for key, value in sample.items()}
        seen.append(plain.pop(_input_key(sample)))
        rest.append(plain)
    return Batch(seen, rest)


def _input_key(sample: Sample) -> str:
    for key in INPUT_KEYS:
        if key in sample:
            return key
    raise ValueError(f"a sample needs one of {', '.join(INPUT_KEYS)}; this one has {', '.join(sample)}")


def _plain(value: Any) -> Any:
    if isinstance(value, tv_tensors.TVTensor) and not isinstance(value, Polygons):
        return value.as_subclass(Tensor)
    return value
