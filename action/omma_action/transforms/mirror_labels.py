"""Classes that a mirror makes others of."""

from __future__ import annotations

from typing import cast

import torch

from omma.data.transforms.base import Transform
from omma.registry import register
from omma.structures import Sample


@register
class MirrorLabels(Transform):
    """In mirrored clips, exchanges classes such as "from left to right" and "from right to left".

    Args:
        pairs: labels that change places.

    Raises:
        ValueError: a label is in several pairs.
    """

    def __init__(self, *, pairs: tuple[tuple[int, int], ...]) -> None:
        named = [label for pair in pairs for label in pair]
        if len(set(named)) != len(named):
            raise ValueError(f"each label must be in one pair, got {pairs}")
        self.others = dict(pairs) | {b: a for a, b in pairs}

    def __call__(self, sample: Sample) -> Sample:
        """The sample with the classes that it shows."""
        if not sample["meta"].flipped:
            return sample
        labels = [self.others.get(label, label) for label in sample["labels"].tolist()]
        return cast(Sample, {**sample, "labels": torch.tensor(labels, dtype=torch.int64)})
