"""The annotations of a whole data set in a few flat tensors.

No Python object stands for an image or a box, so worker processes share the memory, whether they are forked
(nothing touches a reference count) or spawned (torch hands tensors over in shared memory).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor


@dataclass
class Report:
    """What was left out or changed while reading, with examples."""

    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    def note(self, what: str, where: str, count: int = 1) -> None:
        """Count cases of one kind; the place of the first is kept as the example."""
        if count:
            self.counts[what] += count
            self.examples.setdefault(what, where)

    def lines(self) -> list[str]:
        """One line per kind of case."""
        return [f"{count} {what}, e.g. {self.examples[what]}" for what, count in self.counts.items()]


def starts_of(lengths: Tensor | np.ndarray | Sequence[int]) -> Tensor:
    """(N,) lengths of runs -> (N + 1,) int64: where each begins, and where the last one ends."""
    sizes = torch.as_tensor(lengths, dtype=torch.int64)
    return torch.cat([sizes.new_zeros(1), sizes.cumsum(0)])


def run_members(starts: Tensor, rows: Tensor) -> Tensor:
    """Positions of the elements of the runs ``rows`` (K,), run after run: (sum of lengths,) int64."""
    first, lengths = starts[rows], starts[rows + 1] - starts[rows]
    before = lengths.cumsum(0) - lengths
    return torch.arange(int(lengths.sum())) + torch.repeat_interleave(first - before, lengths)


@dataclass(frozen=True)
class Ragged:
    """Rows of different lengths, one after the other in one tensor."""

    values: Tensor  # (sum of lengths,)
    starts: Tensor  # (N + 1,) int64

    @classmethod
    def of_bytes(cls, rows: Sequence[bytes]) -> Ragged:
        """Byte strings."""
        flat = np.frombuffer(b"".join(rows), np.uint8).copy()
        return cls(torch.from_numpy(flat), starts_of([len(row) for row in rows]))

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __getitem__(self, row: int) -> Tensor:
        """A view of row ``row``."""
        return self.values[int(self.starts[row]) : int(self.starts[row + 1])]

    def take(self, rows: Tensor) -> Ragged:
        """The rows at (K,) positions, in that order."""
        lengths = (self.starts[1:] - self.starts[:-1])[rows]
        return Ragged(self.values[run_members(self.starts, rows)], starts_of(lengths))


@dataclass(frozen=True)
class Segmentations:
    """COCO segmentations of O objects: outlines, or a run-length encoding, or neither."""

    rings: Ragged
    """Flat (x, y) pixel coordinates of each ring, float32."""
    starts: Tensor
    """(O + 1,) int64: object i has the rings from ``starts[i]`` to ``starts[i + 1]``."""
    counts: Ragged
    """Compressed run-length encodings as bytes; empty for objects that have none."""

    def __len__(self) -> int:
        return len(self.starts) - 1

    def take(self, rows: Tensor) -> Segmentations:
        """Those of the objects at (K,) positions, in that order."""
        lengths = (self.starts[1:] - self.starts[:-1])[rows]
        rings = self.rings.take(run_members(self.starts, rows))
        return Segmentations(rings, starts_of(lengths), self.counts.take(rows))

    def is_rle(self, row: int) -> bool:
        """Whether the object has a run-length encoding and no outlines."""
        return bool(self.counts.starts[row + 1] > self.counts.starts[row])

    def outlines(self, row: int) -> list[np.ndarray]:
        """Rings of one object, each flat float64 [x1, y1, x2, y2, ...].

        Coordinates that were written with up to three decimals come back as the very same numbers.
        """
        return [
            _decimal(self.rings[i].numpy()) for i in range(int(self.starts[row]), int(self.starts[row + 1]))
        ]

    def coco(self, row: int, size: tuple[int, int]) -> list[list[float]] | dict[str, Any]:
        """One object in COCO's form: polygons, or ``{"size", "counts"}``; ``size`` is the image's (H, W)."""
        if self.is_rle(row):
            return {"size": list(size), "counts": self.counts[row].numpy().tobytes()}
        return [ring.tolist() for ring in self.outlines(row)]


def _decimal(values: np.ndarray) -> np.ndarray:
    """float32 -> float64 through the decimal number of up to three places that was rounded to it, if any."""
    exact = values.astype(np.float64)
    rounded = np.round(exact, 3)
    return np.where(rounded.astype(np.float32) == values, rounded, exact)


@dataclass(frozen=True)
class Annotations:
    """I images and their O objects, sorted by image."""

    paths: Ragged
    """Image files in UTF-8, relative to the data set's image folder."""
    ids: Ragged
    """Image ids as text."""
    numeric_ids: bool
    """Whether the ids were numbers."""
    sizes: Tensor
    """(I, 2) int32 height and width."""
    starts: Tensor
    """(I + 1,) int64: image i has the objects from ``starts[i]`` to ``starts[i + 1]``."""
    boxes: Tensor
    """(O, 4) float32 xyxy, pixels, inside the image unless the reader leaves them uncut."""
    labels: Tensor
    """(O,) int32"""
    crowd: Tensor
    """(O,) bool: neither right nor wrong to find."""
    area: Tensor
    """(O,) float32, pixels"""
    object_ids: Tensor
    """(O,) int64 ids of the annotations; -1 where the file has none."""
    segmentations: Segmentations | None
    absent: Ragged | None = None
    """(I rows) int32 labels of classes that were looked for in an image and are not there, where not all are
    annotated in all images."""
    partial: Ragged | None = None
    """(I rows) int32 labels of classes of which an image may have more than is annotated, likewise."""
    keypoints: Ragged | None = None
    """(O rows) float32 x, y and visibility of each key point in turn; empty for objects that have none."""

    def __len__(self) -> int:
        return len(self.paths)

    def rows(self, index: int) -> slice:
        """Where the objects of image ``index`` stand."""
        return slice(int(self.starts[index]), int(self.starts[index + 1]))

    def path(self, index: int) -> str:
        """File of image ``index``, relative to the image folder."""
        return self.paths[index].numpy().tobytes().decode()

    def id(self, index: int) -> int | str:
        """Id of image ``index`` as the annotation file has it."""
        text = self.ids[index].numpy().tobytes().decode()
        return int(text) if self.numeric_ids else text

    def size(self, index: int) -> tuple[int, int]:
        """(height, width) of image ``index``."""
        height, width = self.sizes[index].tolist()
        return height, width

    def class_counts(self, classes: int) -> np.ndarray:
        """(I, classes) uint16: objects of each class in each image, crowds left out."""
        lengths = (self.starts[1:] - self.starts[:-1]).numpy()
        owner = np.repeat(np.arange(len(self)), lengths)
        cells = (owner * classes + self.labels.numpy())[~self.crowd.numpy()]
        counts = np.bincount(cells, minlength=len(self) * classes)
        return counts.clip(max=np.iinfo(np.uint16).max).astype(np.uint16).reshape(len(self), classes)

    def take(self, images: Tensor) -> Annotations:
        """The images at (K,) positions with their objects, in that order."""
        objects = run_members(self.starts, images)
        return Annotations(
            paths=self.paths.take(images),
            ids=self.ids.take(images),
            numeric_ids=self.numeric_ids,
            sizes=self.sizes[images],
            starts=starts_of((self.starts[1:] - self.starts[:-1])[images]),
            boxes=self.boxes[objects],
            labels=self.labels[objects],
            crowd=self.crowd[objects],
            area=self.area[objects],
            object_ids=self.object_ids[objects],
            segmentations=None if self.segmentations is None else self.segmentations.take(objects),
            absent=None if self.absent is None else self.absent.take(images),
            partial=None if self.partial is None else self.partial.take(images),
            keypoints=None if self.keypoints is None else self.keypoints.take(objects),
        )
