"""A run in one go beside the same run stopped and resumed: what differs."""

from __future__ import annotations

import contextlib
import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import torch

from omma.checkpoint.store import read_checkpoint
from omma.hooks import Hook

from .small_run import make_run

LENGTH = 13


class Remember(Hook):
    """Keeps what was logged and judged."""

    every_process = True

    def __init__(self, stop_at: int | None = None) -> None:
        self.logged: list[tuple[int, dict[str, float]]] = []
        self.judged: list[tuple[int, dict[str, float]]] = []
        self.stop_at = stop_at

    def after_step(self, run, losses, scalars) -> None:
        if scalars is not None:
            kept = {k: v for k, v in scalars.items() if k not in ("time", "data_time", "memory_mb")}
            self.logged.append((run.step, kept))
        if run.step == self.stop_at:
            raise SystemExit

    def after_eval(self, run, result) -> None:
        self.judged.append((run.step, result.values))


def outcome(out: Path) -> dict[str, Any]:
    checkpoint = read_checkpoint(out / "checkpoints" / f"step_{LENGTH:06d}")
    return {"model": checkpoint.model, "ema": checkpoint.ema, "state": checkpoint.state}


def differences(a: Any, b: Any, path: str = "") -> list[str]:
    """Paths of the leaves that differ in any bit."""
    if isinstance(a, torch.Tensor):
        return [] if a.dtype == b.dtype and torch.equal(a, b) else [path]
    if isinstance(a, dict):
        assert a.keys() == b.keys(), path
        return [d for key in a for d in differences(a[key], b[key], f"{path}/{key}")]
    if isinstance(a, list | tuple):
        assert len(a) == len(b), path
        return [d for i, (x, y) in enumerate(zip(a, b)) for d in differences(x, y, f"{path}/{i}")]
    return [] if a == b or (isinstance(a, float) and math.isnan(a) and math.isnan(b)) else [path]


def resumed_differences(folder: Path, **words: Any) -> list[str]:
    """What differs between a straight run and one stopped after step 10 and resumed from that of step 8.

    Step 10 lies in the middle of an epoch. Every process of a group calls it and gets its own view.
    """
    words = {"steps": LENGTH, "save_every": 4, "eval_every": 5, "keep": 9} | words
    straight, first, second = Remember(), Remember(stop_at=10), Remember()
    run = make_run(folder / "a", hooks=(straight,), **words)
    run.train()
    drawn = draws()

    with contextlib.suppress(SystemExit):
        make_run(folder / "b", hooks=(first,), **words).train()
    spoil_generators()
    again = make_run(folder / "b", hooks=(second,), **words)
    path = again.resume()
    assert path is not None
    assert path.name == "step_000008", path
    again.train()

    found = differences(outcome(folder / "a"), outcome(folder / "b"))
    found += differences(drawn, draws(), "generators")
    found += [] if run.model.seen[-len(again.model.seen) :] == again.model.seen else ["images"]
    for name in ("logged", "judged"):
        later = [entry for entry in getattr(straight, name) if entry[0] > 8]
        found += [] if later == getattr(second, name) else [name]
    return found


def draws() -> list[Any]:
    """The next number of each generator of this process."""
    return [torch.rand(3), np.random.rand(), random.random()]


def spoil_generators() -> None:
    """Leave the generators where no run has them."""
    torch.manual_seed(987)
    np.random.seed(987)
    random.seed(987)
