"""Where the golden files lie, and a summary of how they compare."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

GOLDEN = Path(os.environ.get("OMMA_GOLDEN", Path(__file__).parents[3] / "shared" / "golden"))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "golden_file" in metafunc.fixturenames:
        files = sorted(GOLDEN.rglob("*.json")) if GOLDEN.is_dir() else []
        metafunc.parametrize("golden_file", files, ids=[file.stem for file in files])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    seen: Counter[str] = Counter()
    for outcome in ("passed", "failed", "error", "skipped"):
        for report in terminalreporter.getreports(outcome):
            if "test_golden" in report.nodeid:
                missing = outcome == "skipped" and "Omma has no config" in str(report.longrepr)
                seen["missing" if missing else outcome] += 1
    terminalreporter.write_line(
        f"golden files: {seen['passed']} passed, {seen['failed'] + seen['error']} failed, {seen['missing']} missing"
    )
