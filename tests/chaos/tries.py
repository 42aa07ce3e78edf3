"""Runs that are hurt on purpose, in processes forked from this one so that a try costs a second.

A try starts a small run, does it harm at a moment drawn by chance, looks at the checkpoints it left, and
resumes it. ``Outcome`` says what came of it; the resumed run must end with the bits of the undisturbed one.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import hashlib
import json
import logging
import mmap
import os
import random
import re
import shutil
import signal
import socket
import struct
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from tests.core.small_run import make_run

from omma.checkpoint.store import CheckpointStore, find_damage, read_checkpoint
from omma.errors import OmmaError
from omma.hooks import JsonLog
from omma.optim import EMASettings
from omma.parallel import here

STEPS, PATIENCE, TIMEOUT = 36, 120.0, 6.0
"""Steps of a run, seconds until a process counts as hung, seconds of ``train.timeout``."""
STAGES = {
    "steps": ("waiting for data", "loss and gradients", "update of the weights"),
    "evaluation": ("evaluation", "metrics"),
    "writing": ("writing a checkpoint",),
}
_TOLD = 2  # exit code of a run that ended with an error of Omma's own


@dataclass
class Outcome:
    """What came of one try."""

    broken: str = ""
    """What is wrong, if anything is: a damaged checkpoint, other weights, a message that says too little."""
    hung: bool = False
    lost: int = 0
    """Steps that had to be made again."""
    notes: list[str] = field(default_factory=list)


class Board:
    """What a run tells while it runs, in shared memory: its step, its stage, and how many there were."""

    def __init__(self) -> None:
        self.memory = mmap.mmap(-1, 128)

    def write(self, step: int, count: int, stage: str) -> None:
        """Overwrite it."""
        self.memory[:72] = struct.pack("<ii64s", step, count, stage.encode()[:64])

    def read(self) -> tuple[int, int, str]:
        """Step, count, stage."""
        step, count, stage = struct.unpack("<ii64s", self.memory[:72])
        return step, count, stage.rstrip(b"\0").decode()

    def watch(self) -> None:
        """Have this process's ``here`` written on the board."""
        board = self

        class Shown(type(here)):
            def at(self, doing: str, *, step: int | None = None) -> None:
                super().at(doing, step=step)
                board.write(self.step, self.beats, doing)

        here.__class__ = Shown


class Child:
    """A function in a forked process of its own."""

    def __init__(self, function: Callable[[], Any], log: Path) -> None:
        self.log = log
        self.code: int | None = None
        sys.stdout.flush()
        self.pid = os.fork()
        if not self.pid:
            _serve(function, log)

    def wait(self, seconds: float = PATIENCE) -> bool:
        """Whether it ends within ``seconds``; ``code`` is then its exit code, negative for a signal."""
        end = time.monotonic() + seconds
        while self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.code = os.waitstatus_to_exitcode(status)
            elif time.monotonic() >= end:
                break
            else:
                time.sleep(0.001)
        return self.code is not None

    def end(self) -> None:
        """Kill it if it runs."""
        if self.code is None:
            os.kill(self.pid, signal.SIGKILL)
            self.wait()

    def workers(self) -> list[int]:
        """Process ids of its children."""
        with contextlib.suppress(OSError):
            return [
                int(pid) for pid in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
            ]
        return []

    @property
    def said(self) -> str:
        """What it printed."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""


def _serve(function: Callable[[], Any], log: Path) -> None:
    code = 1
    try:
        sink = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(sink, 1)
        os.dup2(sink, 2)
        sys.stdout = os.fdopen(1, "w", buffering=1, closefd=False)
        sys.stderr = sys.__stderr__ = os.fdopen(2, "w", buffering=1, closefd=False)
        logging.basicConfig(stream=sys.stderr, force=True)
        faulthandler.register(signal.SIGUSR1, file=sys.stderr)
        code = function() or 0
    except OmmaError as error:
        print(f"error: {error}", file=sys.stderr)
        code = _TOLD
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


@dataclass(frozen=True)
class World:
    """One kind of run and the folder its tries take place in."""

    folder: Path
    processes: int = 1
    words: dict[str, Any] = field(default_factory=dict)

    def start(
        self,
        out: Path,
        boards: list[Board],
        before: Callable[[], Any] | None = None,
        *,
        worker_timeout: float = 3.0,
    ) -> list[Child]:
        """Start or resume the run in ``out``; one child for each process."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]

        def run(rank: int) -> int:
            torch.set_num_threads(1)
            if self.processes > 1:
                os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(self.processes)}
                os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
            boards[rank].watch()
            if before is not None:
                before()
            runner = make_run(out, **self.settings())
            runner.train_loader.timeout = worker_timeout
            runner.resume()
            result = runner.train()
            return 128 + result.signal if result.signal else 0

        return [
            Child(lambda rank=rank: run(rank), self.folder / f"{out.name}-{rank}.txt")
            for rank in range(self.processes)
        ]

    def settings(self) -> dict[str, Any]:
        """Of the run."""
        words = {
            "steps": STEPS,
            "save_every": 4,
            "eval_every": 6,
            "workers": 1,
            "batch": 4 // self.processes,
            "ema": EMASettings(decay=0.9),
            "hooks": (JsonLog(),),
            "timeout": TIMEOUT,
        }
        return words | self.words

    def finish(self, out: Path, *, whole: bool = True) -> Outcome:
        """Look at what a hurt run left in ``out`` (unless ``whole`` is false), and resume it to its end."""
        boards = [Board() for _ in range(self.processes)]
        if whole and (damage := self.damage(out)):
            return Outcome(broken=damage)
        # Nothing hangs here; on a busy machine a batch may take seconds.
        children = self.start(out, boards, worker_timeout=PATIENCE / 2)
        try:
            if not all(child.wait() for child in children):
                return Outcome(hung=True, broken=f"the resumed run hangs: {children[0].said[-2000:]}")
            if any(child.code for child in children):
                return Outcome(broken=f"the resumed run failed: {[child.said[-2000:] for child in children]}")
        finally:
            for child in children:
                child.end()
        if fingerprint(out) != self.reference():
            return Outcome(broken="the resumed run ended with other weights than the straight one")
        return Outcome()

    def damage(self, out: Path) -> str:
        """What is wrong with any of the checkpoints in ``out``."""
        found = [path for _, path in store(out).all()]
        best = out / "checkpoints" / "best"
        faults = [f"{path.name}: {damage}" for path in found if (damage := find_damage(path))]
        if best.exists() and (damage := find_damage(best)):
            faults.append(f"best: {damage}")
        return "; ".join(faults)

    def reference(self) -> str:
        """The fingerprint of the straight run, which is made once."""
        out = self.folder / f"straight-{self.processes}"
        if not (out / "done").exists():
            children = self.start(out, [Board() for _ in range(self.processes)])
            for child in children:
                child.wait()
                assert child.code == 0, child.said
            (out / "done").touch()
        return fingerprint(out)


def store(out: Path) -> CheckpointStore:
    """The checkpoints of the run in ``out``."""
    return CheckpointStore(out / "checkpoints", keep=3)


def fingerprint(out: Path) -> str:
    """Digest of weights, averaged weights, optimiser and generators at the end of a run."""
    checkpoint = read_checkpoint(out / "checkpoints" / f"step_{STEPS:06d}")
    digest = hashlib.sha256()

    def add(value: Any) -> None:
        if isinstance(value, dict):
            value = [part for key in sorted(value, key=str) for part in (key, value[key])]
        if isinstance(value, list | tuple):
            for part in value:
                add(part)
        else:
            digest.update(
                value.numpy().tobytes() if isinstance(value, torch.Tensor) else repr(value).encode()
            )

    add([checkpoint.model, checkpoint.ema, checkpoint.state])
    return digest.hexdigest()


def last_saved(out: Path) -> int:
    """Step of the newest checkpoint, 0 if there is none."""
    steps = store(out).all()
    return steps[-1][0] if steps else 0


def until(child: Child, board: Board, stages: tuple[str, ...], chance: random.Random) -> bool:
    """Wait for one of ``stages`` after a step drawn by chance, and a moment more. False: it ended before."""
    step = chance.randrange(1, STEPS - 1)
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        now, _, stage = board.read()
        if now >= step and (not stages or stage in stages):
            time.sleep(
                chance.random() * 0.02 if "writing a checkpoint" in stages else chance.random() * 0.004
            )
            return not child.wait(0.0)
        if child.wait(0.0):
            return False
        time.sleep(0.0001)
    return True


@contextlib.contextmanager
def running(world: World, out: Path, **words: Any) -> Iterator[tuple[list[Child], list[Board]]]:
    """The run in ``out``, ended at the latest at the end."""
    boards = [Board() for _ in range(world.processes)]
    children = world.start(out, boards, **words)
    try:
        yield children, boards
    finally:
        for child in children:
            child.end()


def killed(world: World, out: Path, chance: random.Random, *, where: str) -> Outcome:
    """SIGKILL at a moment of the stage ``where``."""
    with running(world, out) as ((child,), (board,)):
        until(child, board, STAGES[where], chance)
        child.end()
        made = board.read()[0] - 1
    lost = max(0, made - last_saved(out))
    outcome = world.finish(out)
    outcome.lost = lost
    return outcome


def terminated(world: World, out: Path, chance: random.Random) -> Outcome:
    """SIGTERM at any moment: the run saves its state and ends with code 143."""
    with running(world, out) as ((child,), (board,)):
        until(child, board, (), chance)
        os.kill(child.pid, signal.SIGTERM)
        if not child.wait():
            return Outcome(hung=True, broken="SIGTERM did not end it")
        made = board.read()[0]
    if child.code not in (0, 128 + signal.SIGTERM):
        return Outcome(broken=f"exit code {child.code}: {child.said[-2000:]}")
    lost = made - last_saved(out)
    outcome = world.finish(out)
    outcome.lost = lost
    return outcome


def told(world: World, out: Path, children: list[Child], boards: list[Board], pattern: str) -> Outcome:
    """After harm that ends a run: it must end in time and say something like ``pattern``; it is resumed."""
    for child in children:
        if not child.wait(PATIENCE / 2):
            return Outcome(hung=True, broken=f"it hangs: {child.said[-2000:]}")
    made = max(board.read()[0] for board in boards) - 1
    text = "\n".join(child.said for child in children)
    if not re.search(pattern, text, re.DOTALL):
        return Outcome(broken=f"expected a message like {pattern!r}, got: {text[-3000:]}")
    lost = max(0, made - last_saved(out))
    outcome = world.finish(out)
    outcome.lost = lost
    return outcome


def worker_killed(world: World, out: Path, chance: random.Random) -> Outcome:
    """SIGKILL for a worker of the loader."""
    with running(world, out) as (children, boards):
        until(children[0], boards[0], STAGES["steps"], chance)
        for pid in children[0].workers()[:1]:
            os.kill(pid, signal.SIGKILL)
        return told(world, out, children, boards, r"worker 0 of the data loader was killed by SIGKILL")


_NAMES_THE_WORKER = (
    r"no batch came from the data loader's workers for 3 s: |"
    # It was stopped while it handed a batch over, which is when the loader's own limit doesn't hold.
    r"no progress for .* waiting for data\n +worker 0 "
)


def worker_stopped(world: World, out: Path, chance: random.Random) -> Outcome:
    """A worker that answers no more."""
    with running(world, out) as (children, boards):
        until(children[0], boards[0], STAGES["steps"], chance)
        for pid in children[0].workers()[:1]:
            os.kill(pid, signal.SIGSTOP)
        return told(world, out, children, boards, _NAMES_THE_WORKER)


_TELLS_WHERE = (
    r"process \d of 2 .*step \d+, .*last collective: .*process \d: .*(dead, stopped|nothing is known)"
)


def rank_killed(world: World, out: Path, chance: random.Random) -> Outcome:
    """SIGKILL for one of two processes."""
    with running(world, out) as (children, boards):
        victim = chance.randrange(2)
        until(children[victim], boards[victim], (), chance)
        children[victim].end()
        return told(world, out, children, boards, _TELLS_WHERE)


def rank_stopped(world: World, out: Path, chance: random.Random) -> Outcome:
    """One of two processes stalls."""
    with running(world, out) as (children, boards):
        victim = chance.randrange(2)
        until(children[victim], boards[victim], (), chance)
        os.kill(children[victim].pid, signal.SIGSTOP)
        begin = time.monotonic()
        if not children[1 - victim].wait():
            return Outcome(hung=True, broken=f"the other one hangs: {children[1 - victim].said[-2000:]}")
        waited = time.monotonic() - begin
        children[victim].end()
        outcome = told(world, out, children, boards, _TELLS_WHERE)
        outcome.notes.append(f"told after {waited:.1f} s")
        return outcome


def read_only(world: World, out: Path, chance: random.Random) -> Outcome:
    """The checkpoints' folder can't be written to any more."""
    (out / "checkpoints").mkdir(parents=True)

    def drop_rights() -> None:
        # Of root, to write anywhere: version 3, this process, and no capability in any of the three sets.
        if _libc.capset(struct.pack("<Ii", 0x20080522, 0), bytes(24)):
            raise OSError(ctypes.get_errno(), "capset is not allowed here")

    with running(world, out, before=drop_rights) as (children, boards):
        alive = until(children[0], boards[0], STAGES["steps"], chance)
        os.chmod(out / "checkpoints", 0o555)
        try:
            if not children[0].wait():
                return Outcome(hung=True, broken="it hangs")
        finally:
            os.chmod(out / "checkpoints", 0o755)
        pattern = r"can't write the checkpoint .*Permission denied" if alive and children[0].code else ""
        return told(world, out, children, boards, pattern)


def clock_jumps(world: World, out: Path, chance: random.Random) -> Outcome:
    """The clock goes back and forth by days, and so do the times of the files, around a SIGTERM."""
    real = time.time
    jumps = random.Random(chance.random())

    def jump() -> None:
        time.time = lambda: real() + jumps.uniform(-1e7, 1e7)

    with running(world, out, before=jump) as ((child,), (board,)):
        until(child, board, (), chance)
        os.kill(child.pid, signal.SIGTERM)
        if not child.wait():
            return Outcome(hung=True, broken="SIGTERM did not end it")
        made = board.read()[0]
    if child.code not in (0, 128 + signal.SIGTERM):
        return Outcome(broken=f"exit code {child.code}: {child.said[-2000:]}")
    for path in [out, *out.rglob("*")]:
        at = real() + jumps.uniform(-1e7, 1e7)
        os.utime(path, (at, at))
    lost = made - last_saved(out)
    outcome = world.finish(out)
    outcome.lost = lost
    return outcome


def damaged(world: World, out: Path, chance: random.Random) -> Outcome:
    """A file of the newest checkpoint is cut, changed or lost after the run was stopped."""
    with running(world, out) as ((child,), (board,)):
        while len(store(out).all()) < 2 and not child.wait(0.001):
            pass
        until(child, board, (), chance)
        os.kill(child.pid, signal.SIGTERM)
        child.wait()
    (_, before), (step, newest) = store(out).all()[-2:]
    file = chance.choice(sorted(newest.iterdir()))
    data = bytearray(file.read_bytes())
    how = chance.choice(["cut", "changed", "lost"])
    if how == "lost":
        file.unlink()
    else:
        at = data.index(b"files") if file.name == "meta.json" else chance.randrange(len(data))
        data[at] ^= 0x41
        file.unlink()  # best may be the same file by another name
        file.write_bytes(data[:at] if how == "cut" else data)
    if store(out).latest() != before:
        return Outcome(broken=f"{file.name} {how}: the one before was not taken")
    children = world.start(out, [Board()])
    if not children[0].wait():
        children[0].end()
        return Outcome(hung=True, broken="the resumed run hangs")
    if f"{newest.name} is damaged" not in children[0].said:
        return Outcome(broken=f"no warning: {children[0].said[-2000:]}")
    outcome = world.finish(out, whole=False)  # the damaged one may still lie there, passed over
    outcome.lost = step - int(before.name.removeprefix("step_"))
    return outcome


def disk_full(world: World, out: Path, chance: random.Random) -> Outcome:
    """The file system of the run fills up: a tmpfs of a few blocks, in a mount namespace of its own."""
    footprint = sum(f.stat().st_blocks * 512 for f in (world.folder / "straight-1").rglob("*") if f.is_file())
    size = int(footprint * chance.uniform(0.1, 0.9))
    note = world.folder / f"{out.name}-outcome.json"

    def cell() -> int:
        _own_mounts()
        out.mkdir(exist_ok=True)
        _mount("tmpfs", out, 0, f"size={size}")
        with running(world, out) as (children, boards):
            if not children[0].wait():
                outcome = Outcome(hung=True, broken="it hangs")
            else:
                _mount("none", out, _REMOUNT, "size=100m")
                outcome = told(world, out, children, boards, r"error: .*can't write the checkpoint.* whole")
        note.write_text(json.dumps(vars(outcome)))
        return 0

    child = Child(cell, world.folder / f"{out.name}-cell.txt")
    if not child.wait(3 * PATIENCE):
        child.end()
        return Outcome(hung=True, broken="the try hangs")
    if not note.exists():
        return Outcome(broken=child.said[-2000:])
    return Outcome(**json.loads(note.read_text()))


_REMOUNT = 32
_CLONE_NEWNS, _CLONE_NEWUSER, _MS_PRIVATE_REC = 0x20000, 0x10000000, (1 << 18) | (1 << 14)
_libc = ctypes.CDLL(None, use_errno=True)


def _own_mounts() -> None:
    """Mounts of this process are its own from now on.

    Raises:
        OSError: the machine doesn't allow it.
    """
    user, group = os.getuid(), os.getgid()
    if _libc.unshare(_CLONE_NEWNS | (_CLONE_NEWUSER if user else 0)):
        raise OSError(ctypes.get_errno(), "unshare is not allowed here")
    if user:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {user} 1")
        Path("/proc/self/gid_map").write_text(f"0 {group} 1")
    _mount("none", Path("/"), _MS_PRIVATE_REC, "", kind=None)


def _mount(source: str, target: Path, flags: int, options: str, *, kind: bytes | None = b"tmpfs") -> None:
    if _libc.mount(source.encode(), bytes(target), kind, flags, options.encode()):
        number = ctypes.get_errno()
        raise OSError(number, f"mount: {os.strerror(number)}")


def may_mount() -> bool:
    """Whether this machine lets a process mount a tmpfs of its own."""
    pid = os.fork()
    if not pid:
        try:
            _own_mounts()
        except OSError:
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def clear(out: Path) -> None:
    """Remove what a try left."""
    shutil.rmtree(out, ignore_errors=True)
    for file in out.parent.glob(f"{out.name}-*"):
        file.unlink()
