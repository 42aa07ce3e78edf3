"""Numbers and tables as a terminal shows them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from omma.metrics import Table

if TYPE_CHECKING:
    from rich.table import Table as RichTable


def number(value: str | float | int, digits: int = 3) -> str:
    """A number with so many decimals, or a dash where there is none; text and whole numbers as they are."""
    if isinstance(value, float):
        return "-" if math.isnan(value) else f"{value:.{digits}f}"
    return str(value)


def rich_table(table: Table) -> RichTable:
    """The table for a console; all columns but the first stand to the right."""
    from rich.table import Table as RichTable

    shown = RichTable(title=table.title, title_justify="left")
    for i, column in enumerate(table.columns):
        shown.add_column(column, justify="right" if i else "left")
    for row in table.rows:
        shown.add_row(*map(number, row))
    return shown
