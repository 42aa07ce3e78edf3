"""Where the golden files lie, and a summary of how they compare."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

GOLDEN = Path(os.environ.get("OMMA_GOLDEN", Path(__file__).parents[3] / "shared" / "golden"))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test for each file in the folder or below it."""
    if "golden_file" in metafunc.fixturenames:
        files = sorted(GOLDEN.rglob("*.json")) if GOLDEN.is_dir() else []
        metafunc.parametrize("golden_file", files, ids=[str(f.relative_to(GOLDEN)) for f in files])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """How many files agree, and which of them don't; a file counts as missing if Omma lacks its config."""
    seen: dict[str, list[str]] = {"passed": [], "failed": [], "missing": []}
    for outcome in ("passed", "failed", "error", "skipped"):
        for report in terminalreporter.getreports(outcome):
            if "test_golden[" not in report.nodeid or not GOLDEN.is_dir():
                continue
            lacks = outcome == "skipped" and "Omma has no config" in str(report.longrepr)
            key = "missing" if lacks else "passed" if outcome == "passed" else "failed"
            seen[key].append(report.nodeid.partition("[")[2].removesuffix("]"))
    counts = ", ".join(f"{len(names)} {key}" for key, names in seen.items())
    terminalreporter.section("golden files")
    for name in sorted(seen["failed"]):
        terminalreporter.write_line(f"failed: {name}")
    terminalreporter.write_line(
        f"{GOLDEN}: {counts}" if GOLDEN.is_dir() else f"{GOLDEN}: there is no such folder"
    )
