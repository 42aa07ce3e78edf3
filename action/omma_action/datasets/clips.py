"""What data sets of clips share: lists of what lies where, its classes, and reading the frames asked for."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torchvision import tv_tensors

from omma.data.annotations import Ragged, starts_of
from omma.data.dataset import Dataset
from omma.data.lines import read_lines
from omma.data.paths import inside, under
from omma.data.transforms import AnyTransform, Compose
from omma.errors import DataError
from omma.structures import DataInfo, Meta, Sample, Target
from omma_action.datasets.sampling import Sampling


class ClipSource(Protocol):
    """Frames of one clip, before they are decoded."""

    total: int
    """Frames."""
    rate: float
    """Of these a second."""

    def read(self, positions: np.ndarray) -> np.ndarray:
        """Frames (N, H, W, 3) uint8 RGB at N positions, in any order and however often.

        Raises:
            DataError: they can't be decoded.
        """
        ...


@dataclass(frozen=True)
class Entry:
    """One line of a list."""

    name: str
    """Of the file or folder, below that of the data set."""
    numbers: tuple[int, ...]
    """What follows it: its classes, and before them what else there is."""
    where: str
    """The line, for messages."""


class ClipDataset(Dataset):
    """Clips with one or several classes each.

    Args:
        entries: the clips.
        labels: the classes of each.
        classes: names in label order; null: numbers.
        num_classes: C.
        folder: where they lie.
        sampling: which frames are looked at.
        transforms: applied to each sample.

    Raises:
        DataError: there is no clip, or a label isn't one of the classes'.
        ValueError: ``classes`` and ``num_classes`` differ.
    """

    counted = "clips"

    def __init__(
        self,
        entries: Sequence[Entry],
        labels: Sequence[Sequence[int]],
        *,
        classes: Sequence[str] | None,
        num_classes: int,
        folder: Path,
        sampling: Sampling,
        transforms: Sequence[AnyTransform] = (),
    ) -> None:
        if classes is not None and len(classes) != num_classes:
            raise ValueError(f"there are {len(classes)} classes, but num_classes is {num_classes}")
        for entry, found in zip(entries, labels):
            if not found or min(found) < 0 or max(found) >= num_classes:
                raise DataError(
                    f"{entry.where}: expected labels from 0 to {num_classes - 1} behind the name, found "
                    f"{' '.join(map(str, found)) or 'none'}"
                )
        names = map(str, range(num_classes)) if classes is None else classes
        self.info, self.folder, self.sampling = DataInfo(tuple(names)), folder, sampling
        self.transforms = Compose(transforms=transforms)
        self.names = Ragged.of_bytes([entry.name.encode() for entry in entries])
        flat = [label for found in labels for label in found]
        self.labels = Ragged(torch.tensor(flat, dtype=torch.int64), starts_of([len(row) for row in labels]))

    def __len__(self) -> int:
        return len(self.names)

    @abstractmethod
    def open(self, index: int) -> ClipSource:
        """The frames of clip ``index``.

        Raises:
            DataError: they are missing or can't be decoded.
        """

    def path(self, index: int) -> Path:
        """Where clip ``index`` lies."""
        return self.folder / self.names[index].numpy().tobytes().decode()

    def __getitem__(self, index: int) -> Sample:
        """Sample ``index``: the frames that ``sampling`` chooses, (V, T, 3, H, W), transformed."""
        if not 0 <= index < len(self):
            raise IndexError(f"there are {len(self)} samples, got index {index}")
        source = self.open(index)
        chosen = self.sampling.frames(source.total, source.rate)
        frames = torch.from_numpy(source.read(chosen.ravel())).permute(0, 3, 1, 2)
        height, width = frames.shape[-2:]
        path = str(self.path(index))
        sample: Sample = {
            "video": tv_tensors.Video(frames.unflatten(0, chosen.shape)),
            "labels": self.labels[index].clone(),
            "meta": Meta(index=index, id=path, path=path, height=height, width=width),
        }
        return self.transforms(sample)

    def target(self, index: int) -> Target:
        """The classes of clip ``index``."""
        path = str(self.path(index))
        return {"index": index, "id": path, "path": path, "labels": self.labels[index].clone()}

    def problem(self, index: int) -> str | None:
        """What is wrong with clip ``index``, of which the first and last frame are decoded; null: nothing."""
        try:
            source = self.open(index)
            source.read(np.array([0, source.total - 1]))
        except DataError as error:
            return str(error)
        return None

    @property
    def image_sizes(self) -> np.ndarray:
        """(len, 2) zeros: nobody knows before a clip is opened."""
        return np.zeros((len(self), 2), np.int32)

    def class_counts(self) -> np.ndarray:
        """(len, C) 1 for each class of a clip."""
        counts = np.zeros((len(self), len(self.info.classes)), np.uint8)
        for row in range(len(self)):
            counts[row, self.labels[row].numpy()] = 1
        return counts


def read_list(root: str | None, annotations: str) -> list[Entry]:
    """Lines ``name number number ...`` of a list; empty ones are skipped.

    Raises:
        DataError: it can't be read, is empty, or a line has another form or leads out of the data set.
    """
    path = under(root, annotations)
    entries = []
    for number, line in enumerate(read_lines(path), start=1):
        if not line.strip():
            continue
        where = f"{path}:{number}"
        words = line.split()
        count = next((i for i, word in enumerate(reversed(words)) if not word.isdecimal()), len(words) - 1)
        numbers = words[len(words) - count :]
        if not numbers:
            raise DataError(f"{where}: expected a name and numbers behind it, found {line!r:.200}")
        name = line.strip()
        for word in reversed(numbers):
            name = name[: name.rindex(word)].rstrip()
        entries.append(Entry(inside(name, where), tuple(map(int, numbers)), where))
    if not entries:
        raise DataError(f"{path}: expected lines of clips, found none")
    return entries
