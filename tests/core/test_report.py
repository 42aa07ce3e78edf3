"""Evaluations as files and the run's report."""

from __future__ import annotations

import json
import math
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from omma.errors import DataError
from omma.metrics import Curves, Matrix, MetricReport, Ranking, Table
from omma.visualization import read_findings, write_findings, write_report, write_rgb
from omma.visualization.run_log import RunLog

REPORT = MetricReport(
    tables=[Table("Classes (box)", ["class", "AP", "objects"], [["cat", 0.5, 3], ["dog", math.nan, 0]])],
    curves=[
        Curves("Precision over recall", "recall", "precision", {"cat": ([0.0, 1.0], [1.0, 0.0])}, (0.0, 1.0))
    ],
    matrices=[Matrix("Confusion", "truth", "prediction", ["cat"], ["cat"], [[3.0]])],
    rankings=[Ranking("Worst images", [(4, 2.5, "four.jpg: 2 missed <cat>")])],
)


class Page(HTMLParser):
    """Tags and text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.sources: list[str] = []
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.tags.append(tag)
        self.sources += [value for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        self.words += data


@pytest.fixture
def run(tmp_path: Path) -> Path:
    lines = [
        {"kind": "train", "step": s, "epoch": 0, "loss": 3 / s, "loss_cls": 1 / s, "lr": 0.1}
        for s in (1, 2, 3)
    ]
    lines.append({"kind": "eval", "step": 3, "epoch": 1, "box/AP": 0.25})
    lines.append({"kind": "end", "step": 3, "epoch": 1, "reason": "finished", "error": None})
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (tmp_path / "config.yaml").write_text("model: {type: <FCOS>}\n")
    (tmp_path / "environment.json").write_text(json.dumps({"command": ["omma", "train", "x"], "cpus": 2}))
    folder = tmp_path / "eval" / "step_000003"
    write_findings(folder, step=3, values={"box/AP": 0.25, "box/APs": math.nan}, reports=[REPORT])
    write_rgb(folder / "worst" / "00_000004.jpg", np.zeros((20, 30, 3), np.uint8))
    return tmp_path


def test_findings_are_read_as_they_were_written(run: Path):
    findings = read_findings(run / "eval" / "step_000003")
    assert findings.step == 3
    assert findings.values == pytest.approx({"box/AP": 0.25, "box/APs": math.nan}, nan_ok=True)
    (report,) = findings.reports
    assert math.isnan(float(report.tables[0].rows[1][1]))
    report.tables[0].rows[1][1] = 0.0
    assert report.curves[0].lines == REPORT.curves[0].lines
    assert (report.matrices, report.rankings) == (REPORT.matrices, REPORT.rankings)


def test_findings_leave_tables_and_charts_beside_them(run: Path):
    names = {path.name for path in (run / "eval" / "step_000003").iterdir()}
    assert {"results.json", "classes_box.csv", "precision_over_recall.svg", "confusion.svg"} <= names


def test_results_are_json_without_nan(run: Path):
    text = (run / "eval" / "step_000003" / "results.json").read_text()
    values = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))["values"]
    assert values == {"box/AP": 0.25, "box/APs": None}


def test_a_damaged_evaluation_is_an_error(tmp_path: Path):
    (tmp_path / "results.json").write_text('{"step":')
    with pytest.raises(DataError, match="no whole evaluation"):
        read_findings(tmp_path)


def test_the_report_has_numbers_curves_tables_pictures_and_origin(run: Path):
    page = Page(write_report(run).read_text())
    for words in (
        "box/AP",
        "0.250",
        "Training losses",
        "loss_cls",
        "Classes (box)",
        "Confusion",
        "omma train x",
    ):
        assert words in page.words
    assert "four.jpg: 2 missed <cat>" in page.words
    assert "model: {type: <FCOS>}" in page.words
    assert page.tags.count("svg") == 5


def test_the_report_needs_no_other_file(run: Path):
    page = Page(write_report(run).read_text())
    assert page.sources
    assert all(source.startswith("data:image/jpeg;base64,") for source in page.sources)


def test_the_report_of_a_failed_run_says_why(run: Path):
    with (run / "log.jsonl").open("a") as file:
        file.write(json.dumps({"kind": "end", "step": 3, "reason": "finished", "error": "disk full"}) + "\n")
    assert "failed: disk full" in Page(write_report(run).read_text()).words


def test_the_report_of_an_empty_folder_is_a_page(tmp_path: Path):
    assert tmp_path.name in Page(write_report(tmp_path).read_text()).words


def test_the_report_of_no_folder_is_an_error(tmp_path: Path):
    with pytest.raises(DataError, match="no such run folder"):
        write_report(tmp_path / "none")


def test_the_report_takes_the_newest_whole_evaluation(run: Path):
    write_findings(run / "eval" / "step_000009", step=9, values={"box/AP": 0.75}, reports=[])
    (run / "eval" / "step_000012").mkdir()
    (run / "eval" / "step_000012" / "results.json").write_text("{")
    assert "Evaluation at step 9" in Page(write_report(run).read_text()).words


def test_steps_that_were_repeated_after_a_resume_count_once(tmp_path: Path):
    steps = [(1, 5.0), (2, 4.0), (3, 9.0), (2, 3.0)]
    lines = [json.dumps({"kind": "train", "step": step, "loss": loss}) for step, loss in steps]
    (tmp_path / "log.jsonl").write_text("\n".join([*lines, '{"kind": "tra']))
    log = RunLog.read(tmp_path / "log.jsonl")
    assert log.losses().lines == {"loss": ([1.0, 2.0], [5.0, 3.0])}
    assert log.broken == 1


def test_a_family_of_many_metrics_is_charted_by_its_headlines(tmp_path):
    names = [f"box/{name}" for name in ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1")]
    few = [f"mask/{name}" for name in ("AP", "AP50", "AP75", "APs")]
    entry = {"kind": "eval", "step": 1, **dict.fromkeys([*names, *few], 0.5)}
    (tmp_path / "log.jsonl").write_text(json.dumps(entry) + "\n")
    box, mask = RunLog.read(tmp_path / "log.jsonl").metrics()
    assert list(box.lines) == names[:3]
    assert list(mask.lines) == few
