"""What is done when in videos."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, astuple, dataclass, fields
from pathlib import Path

from omma.inference.results import Result


@dataclass(frozen=True)
class Doing:
    """The likeliest class of a stretch of a video."""

    path: str
    start: float
    end: float
    """Seconds since the first frame."""
    label: int
    name: str
    score: float


def timeline(results: Iterable[Result]) -> Iterator[Doing]:
    """One entry for each stretch in which there was something to see, in order."""
    last = None
    for result in results:
        place = (result.path, result.span)
        if result.span is not None and place != last and (doing := doing_of(result)):
            yield doing
        last = place


def doing_of(result: Result) -> Doing | None:
    """The likeliest class of the stretch that a frame belongs to; none if nothing was to be seen in it."""
    scores = result.prediction["class_scores"]
    if result.span is None or not scores.any():
        return None
    label = int(scores.argmax())
    score = round(float(scores[label]), 5)
    return Doing(result.path, result.span.start, result.span.end, label, result.info.classes[label], score)


def write_timeline(folder: Path, entries: Sequence[Doing]) -> list[Path]:
    """Write ``timeline.csv`` and ``timeline.json`` into the folder."""
    table, text = folder / "timeline.csv", folder / "timeline.json"
    with table.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(field.name for field in fields(Doing))
        rows.writerows(astuple(entry) for entry in entries)
    text.write_text(json.dumps([asdict(entry) for entry in entries], indent=1) + "\n", encoding="utf-8")
    return [table, text]
