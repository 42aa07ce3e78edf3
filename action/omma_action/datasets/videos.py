"""Clips in video files."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from omma.data.classes import nearest
from omma.data.lines import read_lines
from omma.data.paths import inside, under
from omma.data.transforms import AnyTransform
from omma.data.videos import VideoFile
from omma.errors import DataError
from omma.registry import register
from omma_action.datasets.clips import ClipDataset, ClipSource, Entry, read_list
from omma_action.datasets.sampling import Sampling

VIDEO_SUFFIXES = frozenset({".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg"})
_COLUMNS = ("path", "label", "name", "start", "end", "frames")


@register
class VideoDataset(ClipDataset):
    """Video files, by a list of them.

    A list is a text with a line ``name label`` for each clip, or ``name label label ...``; or a table
    (``.csv``) whose first line names its columns. ``path`` there must be. ``name`` has the names of the
    classes, ``label`` their numbers; where there are both and the classes are named, the names count.
    Several are separated by spaces (numbers) or semicolons (names). ``start`` and ``end`` are seconds in the
    video between which the clip lies; empty: the whole video. ``frames`` says how many there are.

    Args:
        annotations: the list.
        folder: of the videos, which names are relative to.
        root: folder of both; null: they stand for themselves.
        classes: names in label order; null: numbers.
        num_classes: C.
        sampling: which frames are looked at.
        transforms: applied to each sample.

    Raises:
        DataError: the list can't be read, or is wrong.
        ValueError: ``classes`` and ``num_classes`` differ.
    """

    def __init__(
        self,
        *,
        annotations: str,
        folder: str,
        root: str | None = None,
        classes: tuple[str, ...] | None = None,
        num_classes: int,
        sampling: Sampling,
        transforms: Sequence[AnyTransform] = (),
    ) -> None:
        if annotations.endswith(".csv"):
            rows = read_table(under(root, annotations), classes)
            entries, spans = [row.entry for row in rows], [row.span for row in rows]
        else:
            entries = read_list(root, annotations)
            spans = [WHOLE] * len(entries)
        super().__init__(
            entries,
            [entry.numbers for entry in entries],
            classes=classes,
            num_classes=num_classes,
            folder=under(root, folder),
            sampling=sampling,
            transforms=transforms,
        )
        self.spans = np.array(spans, np.float64)

    def open(self, index: int) -> ClipSource:
        """See ``ClipDataset``."""
        video = VideoFile(self.path(index))
        start, end = self.spans[index].tolist()
        return video if (start, end) == WHOLE else Excerpt(video, start, end)


@register
class VideoFolders(ClipDataset):
    """Video files in a folder for each class, which has its name.

    Args:
        folder: with the folders of the classes.
        root: folder of that; null: it stands for itself.
        classes: names in label order; null: those of the folders in the order of the alphabet.
        num_classes: C.
        sampling: which frames are looked at.
        transforms: applied to each sample.

    Raises:
        DataError: there is no video, no folder for a class, or a folder that is none.
        ValueError: ``classes`` and ``num_classes`` differ.
    """

    def __init__(
        self,
        *,
        folder: str,
        root: str | None = None,
        classes: tuple[str, ...] | None = None,
        num_classes: int,
        sampling: Sampling,
        transforms: Sequence[AnyTransform] = (),
    ) -> None:
        place = under(root, folder)
        if not place.is_dir():
            raise DataError(f"{place}: there is no such folder; it should hold a folder for each class")
        found = sorted(each.name for each in place.iterdir() if each.is_dir())
        names = tuple(found) if classes is None else classes
        if missing := sorted(set(names) ^ set(found)):
            raise DataError(
                f"{place}: expected a folder for each class and no other, but not on both sides are "
                f"{', '.join(missing[:10])}"
            )
        entries = [
            Entry(video.relative_to(place).as_posix(), (label,), str(video))
            for label, name in enumerate(names)
            for video in sorted((place / name).rglob("*"))
            if video.suffix.lower() in VIDEO_SUFFIXES
        ]
        if not entries:
            raise DataError(f"{place}: expected videos ({' '.join(sorted(VIDEO_SUFFIXES))}), found none")
        super().__init__(
            entries,
            [entry.numbers for entry in entries],
            classes=names,
            num_classes=num_classes,
            folder=place,
            sampling=sampling,
            transforms=transforms,
        )

    def open(self, index: int) -> ClipSource:
        """See ``ClipDataset``."""
        return VideoFile(self.path(index))


class Excerpt:
    """What lies between two times in a video.

    Args:
        video: the whole.
        start, end: seconds; frames from the one on until before the other, of which one at least is there.

    Raises:
        DataError: there is no frame between them.
    """

    def __init__(self, video: VideoFile, start: float, end: float) -> None:
        self.video, self.rate = video, video.rate
        self.first, behind = np.searchsorted(video.times, [start, end]).tolist()
        self.total = behind - self.first
        if self.total < 1:
            raise DataError(
                f"{video.path}: has no frame from {start:g} s to {end:g} s, only up to "
                f"{video.times[-1]:.2f} s; correct the list"
            )

    def read(self, positions: np.ndarray) -> np.ndarray:
        """See ``ClipSource``."""
        return self.video.read(positions + self.first)


WHOLE = (0.0, float("inf"))
"""From when to when, seconds."""


@dataclass(frozen=True)
class Row:
    """One line of a table."""

    entry: Entry
    span: tuple[float, float]


def read_table(path: Path, classes: Sequence[str] | None) -> list[Row]:
    """Lines of a list in CSV form; see ``VideoDataset``.

    Raises:
        DataError: it can't be read, is empty, or a line is wrong.
    """
    lines = csv.DictReader(read_lines(path), restkey="")
    columns = lines.fieldnames or ()
    if "path" not in columns or not {"label", "name"} & set(columns):
        raise DataError(
            f"{path}:1: expected a line that names the columns, 'path' and 'label' or 'name' among them, "
            f"found {', '.join(map(str, columns))[:200] or 'none'}; known are {', '.join(_COLUMNS)}"
        )
    for column in columns:
        if column not in _COLUMNS and (meant := nearest(column, _COLUMNS)):
            raise DataError(f"{path}:1: the column {column!r} isn't known; did you mean {meant!r}?")
    by_name = "name" in columns and (classes is not None or "label" not in columns)
    if by_name and classes is None:
        raise DataError(f"{path}:1: classes are told by name; set data.classes to their names")
    rows = []
    for line in _lines(lines, path):
        where = f"{path}:{lines.line_num}"
        if None in line.values() or "" in line:
            raise DataError(f"{where}: expected {len(columns)} columns as the first line names")
        named = line["name" if by_name else "label"]
        labels = _by_name(named, classes or (), where) if by_name else _numbers(named, where)
        span = (_seconds(line, "start", where), _seconds(line, "end", where))
        if span[0] >= span[1]:
            raise DataError(f"{where}: expected 'start' before 'end', found {span[0]:g} and {span[1]:g}")
        rows.append(Row(Entry(inside(line["path"].strip(), where), labels, where), span))
    if not rows:
        raise DataError(f"{path}: expected lines of clips, found none")
    return rows


def _lines(table: csv.DictReader[str], path: Path) -> Iterator[dict[str, str]]:
    try:
        yield from table
    except csv.Error as error:
        raise DataError(f"{path}:{table.line_num}: expected a line of a table: {error}") from None


def _by_name(text: str, classes: Sequence[str], where: str) -> tuple[int, ...]:
    names = [name.strip() for name in text.split(";")]
    if unknown := [name for name in names if name not in classes]:
        raise DataError(f"{where}: '{unknown[0]}' is none of the classes, {', '.join(classes)[:300]}")
    return tuple(classes.index(name) for name in names)


def _numbers(text: str, where: str) -> tuple[int, ...]:
    if not text.split() or not all(word.isdecimal() for word in text.split()):
        raise DataError(f"{where}: expected the number of a class in 'label', found {text!r:.80}")
    return tuple(map(int, text.split()))


def _seconds(line: dict[str, str], column: str, where: str) -> float:
    text = line.get(column, "").strip()
    try:
        value = float(text) if text else WHOLE[column == "end"]
    except ValueError:
        value = -1.0
    if not value >= 0:
        raise DataError(f"{where}: expected seconds in '{column}', found {text!r:.80}")
    return value
