"""What a metric has to show besides its numbers, free of any drawing.

``omma.visualization`` renders these to the terminal, to SVG and to HTML.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Table:
    """Rows of text and numbers under named columns."""

    title: str
    columns: list[str]
    rows: list[list[str | float | int]]


@dataclass
class Curves:
    """Lines over a common x axis, e.g. precision over recall for each class."""

    title: str
    x_label: str
    y_label: str
    lines: dict[str, tuple[list[float], list[float]]]
    """name -> (x values, y values)"""
    x_range: tuple[float, float] | None = None
    y_range: tuple[float, float] | None = None


@dataclass
class Matrix:
    """Counts of row against column, e.g. a confusion matrix."""

    title: str
    row_label: str
    column_label: str
    rows: list[str]
    columns: list[str]
    values: list[list[float]]


@dataclass
class Ranking:
    """Samples by falling badness: those worth looking at first."""

    title: str
    entries: list[tuple[int, float, str]]
    """(position in the data set, badness, one line saying why)"""


@dataclass
class MetricReport:
    """All that one metric shows."""

    tables: list[Table] = field(default_factory=list)
    curves: list[Curves] = field(default_factory=list)
    matrices: list[Matrix] = field(default_factory=list)
    rankings: list[Ranking] = field(default_factory=list)
