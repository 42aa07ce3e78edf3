"""The fault campaign: runs are hurt in every way that machines have, and must go on with the same bits.

Prints a table: fault, tries, survived, lost steps. Exits with 1 if a checkpoint was broken, a resumed run
differs from the straight one, or anything hung.

    make chaos
    python tests/chaos/campaign.py [--seed N] [--only WORD] [--share 0.1]
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import torch
from tests.chaos import tries as t

LIMIT = 20 * 60
"""Seconds; what wasn't tried by then is told and counts as a failure."""


def faults() -> list[tuple[str, int, int, Callable[..., t.Outcome]]]:
    """Name, tries, processes, and the try itself."""
    return [
        ("SIGKILL during steps", 34, 1, partial(t.killed, where="steps")),
        ("SIGKILL during evaluation", 33, 1, partial(t.killed, where="evaluation")),
        ("SIGKILL while writing a checkpoint", 33, 1, partial(t.killed, where="writing")),
        ("SIGTERM", 15, 1, t.terminated),
        ("disk full", 15, 1, t.disk_full),
        ("folder becomes read-only", 10, 1, t.read_only),
        ("worker killed", 15, 1, t.worker_killed),
        ("worker hangs", 10, 1, t.worker_stopped),
        ("newest checkpoint damaged", 20, 1, t.damaged),
        ("clock jumps", 10, 1, t.clock_jumps),
        ("1 of 2 processes killed", 15, 2, t.rank_killed),
        ("1 of 2 processes stalls", 10, 2, t.rank_stopped),
    ]


def main() -> int:
    """Run the campaign; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="faults whose name has this word")
    parser.add_argument("--share", type=float, default=1.0, help="of the tries")
    parser.add_argument("--folder", type=Path, help="where to work (default: a temporary folder)")
    args = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    begin, rows, failures = time.monotonic(), [], []
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        for fault, count, processes, attempt in faults():
            if args.only in fault:
                count = max(1, round(count * args.share))
                world = t.World(Path(name), processes)
                row, found = campaign(world, fault, count, attempt, args.seed, begin)
                rows.append(row)
                print(f"{fault}: {row[2]} of {row[1]} survived", file=sys.stderr, flush=True)
                failures += found
    print_table(rows)
    seconds = time.monotonic() - begin
    print(f"seed {args.seed}, {seconds:.0f} s, {os.cpu_count()} CPUs, torch {torch.__version__}")
    for failure in failures:
        print(f"\n{failure}")
    return 1 if failures else 0


def campaign(
    world: t.World, fault: str, count: int, attempt: Callable[..., t.Outcome], seed: int, begin: float
) -> tuple[list[Any], list[str]]:
    """All tries of one fault: its row of the table, and what went wrong."""
    if fault == "disk full" and not t.may_mount():
        return [fault, 0, "not possible: no mount namespaces here", "", "", "", ""], []
    world.reference()
    survived, broken, hung, lost, failures, since = 0, 0, 0, [], [], time.monotonic()
    for number in range(count):
        if time.monotonic() - begin > LIMIT:
            failures.append(f"{fault}: only {number} of {count} tries within {LIMIT} s")
            break
        out = world.folder / f"try-{number}"
        outcome = attempt(world, out, random.Random(f"{seed} {fault} {number}"))
        survived += not outcome.broken
        hung += outcome.hung
        broken += bool(outcome.broken) and not outcome.hung
        lost.append(outcome.lost)
        if outcome.broken:
            failures.append(f"{fault}, try {number}: {outcome.broken}")
        t.clear(out)
        if sys.stderr.isatty():
            print(f"\r{fault}: {number + 1}/{count} ", end="", file=sys.stderr, flush=True)
    steps = f"{sum(lost) / max(len(lost), 1):.1f} ({max(lost, default=0)})"
    return [fault, len(lost), survived, broken, hung, steps, f"{time.monotonic() - since:.0f}"], failures


def print_table(rows: list[list[Any]]) -> None:
    """As Markdown."""
    head = ["fault", "tries", "survived", "broken", "hung", "lost steps, mean (most)", "seconds"]
    cells = [head, *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
    cells.insert(1, ["-" * width for width in widths])
    print("\r", end="")
    for row in cells:
        print("| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |")


if __name__ == "__main__":
    sys.exit(main())
