"""The JSON lines of a run, as curves."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omma.metrics import Curves

_KEPT = ("kind", "step", "epoch", "time")
_MOST_LINES, _HEADLINES = 6, 3


@dataclass
class RunLog:
    """Lines of ``log.jsonl`` by kind; of steps that were repeated after a resume, the last."""

    train: dict[int, dict[str, float]] = field(default_factory=dict)
    """step -> what was logged"""
    eval: dict[int, dict[str, float]] = field(default_factory=dict)
    """step -> metrics"""
    end: dict[str, Any] = field(default_factory=dict)
    """the last line of kind ``end``: its reason and error"""
    broken: int = 0
    """Lines that can't be read, as a crash may leave them."""

    @classmethod
    def read(cls, path: Path) -> RunLog:
        """The log at ``path``; empty if there is none."""
        log = cls()
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else ():
            try:
                entry = json.loads(line)
                log._add(entry, entry["kind"], int(entry["step"]))
            except (ValueError, TypeError, KeyError):
                log.broken += 1
        return log

    def losses(self) -> Curves:
        """All losses over steps."""
        return self._curves("Training losses", "loss", self.train, lambda name: "loss" in name)

    def learning_rate(self) -> Curves:
        """The learning rate over steps."""
        return self._curves("Learning rate", "learning rate", self.train, lambda name: name == "lr")

    def metrics(self) -> list[Curves]:
        """One chart for each family of metrics (``box``, ``mask``), over steps.

        A family that has many numbers shows its first ones, which every metric names first.
        """
        families = dict.fromkeys(name.split("/")[0] for values in self.eval.values() for name in values)
        charts = [
            self._curves(f"Evaluation: {family}", "value", self.eval, _in_family(family))
            for family in families
        ]
        for chart in charts:
            if len(chart.lines) > _MOST_LINES:
                chart.lines = dict(list(chart.lines.items())[:_HEADLINES])
        return charts

    def _add(self, entry: dict[str, Any], kind: str, step: int) -> None:
        if kind == "end":
            self.end = entry
        table = {"train": self.train, "eval": self.eval}.get(kind)
        if table is None:
            return
        # After a resume the run goes on from an earlier step: what was logged beyond it never happened.
        for later in [known for known in table if known >= step]:
            del table[later]
        table[step] = {
            name: float("nan") if value is None else float(value)
            for name, value in entry.items()
            if name not in _KEPT and (value is None or isinstance(value, int | float))
        }

    def _curves(
        self, title: str, y_label: str, table: dict[int, dict[str, float]], wanted: Callable[[str], bool]
    ) -> Curves:
        names: Iterable[str] = dict.fromkeys(
            name for values in table.values() for name in values if wanted(name)
        )
        lines = {
            name: (
                [float(step) for step, values in table.items() if name in values],
                [values[name] for values in table.values() if name in values],
            )
            for name in names
            # What was never measured (no large objects, say) has no line.
            if not all(math.isnan(values.get(name, math.nan)) for values in table.values())
        }
        return Curves(title, "step", y_label, lines)


def _in_family(family: str) -> Callable[[str], bool]:
    return lambda name: name.split("/")[0] == family
