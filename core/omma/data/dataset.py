"""The contract of every data set, and the wrappers that combine data sets."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import numpy as np
import torch

from omma.registry import register
from omma.structures import DataInfo, Sample, Target


class Dataset(torch.utils.data.Dataset[Sample], ABC):
    """Map-style access to samples, and to their ground truth without reading any image.

    Annotations lie in a few flat tensors (``omma.data.annotations``), so that worker processes share them.
    """

    info: DataInfo

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __getitem__(self, index: int) -> Sample:
        """Sample ``index``, read from disk and transformed.

        Raises:
            DataError: the image is missing or can't be decoded; the message has its path.
        """

    @abstractmethod
    def target(self, index: int) -> Target:
        """Ground truth of sample ``index`` in original pixels, crowds and difficult objects included."""

    @property
    @abstractmethod
    def image_sizes(self) -> np.ndarray:
        """(len, 2) int32 array of original (height, width); aspect-ratio batching reads it."""

    @abstractmethod
    def class_counts(self) -> np.ndarray:
        """(len, C) uint16 array: objects of each class in each sample; balanced sampling reads it."""


class _Indexed(Dataset):
    """Samples of other data sets by a table of (data set, position)."""

    def __init__(self, datasets: Sequence[Dataset], table: np.ndarray) -> None:
        classes = datasets[0].info.classes
        for other in datasets[1:]:
            if other.info.classes != classes:
                raise ValueError(f"data sets of different classes: {classes} and {other.info.classes}")
        self.info = datasets[0].info
        self.datasets = tuple(datasets)
        self.table = table  # (len, 2) int64

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, index: int) -> Sample:
        """The sample of the data set that ``index`` falls into; its meta counts in this one."""
        which, position = self.table[index]
        sample = self.datasets[which][int(position)]
        return cast(Sample, {**sample, "meta": replace(sample["meta"], index=int(index))})

    def target(self, index: int) -> Target:
        """Likewise for the ground truth."""
        which, position = self.table[index]
        return cast(Target, {**self.datasets[which].target(int(position)), "index": int(index)})

    @property
    def image_sizes(self) -> np.ndarray:
        """(len, 2) original heights and widths."""
        return self._gather([dataset.image_sizes for dataset in self.datasets])

    def class_counts(self) -> np.ndarray:
        """(len, C) objects of each class."""
        return self._gather([dataset.class_counts() for dataset in self.datasets])

    def _gather(self, values: Sequence[np.ndarray]) -> np.ndarray:
        offsets = np.cumsum([0, *(len(value) for value in values[:-1])])
        return np.concatenate(values)[offsets[self.table[:, 0]] + self.table[:, 1]]


@register
class ConcatDataset(_Indexed):
    """One data set after another; all have the same classes.

    Args:
        datasets: in order.
    """

    def __init__(self, *, datasets: tuple[Dataset, ...]) -> None:
        if not datasets:
            raise ValueError("datasets must not be empty")
        parts = [np.stack([np.full(len(d), i), np.arange(len(d))], axis=1) for i, d in enumerate(datasets)]
        super().__init__(datasets, np.concatenate(parts))


@register
class RepeatDataset(_Indexed):
    """A data set several times over, so that an epoch of it is longer.

    Args:
        dataset: what is repeated.
        times: how often.
    """

    def __init__(self, *, dataset: Dataset, times: int) -> None:
        if times < 1:
            raise ValueError(f"times must be positive, got {times}")
        once = np.stack([np.zeros(len(dataset), np.int64), np.arange(len(dataset))], axis=1)
        super().__init__([dataset], np.tile(once, (times, 1)))


@register
class Subset(_Indexed):
    """The first samples of a data set.

    Args:
        dataset: what is cut.
        first: how many; all if there are fewer.
    """

    def __init__(self, *, dataset: Dataset, first: int) -> None:
        if first < 1:
            raise ValueError(f"first must be positive, got {first}")
        count = min(first, len(dataset))
        super().__init__([dataset], np.stack([np.zeros(count, np.int64), np.arange(count)], axis=1))
