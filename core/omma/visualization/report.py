"""``report.html``: all that a run folder holds, on one page that needs no other file."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any, TypeVar

import cv2

from omma.errors import DataError, SetupError
from omma.metrics import Table
from omma.visualization.charts import heat_map, line_chart
from omma.visualization.findings import RESULTS, Findings, read_findings
from omma.visualization.images import encode_rgb, read_rgb
from omma.visualization.run_log import RunLog

P = TypeVar("P")

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;color:#223;background:#f6f7f9;margin:0}
main{max-width:1180px;margin:0 auto;padding:24px}
h1{font-size:26px;margin:8px 0}h2{font-size:19px;margin:36px 0 12px}
.card{background:#fff;border:1px solid #e4e6ea;border-radius:8px;padding:16px;margin:12px 0;overflow-x:auto}
.numbers{display:flex;flex-wrap:wrap;gap:12px}
.number{background:#fff;border:1px solid #e4e6ea;border-radius:8px;padding:10px 18px}
.number b{display:block;font-size:24px;font-variant-numeric:tabular-nums}
.number span,.quiet{color:#667;font-size:13px}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(480px,1fr));gap:12px}
.charts .card{margin:0}svg{max-width:100%;height:auto}
table{border-collapse:collapse;font-variant-numeric:tabular-nums}
th,td{padding:4px 14px 4px 0;text-align:right;border-bottom:1px solid #eef0f3}
th{color:#667;font-weight:600;position:sticky;top:0;background:#fff}
th:first-child,td:first-child{text-align:left}
.long{max-height:520px;overflow:auto}
figure{margin:0}figure img{width:100%;border-radius:4px;display:block}
figcaption{font-size:13px;color:#445;padding-top:6px;overflow-wrap:anywhere}
pre{margin:0;white-space:pre-wrap;font-size:12.5px;overflow-wrap:anywhere}
summary{cursor:pointer;font-weight:600}
"""


def write_report(run: str | Path) -> Path:
    """Write ``report.html`` from what lies in the run folder, and return its path.

    It reads ``config.yaml``, ``environment.json``, ``log.jsonl`` and the newest evaluation under ``eval/``;
    what is missing is left out.

    Raises:
        DataError: ``run`` is no folder.
        SetupError: it can't be written to.
    """
    folder = Path(run)
    if not folder.is_dir():
        raise DataError(f"{folder}: no such run folder")
    log = RunLog.read(folder / "log.jsonl")
    findings = _newest(folder / "eval")
    environment = _json(folder / "environment.json")
    name = folder.resolve().name
    body = [f"<h1>{escape(name)}</h1>", _subtitle(environment, log)]
    if findings:
        body += [f"<h2>Evaluation at step {findings.step}</h2>", _numbers(findings.values)]
    body += _training(log)
    if findings:
        body += _evaluation(findings)
    body += _origin(folder, environment)
    page = (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(name)}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head>\n'
        "<body><main>" + "\n".join(part for part in body if part) + "</main></body></html>\n"
    )
    path = folder / "report.html"
    try:
        path.write_text(page, encoding="utf-8")
    except OSError as error:
        raise SetupError(f"{path}: can't be written: {error.strerror}") from error
    return path


def _newest(folder: Path) -> Findings | None:
    whole = []
    for place in sorted(folder.glob(f"*/{RESULTS}")):
        try:
            whole.append(read_findings(place.parent))
        except DataError:
            continue  # a run that was killed while it wrote
    return max(whole, key=lambda findings: findings.step, default=None)


def _subtitle(environment: Mapping[str, Any], log: RunLog) -> str:
    parts = []
    if command := environment.get("command"):
        parts.append(" ".join(map(str, command)) if isinstance(command, list) else str(command))
    if log.train:
        parts.append(f"{max(log.train)} steps")
    if log.end:
        parts.append(
            f"failed: {log.end['error']}" if log.end.get("error") else f"ended: {log.end.get('reason')}"
        )
    if log.broken:
        parts.append(f"{log.broken} lines of log.jsonl can't be read")
    return f'<p class="quiet">{escape(" · ".join(parts))}</p>' if parts else ""


def _numbers(values: Mapping[str, float]) -> str:
    cards = [
        f'<div class="number"><span>{escape(name)}</span><b>{_number(value)}</b></div>'
        for name, value in values.items()
    ]
    return f'<div class="numbers">{"".join(cards)}</div>'


def _training(log: RunLog) -> list[str]:
    charts = [line_chart(log.losses(), log_y=True), line_chart(log.learning_rate())] if log.train else []
    charts += [line_chart(curves) for curves in log.metrics()]
    return ["<h2>Training</h2>", _charts(charts)] if charts else []


def _evaluation(findings: Findings) -> list[str]:
    reports = findings.reports
    out = [_table(table) for report in reports for table in report.tables]
    charts = [line_chart(curves) for report in reports for curves in report.curves]
    # Metrics that judge the same predictions show the same confusions.
    charts += [heat_map(matrix) for matrix in _distinct([m for report in reports for m in report.matrices])]
    out += [_charts(charts)] if charts else []
    if out:
        out.insert(0, "<h2>Classes</h2>")
    out += _worst(findings)
    out += _gallery("Predictions", sorted((findings.folder / "samples").glob("*.jpg")), {})
    return out


def _worst(findings: Findings) -> list[str]:
    rankings = _distinct([r for report in findings.reports for r in report.rankings if r.entries])
    captions = {position: text for ranking in rankings for position, _, text in ranking.entries}
    pictures = sorted((findings.folder / "worst").glob("*.jpg"))
    out = _gallery("Worst images: prediction on the left, ground truth on the right", pictures, captions)
    for ranking in rankings:
        rows: list[list[str | float | int]] = [[text, badness] for _, badness, text in ranking.entries]
        listing = _table(Table("", ["image", "badness"], rows))
        out.append(f"<details><summary>{escape(ranking.title)}: all {len(rows)}</summary>{listing}</details>")
    return out


def _distinct(parts: Sequence[P]) -> list[P]:
    seen: list[P] = []
    for part in parts:
        if part not in seen:
            seen.append(part)
    return seen


def _gallery(title: str, pictures: Sequence[Path], captions: Mapping[int, str]) -> list[str]:
    if not pictures:
        return []
    figures = []
    for path in pictures:
        # worst/03_000120.jpg is the fourth worst, at position 120 of the data set.
        position = path.stem.rpartition("_")[2]
        caption = captions.get(int(position), path.name) if position.isdigit() else path.name
        figures.append(
            f'<figure class="card"><img loading="lazy" src="{_embedded(path)}" alt="">'
            f"<figcaption>{escape(caption)}</figcaption></figure>"
        )
    return [f"<h2>{escape(title)}</h2>", f'<div class="charts">{"".join(figures)}</div>']


def _embedded(path: Path, width: int = 960) -> str:
    image = read_rgb(path)
    if image.shape[1] > width:
        size = (width, max(1, round(image.shape[0] * width / image.shape[1])))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return "data:image/jpeg;base64," + base64.b64encode(encode_rgb(image, quality=82)).decode("ascii")


def _origin(folder: Path, environment: Mapping[str, Any]) -> list[str]:
    out = []
    if environment:
        text = json.dumps(environment, indent=2)
        out.append(f'<details class="card"><summary>Environment</summary><pre>{escape(text)}</pre></details>')
    config = folder / "config.yaml"
    if config.is_file():
        text = config.read_text(encoding="utf-8")
        out.append(f'<details class="card"><summary>Config</summary><pre>{escape(text)}</pre></details>')
    return ["<h2>Where it came from</h2>", *out] if out else []


def _charts(charts: Sequence[str]) -> str:
    return '<div class="charts">' + "".join(f'<div class="card">{chart}</div>' for chart in charts) + "</div>"


def _table(table: Table) -> str:
    head = "".join(f"<th>{escape(column)}</th>" for column in table.columns)
    rows = "".join(
        "<tr>" + "".join(f"<td>{_number(cell)}</td>" for cell in row) + "</tr>" for row in table.rows
    )
    title = f"<p><b>{escape(table.title)}</b></p>" if table.title else ""
    return f'<div class="card long">{title}<table><tr>{head}</tr>{rows}</table></div>'


def _number(value: str | float | int) -> str:
    if isinstance(value, float):
        return "&ndash;" if math.isnan(value) else f"{value:.3f}"
    return escape(str(value))


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
