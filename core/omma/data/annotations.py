"""The annotations of a whole data set in a few flat tensors.

No Python object stands for an image or a box, so worker processes share the memory, whether they are forked
(nothing touches a reference count) or spawned (torch hands over tensors by shared memory).
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor


@dataclass
class Report:
    """What was left out while reading, with examples."""

    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    def note(self, what: str, where: str) -> None:
        """Count one case; the first of its kind is kept as the example."""
        self.counts[what] += 1
        self.examples.setdefault(what, where)

    def lines(self) -> list[str]:
        """One line per kind of case."""
        return [f"{count} x {what}, e.g. {self.examples[what]}" for what, count in self.counts.items()]


class Texts:
    """A list of byte strings in one tensor."""

    def __init__(self, texts: Sequence[bytes]) -> None:
        self.data = torch.frombuffer(bytearray(b"".join(texts) or b"\0"), dtype=torch.uint8)
        self.ends = torch.tensor([len(t) for t in texts], dtype=torch.int64).cumsum(0)

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, index: int) -> bytes:
        start = int(self.ends[index - 1]) if index else 0
        return self.data[start : int(self.ends[index])].numpy().tobytes()


@dataclass
class Annotations:
    """Images and their objects; object rows of image ``i`` are ``starts[i]`` to ``starts[i + 1]``."""

    paths: Texts
    ids: Texts
    """Image ids as text; ``numeric_ids`` says whether they were numbers."""
    numeric_ids: bool
    sizes: Tensor
    """(I, 2) int32 height and width."""
    starts: Tensor
    """(I + 1,) int64."""
    boxes: Tensor
    """(O, 4) float32 xyxy, pixels."""
    labels: Tensor
    """(O,) int64"""
    crowd: Tensor
    """(O,) bool"""
    area: Tensor
    """(O,) float32"""
    segmentations: Texts | None
    """Per object: JSON of its COCO segmentation."""

    def __len__(self) -> int:
        return len(self.paths)

    def rows(self, index: int) -> slice:
        """Where the objects of image ``index`` stand."""
        return slice(int(self.starts[index]), int(self.starts[index + 1]))

    def path(self, index: int) -> str:
        """Path of the image file."""
        return self.paths[index].decode()

    def id(self, index: int) -> int | str:
        """The image's id."""
        text = self.ids[index].decode()
        return int(text) if self.numeric_ids else text

    def segmentation(self, row: int) -> Any:
        """COCO segmentation of an object: polygons, or RLE, or null."""
        import json

        return json.loads(self.segmentations[row]) if self.segmentations is not None else None

    def select(self, keep: Tensor) -> Annotations:
        """Only the images at the positions ``keep`` (K,)."""
        rows = [torch.arange(int(self.starts[i]), int(self.starts[i + 1])) for i in keep]
        flat = torch.cat(rows) if rows else torch.zeros(0, dtype=torch.int64)
        counts = torch.tensor([len(r) for r in rows], dtype=torch.int64)
        segmentations = self.segmentations
        return Annotations(
            paths=Texts([self.paths[int(i)] for i in keep]),
            ids=Texts([self.ids[int(i)] for i in keep]),
            numeric_ids=self.numeric_ids,
            sizes=self.sizes[keep],
            starts=torch.cat([torch.zeros(1, dtype=torch.int64), counts.cumsum(0)]),
            boxes=self.boxes[flat],
            labels=self.labels[flat],
            crowd=self.crowd[flat],
            area=self.area[flat],
            segmentations=None if segmentations is None else Texts([segmentations[int(i)] for i in flat]),
        )


class AnnotationsBuilder:
    """Collects annotations image by image, in machine numbers from the start."""

    def __init__(self, *, segmentations: bool) -> None:
        self._paths: list[bytes] = []
        self._ids: list[bytes] = []
        self._numeric = True
        self._sizes, self._counts = array("i"), array("q")
        self._boxes, self._labels, self._crowd, self._area = array("f"), array("q"), array("b"), array("f")
        self._segmentations: list[bytes] | None = [] if segmentations else None

    def image(self, path: str, id: int | str, height: int, width: int) -> None:
        """Begin the next image."""
        self._paths.append(path.encode())
        self._ids.append(str(id).encode())
        self._numeric = self._numeric and isinstance(id, int)
        self._sizes.extend((height, width))
        self._counts.append(0)

    def object(
        self, box: Sequence[float], label: int, *, crowd: bool, area: float, segmentation: Any = None
    ) -> None:
        """Add an object to the image begun last; ``box`` is xyxy."""
        import json

        self._boxes.extend(box)
        self._labels.append(label)
        self._crowd.append(crowd)
        self._area.append(area)
        self._counts[-1] += 1
        if self._segmentations is not None:
            self._segmentations.append(json.dumps(segmentation, separators=(",", ":")).encode())

    def build(self) -> Annotations:
        """All that was added, in flat tensors."""
        counts = _tensor(self._counts, torch.int64)
        return Annotations(
            paths=Texts(self._paths),
            ids=Texts(self._ids),
            numeric_ids=self._numeric,
            sizes=_tensor(self._sizes, torch.int32).reshape(-1, 2),
            starts=torch.cat([torch.zeros(1, dtype=torch.int64), counts.cumsum(0)]),
            boxes=_tensor(self._boxes, torch.float32).reshape(-1, 4),
            labels=_tensor(self._labels, torch.int64),
            crowd=_tensor(self._crowd, torch.int8).bool(),
            area=_tensor(self._area, torch.float32),
            segmentations=None if self._segmentations is None else Texts(self._segmentations),
        )


def _tensor(values: array[Any], dtype: torch.dtype) -> Tensor:
    return torch.frombuffer(values, dtype=dtype).clone() if len(values) else torch.zeros(0, dtype=dtype)
