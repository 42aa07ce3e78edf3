"""``torchrun -m omma train``: on one machine, and on two that are network namespaces."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CONFIG = "fcos_r18_shapes"
WORDS = [
    "data.train.workers=0",
    "data.val.workers=0",
    "train.log_every=1",
    "train.device=cpu",
    "train.steps=2",
    "train.epochs=null",
    "data.train.batch_size=2",
    "train.parallel=ddp",
]


@pytest.fixture
def environment() -> dict[str, str]:
    rooms = ("core", "detection", "segmentation", "pose", "action")
    paths = os.pathsep.join(str(ROOT / room) for room in rooms)
    return os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}


def command(*torchrun: str, data: Path, out: Path) -> list[str]:
    """``torchrun ... -m omma train`` for two steps of a small detector."""
    start = [sys.executable, "-W", "ignore", "-m", "torch.distributed.run", *torchrun]
    return [*start, "-m", "omma", "train", CONFIG, f"data.root={data}", *WORDS, "--out", str(out)]


def started(words: list[str], environment: dict[str, str]) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    return subprocess.Popen(words, env=environment, stdout=pipe, stderr=subprocess.STDOUT, text=True)


def entries(out: Path, kind: str) -> list[dict[str, float]]:
    lines = (out / "log.jsonl").read_text().splitlines()
    return [entry for entry in map(json.loads, lines) if entry["kind"] == kind]


@pytest.fixture
def two_machines() -> Iterator[list[list[str]]]:
    """Two network namespaces joined by a cable, 10.213.77.1 and .2: what precedes a command in each."""
    name = uuid.uuid4().hex[:6]
    spaces, ends = [f"omma-{name}-{i}" for i in (1, 2)], [f"om{name}{i}" for i in (1, 2)]
    try:
        for space in spaces:
            ip("netns", "add", space)
        ip(
            "link",
            "add",
            ends[0],
            "netns",
            spaces[0],
            "type",
            "veth",
            "peer",
            "name",
            ends[1],
            "netns",
            spaces[1],
        )
        for number, (space, end) in enumerate(zip(spaces, ends), start=1):
            ip("-n", space, "addr", "add", f"10.213.77.{number}/24", "dev", end)
            ip("-n", space, "link", "set", end, "up")
            ip("-n", space, "link", "set", "lo", "up")
        yield [
            ["ip", "netns", "exec", space, "env", f"GLOO_SOCKET_IFNAME={end}"]
            for space, end in zip(spaces, ends)
        ]
    finally:
        for space in spaces:
            subprocess.run(["ip", "netns", "del", space], capture_output=True)


def ip(*words: str) -> None:
    if shutil.which("ip") is None:
        pytest.skip("iproute2 is not installed")
    done = subprocess.run(["ip", *words], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"ip {' '.join(words[:3])}: {done.stderr.strip()}")


def test_two_processes_of_one_machine(environment, shapes_world, tmp_path):
    out = tmp_path / "run"
    words = command("--standalone", "--nproc-per-node", "2", data=shapes_world, out=out)
    run = started(words, environment)
    said, _ = run.communicate(timeout=300)
    assert run.returncode == 0, said
    assert "parallel ddp" in said
    assert [entry["batch_size"] for entry in entries(out, "start")] == [4]
    assert [entry["step"] for entry in entries(out, "train")] == [1, 2]
    assert (out / "checkpoints" / "step_000002" / "meta.json").is_file()


def test_two_machines(environment, shapes_world, two_machines, tmp_path):
    out = tmp_path / "run"
    meet = ["--nnodes", "2", "--nproc-per-node", "1", "--rdzv-backend", "c10d"]
    meet += ["--rdzv-endpoint", "10.213.77.1:29400", "--rdzv-id", "omma"]
    runs = []
    for number, prefix in enumerate(two_machines, start=1):
        # A name space has no host name of its own, by which torchrun would know the first machine.
        own = ["--rdzv-conf", f"is_host={int(number == 1)}", "--local-addr", f"10.213.77.{number}"]
        words = command(*meet, *own, data=shapes_world, out=out)
        runs.append(started([*prefix, *words], environment))
    try:
        said = [run.communicate(timeout=300)[0] for run in runs]
    finally:
        for run in runs:
            run.kill()
    assert [run.returncode for run in runs] == [0, 0], "\n".join(said)
    assert [entry["batch_size"] for entry in entries(out, "start")] == [4]
    assert (out / "checkpoints" / "step_000002" / "meta.json").is_file()
