"""Data sets whose samples are made of several, and whose transforms change in the course of a run."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np

from omma.data.dataset import Dataset
from omma.data.loader import seeded
from omma.data.transforms.base import AnyTransform, choose
from omma.data.transforms.mix import Mix
from omma.registry import register
from omma.structures import Sample, Target


@dataclass(kw_only=True, frozen=True)
class Stage:
    """Transforms from some epoch on."""

    transforms: Sequence[AnyTransform | Mix]
    from_epoch: int = 0


@register
class MixedDataset(Dataset):
    """Applies transforms, some of which mix several samples, and others in later epochs.

    A sample is a function of the seed, the epoch, its position and those of its batch: no worker's memory
    has a part in it. Images that were read lately are kept, as each is in several samples of a batch.

    Args:
        dataset: single samples; its own transforms, if any, draw the same for a sample every time.
        stages: by rising ``from_epoch``, the first from epoch 0.
        partners: who is mixed with a sample: others of its batch, or any of the data set.
        kept: images that are kept.

    Raises:
        ValueError: the stages don't begin at 0 or don't rise.
    """

    def __init__(
        self,
        *,
        dataset: Dataset,
        stages: Sequence[Stage],
        partners: Literal["batch", "any"] = "any",
        kept: int = 64,
    ) -> None:
        starts = [stage.from_epoch for stage in stages]
        if not starts or starts[0] != 0 or starts != sorted(set(starts)):
            raise ValueError(f"stages must begin at from_epoch 0 and rise, got {starts}")
        if kept < 1:
            raise ValueError(f"kept must be at least 1, got {kept}")
        self.info, self.counted = dataset.info, dataset.counted
        self.transforms = dataset.transforms
        self.dataset, self.stages, self.partners, self.kept = dataset, tuple(stages), partners, kept
        self._recent: OrderedDict[int, Sample] = OrderedDict()

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Sample:
        """Sample ``index`` as in epoch 0."""
        return self.sample_at(index, epoch=0)

    def sample_at(self, index: int, *, epoch: int, mates: Sequence[int] = ()) -> Sample:
        """See ``Dataset.sample_at``."""
        stage = [stage for stage in self.stages if stage.from_epoch <= epoch][-1]
        return self._run(stage.transforms, index, mates)

    def behind(self, transforms: AnyTransform) -> Dataset:
        """The single samples, none of them mixed."""
        return self.dataset.behind(transforms)

    def target(self, index: int) -> Target:
        """Ground truth of sample ``index`` alone."""
        return self.dataset.target(index)

    @property
    def image_sizes(self) -> np.ndarray:
        """(len, 2) original heights and widths."""
        return self.dataset.image_sizes

    def class_counts(self) -> np.ndarray:
        """(len, C) objects of each class in the single samples."""
        return self.dataset.class_counts()

    def usable(self) -> np.ndarray:
        """(len,) bool, see ``Dataset.usable``."""
        return self.dataset.usable()

    def _run(self, transforms: Sequence[AnyTransform | Mix], index: int, mates: Sequence[int]) -> Sample:
        sample = self._single(index)
        for i, transform in enumerate(transforms):
            if isinstance(transform, Mix):
                before = transforms[:i] if transform.alike else ()
                sample = transform.mix(sample, partial(self._draw, before, mates))
            else:
                sample = transform(sample)
        return sample

    def _draw(self, transforms: Sequence[AnyTransform | Mix], mates: Sequence[int]) -> Sample:
        """A sample to mix with another, through these transforms."""
        return self._run(transforms, self._partner(mates), mates)

    def _partner(self, mates: Sequence[int]) -> int:
        if self.partners == "batch" and len(mates) > 1:
            return mates[choose(len(mates))]
        return choose(len(self))

    def _single(self, index: int) -> Sample:
        if index not in self._recent:
            # With draws of its own: what comes after must not hang on whether it was kept.
            with seeded(0, index):
                self._recent[index] = self.dataset[index]
            if len(self._recent) > self.kept:
                self._recent.popitem(last=False)
        self._recent.move_to_end(index)
        return self._recent[index]
