"""One of several lists of transforms."""

from __future__ import annotations

from collections.abc import Sequence

from omma.data.transforms.base import AnyTransform, Compose, Transform, choose
from omma.registry import register
from omma.structures import Sample


@register
class RandomChoice(Transform):
    """One of several lists of transforms, drawn anew for each sample.

    Args:
        choices: the lists, all equally likely.
    """

    def __init__(self, *, choices: Sequence[Sequence[AnyTransform]]) -> None:
        if not choices:
            raise ValueError("need at least one list of transforms, got none")
        self.choices = tuple(Compose(transforms=each) for each in choices)

    def __call__(self, sample: Sample) -> Sample:
        """The sample after the chosen transforms."""
        return self.choices[choose(len(self.choices))](sample)
