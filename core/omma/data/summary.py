"""What a data set holds: counts, sizes, and which of its images can't be read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np

from omma.data.annotations import Report
from omma.data.dataset import Dataset, View
from omma.errors import DataError

_SHOWN = 5


@dataclass(frozen=True)
class Summary:
    """Numbers of one data set."""

    images: int
    counted: str
    """What is counted: objects, or labelled pixels."""
    empty: int
    """Images without any."""
    classes: tuple[str, ...]
    objects: np.ndarray
    """(C,) how many there are of each class."""
    images_with: np.ndarray
    """(C,) images that have the class."""
    smallest: tuple[int, int]
    """(width, height) of the image with the fewest pixels."""
    largest: tuple[int, int]
    portrait: int
    """Images that are taller than wide."""
    notes: tuple[str, ...]
    """What was dropped while reading."""

    def lines(self) -> list[str]:
        """The summary as text, a table of classes included."""
        total = int(self.objects.sum())
        # Lists of videos don't say how large their frames are.
        sizes = f"{_size(self.smallest)} to {_size(self.largest)}, {self.portrait} taller than wide"
        if self.largest == (0, 0):
            sizes = "known when they are read"
        out = [
            f"images             {self.images} ({self.empty} without {self.counted})",
            f"sizes              {sizes}",
            f"{self.counted:18} {total} of {len(self.classes)} classes",
        ]
        width, count = (
            max(5, *(len(name) for name in self.classes)),
            max(8, len(self.counted), len(str(total))),
        )
        out += ["", f"{'class':{width}}  {self.counted:>{count}}  {'share':>6}  {'images':>8}"]
        for name, objects, images in zip(self.classes, self.objects, self.images_with):
            share = f"{objects / max(total, 1):6.2%}"
            none = "" if objects else "  (none)"
            out.append(f"{name:{width}}  {objects:{count}d}  {share:>6}  {images:8d}{none}")
        return [*out, "", *(self.notes or ("nothing was dropped",))]


def summarise(dataset: Dataset) -> Summary:
    """Count what ``dataset`` holds, from its annotations alone."""
    counts = dataset.class_counts()
    sizes = dataset.image_sizes.astype(np.int64)
    pixels = sizes.prod(axis=1)
    return Summary(
        images=len(dataset),
        counted=dataset.counted,
        empty=int((counts.sum(axis=1) == 0).sum()),
        classes=dataset.info.classes,
        objects=counts.sum(axis=0, dtype=np.int64),
        images_with=(counts > 0).sum(axis=0),
        smallest=_width_height(sizes[pixels.argmin()]),
        largest=_width_height(sizes[pixels.argmax()]),
        portrait=int((sizes[:, 0] > sizes[:, 1]).sum()),
        notes=tuple(line for report in reports(dataset) for line in report.lines()),
    )


def reports(dataset: Dataset) -> list[Report]:
    """The reports of a data set and of all that it is made of."""
    if isinstance(dataset, View):
        return [report for part in dataset.datasets for report in reports(part)]
    report = getattr(dataset, "report", None)
    return [report] if isinstance(report, Report) else []


def skipped(dataset: Dataset) -> list[str]:
    """One line with the number and the first names of images that ``on_error: skip`` passed over so far."""
    if isinstance(dataset, View):
        return [line for part in dataset.datasets for line in skipped(part)]
    method = getattr(dataset, "skipped", None)
    paths = cast("Callable[[], list[str]]", method)() if callable(method) else []
    names = ", ".join(paths[:3]) + (", ..." if len(paths) > 3 else "")
    return (
        [f"{len(paths)} of {len(dataset)} images skipped, since they can't be used: {names}"] if paths else []
    )


def unreadable(dataset: Dataset, indices: Iterable[int]) -> list[str]:
    """Read what lies at ``indices``; one message for each that is missing, broken or of another size."""
    return [problem for index in indices if (problem := dataset.problem(index)) is not None]


def require_usable(dataset: Dataset, where: str) -> None:
    """See that nothing is wrong with any annotation of ``dataset``.

    Args:
        dataset: what is looked at.
        where: it stands in the config.

    Raises:
        DataError: something is; the message has the first cases.
    """
    if len(wrong := np.flatnonzero(~dataset.usable())):
        found = unreadable(dataset, wrong[:_SHOWN].tolist())
        more = f"\n  ... and {len(wrong) - len(found)} more" if len(wrong) > len(found) else ""
        raise DataError(
            f"{where}: {len(wrong)} of {len(dataset)} samples can't be used:\n  " + "\n  ".join(found) + more
        )


def spread(length: int, count: int) -> list[int]:
    """At most ``count`` positions, evenly spread over a data set of ``length`` samples."""
    return [int(position) for position in np.linspace(0, length - 1, min(count, length)).round()]


def _size(size: Sequence[int]) -> str:
    return f"{size[0]} x {size[1]}"


def _width_height(size: np.ndarray) -> tuple[int, int]:
    return int(size[1]), int(size[0])
