"""Evaluations as files: ``results.json``, ``report.json``, tables as CSV and charts as SVG."""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from omma.errors import DataError, SetupError
from omma.metrics import Curves, Matrix, MetricReport, Ranking, Table
from omma.visualization.charts import heat_map, line_chart

RESULTS, REPORT = "results.json", "report.json"


@dataclass(frozen=True)
class Findings:
    """One evaluation, read back."""

    folder: Path
    step: int
    values: dict[str, float]
    reports: list[MetricReport]


def write_findings(
    folder: Path, *, step: int, values: Mapping[str, float], reports: Sequence[MetricReport]
) -> None:
    """Write an evaluation's numbers, tables and charts into ``folder``.

    Raises:
        SetupError: the folder can't be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write_json(folder / RESULTS, {"step": step, "values": dict(values)})
        _write_json(folder / REPORT, [asdict(report) for report in reports])
        for report in reports:
            for table in report.tables:
                with (folder / f"{_slug(table.title)}.csv").open("w", encoding="utf-8", newline="") as file:
                    csv.writer(file).writerows([table.columns, *table.rows])
            for curves in report.curves:
                (folder / f"{_slug(curves.title)}.svg").write_text(line_chart(curves), encoding="utf-8")
            for matrix in report.matrices:
                (folder / f"{_slug(matrix.title)}.svg").write_text(heat_map(matrix), encoding="utf-8")
    except OSError as error:
        raise SetupError(f"{folder}: can't be written to: {error.strerror}") from error


def read_findings(folder: Path) -> Findings:
    """What ``write_findings`` wrote into ``folder``.

    Raises:
        DataError: a file is missing or isn't what it should be.
    """
    try:
        results = _read_json(folder / RESULTS)
        values = {str(name): _float(value) for name, value in results["values"].items()}
        reports = [_report(report) for report in _read_json(folder / REPORT)]
        return Findings(folder, int(results["step"]), values, reports)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise DataError(f"{folder}: holds no whole evaluation ({error}); evaluate again") from error


def _report(plain: dict[str, Any]) -> MetricReport:
    curves = [
        Curves(
            **{**each, "lines": {name: (_floats(x), _floats(y)) for name, (x, y) in each["lines"].items()}}
        )
        for each in plain["curves"]
    ]
    tables = [
        Table(**{**each, "rows": [[_cell(cell) for cell in row] for row in each["rows"]]})
        for each in plain["tables"]
    ]
    matrices = [
        Matrix(**{**each, "values": [_floats(row) for row in each["values"]]}) for each in plain["matrices"]
    ]
    rankings = [
        Ranking(each["title"], [(i, _float(b), text) for i, b, text in each["entries"]])
        for each in plain["rankings"]
    ]
    return MetricReport(tables, curves, matrices, rankings)


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(_plain(value), indent=1) + "\n", encoding="utf-8")


def _read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _plain(value: Any) -> Any:
    """JSON knows no NaN: null stands for it."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _cell(value: Any) -> Any:
    return float("nan") if value is None else value


def _float(value: Any) -> float:
    return float("nan") if value is None else float(value)


def _floats(values: Sequence[Any]) -> list[float]:
    return [_float(value) for value in values]


def _slug(title: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "_", title.lower()).strip("_.")
