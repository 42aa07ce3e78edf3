"""Each fault of the campaign (tests/chaos) once, at a moment that is the same every time it is drawn."""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from tests.chaos import tries as t

pytestmark = pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks up workers in /proc")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("faults")


@pytest.fixture
def out(folder: Path) -> Iterator[Path]:
    yield folder / "try"
    t.clear(folder / "try")


ALONE = {
    "killed in a step": partial(t.killed, where="steps"),
    "killed in an evaluation": partial(t.killed, where="evaluation"),
    "killed while writing": partial(t.killed, where="writing"),
    "SIGTERM": t.terminated,
    "worker killed": t.worker_killed,
    "worker hangs": t.worker_stopped,
    "read-only": t.read_only,
    "clock": t.clock_jumps,
    "damage": t.damaged,
}


@pytest.mark.parametrize("fault", ALONE)
def test_a_run_that_is_hurt_goes_on_with_the_same_bits(fault, folder, out):
    outcome = ALONE[fault](t.World(folder), out, random.Random(fault))
    assert outcome.broken == ""


def test_a_full_disk_breaks_nothing(folder, out):
    if not t.may_mount():
        pytest.skip("this machine lets nobody mount a file system")
    world = t.World(folder)
    world.reference()
    assert t.disk_full(world, out, random.Random(0)).broken == ""


@pytest.mark.parametrize("attempt", [t.rank_killed, t.rank_stopped])
def test_the_loss_of_a_process_is_told_by_the_other_one(attempt, folder, out):
    outcome = attempt(t.World(folder, 2), out, random.Random(1))
    assert outcome.broken == ""
