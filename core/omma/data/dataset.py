"""The contract of every data set, and the wrappers that combine data sets."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from copy import copy
from dataclasses import replace
from typing import cast

import numpy as np
import torch

from omma.data.images import read_image
from omma.data.transforms.base import AnyTransform, Compose
from omma.errors import DataError
from omma.registry import register
from omma.structures import DataInfo, Sample, Target


class Dataset(torch.utils.data.Dataset[Sample], ABC):
    """Map-style access to samples, and to their ground truth without reading any image.

    Annotations lie in a few flat tensors (``omma.data.annotations``), so that worker processes share them.
    """

    info: DataInfo
    counted: str = "objects"
    """What ``class_counts`` counts."""
    transforms: AnyTransform = Compose(transforms=())
    """What each sample goes through once it is read."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __getitem__(self, index: int) -> Sample:
        """Sample ``index``, read from disk and transformed.

        Raises:
            DataError: the image is missing or can't be decoded; the message has its path.
        """

    def sample_at(self, index: int, *, epoch: int, mates: Sequence[int] = ()) -> Sample:
        """Sample ``index`` as it is in an epoch, beside the ``mates`` of its batch, itself included.

        Most data sets know neither.
        """
        return self[index]

    def behind(self, transforms: AnyTransform) -> Dataset:
        """The same samples behind other transforms than its own, each by itself."""
        return _with(self, transforms=transforms)

    @abstractmethod
    def target(self, index: int) -> Target:
        """Ground truth of sample ``index`` in original pixels, crowds and difficult objects included."""

    def unseen(self) -> Sequence[Target]:
        """Ground truth that no sample shows and that metrics must know of all the same.

        Of images in which a detector found nothing to look at; their indices are negative.
        """
        return ()

    @property
    @abstractmethod
    def image_sizes(self) -> np.ndarray:
        """(len, 2) int32 array of original (height, width); aspect-ratio batching reads it."""

    @abstractmethod
    def class_counts(self) -> np.ndarray:
        """(len, C) how many objects, or pixels, of each class a sample has; balanced sampling reads it."""

    def problem(self, index: int) -> str | None:
        """What is wrong with the file that sample ``index`` shows, which is read for it; null: nothing.

        Most data sets show an image of a known size.
        """
        try:
            target = self.target(index)
            path, height, width = target["path"], target["height"], target["width"]
            found = tuple(read_image(path).shape[-2:])
        except DataError as error:
            return str(error)
        if found == (height, width):
            return None
        return f"{path}: expected {width} x {height} pixels as annotated, found {found[1]} x {found[0]}"

    def usable(self) -> np.ndarray:
        """(len,) bool: False where ``target`` raises an error, which all annotations are looked at for.

        Most data sets look at all of them when they are made.
        """
        return np.ones(len(self), bool)


class View(Dataset):
    """Samples of other data sets, by (data set, position) for each of its own positions.

    Args:
        datasets: all with the same classes.
        table: (len, 2) int64.
    """

    def __init__(self, datasets: Sequence[Dataset], table: np.ndarray) -> None:
        classes = datasets[0].info.classes
        for other in datasets[1:]:
            if other.info.classes != classes:
                raise ValueError(
                    f"expected data sets of the same classes, got {classes} and {other.info.classes}"
                )
        self.info, self.counted = datasets[0].info, datasets[0].counted
        self.datasets, self.transforms = tuple(datasets), datasets[0].transforms
        self.table = torch.from_numpy(table)

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, index: int) -> Sample:
        """The sample that ``index`` stands for; its meta counts in this data set."""
        dataset, position = self.locate(index)
        return self._counted(dataset[position], index)

    def sample_at(self, index: int, *, epoch: int, mates: Sequence[int] = ()) -> Sample:
        """See ``Dataset.sample_at``; mates of other data sets don't count."""
        dataset, position = self.locate(index)
        places = [self.locate(mate) for mate in mates]
        own = [place for other, place in places if other is dataset]
        return self._counted(dataset.sample_at(position, epoch=epoch, mates=own), index)

    def behind(self, transforms: AnyTransform) -> Dataset:
        """Likewise for all of the data sets."""
        return _with(self, transforms=transforms, datasets=tuple(d.behind(transforms) for d in self.datasets))

    def _counted(self, sample: Sample, index: int) -> Sample:
        return cast(Sample, {**sample, "meta": replace(sample["meta"], index=int(index))})

    def target(self, index: int) -> Target:
        """Likewise for the ground truth."""
        dataset, position = self.locate(index)
        return cast(Target, {**dataset.target(position), "index": int(index)})

    def locate(self, index: int) -> tuple[Dataset, int]:
        """The data set that sample ``index`` comes from, and its position there."""
        if not 0 <= index < len(self):
            raise IndexError(f"there are {len(self)} samples, got index {index}")
        which, position = self.table[index].tolist()
        return self.datasets[which], position

    def problem(self, index: int) -> str | None:
        """Likewise for its file."""
        dataset, position = self.locate(index)
        return dataset.problem(position)

    @property
    def image_sizes(self) -> np.ndarray:
        """(len, 2) original heights and widths."""
        return self._gather([dataset.image_sizes for dataset in self.datasets])

    def class_counts(self) -> np.ndarray:
        """(len, C) objects of each class."""
        return self._gather([dataset.class_counts() for dataset in self.datasets])

    def usable(self) -> np.ndarray:
        """(len,) bool, see ``Dataset.usable``."""
        return self._gather([dataset.usable() for dataset in self.datasets])

    def _gather(self, values: Sequence[np.ndarray]) -> np.ndarray:
        which, position = self.table.numpy().T
        offsets = np.cumsum([0, *(len(value) for value in values[:-1])])
        return np.concatenate(values)[offsets[which] + position]


@register
class ConcatDataset(View):
    """One data set after another.

    Args:
        datasets: in order; all have the same classes.
    """

    def __init__(self, *, datasets: tuple[Dataset, ...]) -> None:
        if not datasets:
            raise ValueError("expected at least one data set, got none")
        super().__init__(
            datasets, np.concatenate([_rows(i, np.arange(len(d))) for i, d in enumerate(datasets)])
        )

    def unseen(self) -> Sequence[Target]:
        """What no sample of any of them shows."""
        found = [target for dataset in self.datasets for target in dataset.unseen()]
        return [cast(Target, {**target, "index": -1 - i}) for i, target in enumerate(found)]


@register
class RepeatDataset(View):
    """A data set several times over, so that an epoch of it is longer.

    Args:
        dataset: what is repeated.
        times: how often.
    """

    def __init__(self, *, dataset: Dataset, times: int) -> None:
        if times < 1:
            raise ValueError(f"times must be at least 1, got {times}")
        super().__init__([dataset], _rows(0, np.tile(np.arange(len(dataset)), times)))


@register
class Subset(View):
    """Some samples of a data set.

    Args:
        dataset: what is cut.
        first: its first samples, so many; all if there are fewer.
        indices: or these positions.
    """

    def __init__(
        self, *, dataset: Dataset, first: int | None = None, indices: tuple[int, ...] | None = None
    ) -> None:
        if (first is None) == (indices is None):
            raise ValueError("expected one of 'first' and 'indices'")
        if first is not None and first < 1:
            raise ValueError(f"first must be at least 1, got {first}")
        chosen = np.arange(min(first, len(dataset))) if first is not None else np.array(indices, np.int64)
        if not len(chosen) or chosen.min() < 0 or chosen.max() >= len(dataset):
            raise ValueError(
                f"expected indices from 0 to {len(dataset) - 1}, got {list(indices or ())!r:.80}"
            )
        super().__init__([dataset], _rows(0, chosen))


def _with(dataset: Dataset, **changes: object) -> Dataset:
    changed = copy(dataset)
    vars(changed).update(changes)
    return changed


def _rows(which: int, positions: np.ndarray) -> np.ndarray:
    return np.stack([np.full(len(positions), which, np.int64), positions.astype(np.int64)], axis=1)
