"""Ends a process that goes no further, or has lost another one, and says where they stand."""

from __future__ import annotations

import contextlib
import faulthandler
import json
import multiprocessing
import os
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from types import TracebackType
from typing import Any

import torch.distributed as dist

from omma.data.workers import workers_standing
from omma.errors import ProcessError
from omma.parallel.processes import rank, world
from omma.parallel.whereabouts import here

_LOST = ("gloo", "NCCL", "onnection closed", "onnection reset", "roken pipe", "Timed out", "timed out")
"""Words in what torch says of a broken exchange; it raises plain RuntimeErrors."""


class Watchdog:
    """Looks after the loop from a thread of its own while it is entered.

    Without a sign of progress (``here.at``) for ``timeout`` seconds it prints what this and the other
    processes are at and the stack of the loop, kills the workers and ends the process with code 1: the loop
    itself hangs, and no exception reaches it there. Time in which the process was suspended doesn't count.

    Args:
        timeout: seconds; null: never.
        advice: what can be done then, the end of the message.
    """

    def __init__(
        self, timeout: float | None, *, advice: str = "the checkpoints are whole; --resume goes on"
    ) -> None:
        self.timeout, self.advice = timeout, advice
        self._interval = min((timeout or 10.0) / 10, 1.0)
        self._over = threading.Event()
        self._board = _Board(self._interval, self._over) if world() > 1 else None

    def __enter__(self) -> Watchdog:
        """Begin to look."""
        self._loop = threading.get_ident()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
        self._thread.start()
        if self._board is not None:
            self._board.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop looking."""
        self._over.set()
        self._thread.join()
        faulthandler.cancel_dump_traceback_later()

    def explain(self, error: BaseException) -> ProcessError | None:
        """What ``error`` means if it says that another process is gone or late; null for other errors."""
        if world() == 1 or not isinstance(error, RuntimeError):
            return None
        if not here.inside and not any(word in str(error) for word in _LOST):
            return None
        if self._board is not None:
            time.sleep(2.5 * self._interval)  # then those that are gone are known by their silence
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        return ProcessError(
            f"process {rank()} of {world()} lost contact with another one at {here}: {reason:.300}\n"
            + "".join(f"  {line}\n" for line in self._others())
            + f"  one that died has told why in its own output, unless it was killed; {self.advice}"
        )

    def _watch(self) -> None:
        beats, idle = here.beats, 0.0
        while not self._over.wait(self._interval):
            # Counted in turns of this thread, not by the clock: a suspended process is not a stuck one.
            idle = idle + self._interval if here.beats == beats else 0.0
            beats = here.beats
            if self.timeout is not None:
                self._arm(self.timeout)
                if idle >= self.timeout:
                    self._give_up(idle)

    def _arm(self, timeout: float) -> None:
        """Have the stacks printed in C if code that never lets Python's threads run keeps us from looking."""
        with contextlib.suppress(AttributeError, OSError, ValueError):  # no stderr to write to
            assert sys.__stderr__ is not None
            faulthandler.dump_traceback_later(timeout, file=sys.__stderr__)

    def _give_up(self, idle: float) -> None:
        stack = "".join(traceback.format_stack(sys._current_frames().get(self._loop)))
        what = f"process {rank()} of {world()}" if world() > 1 else "the run"
        print(
            f"error: {what} has made no progress for {idle:g} s (train.timeout) at {here}\n"
            + "".join(f"  {line}\n" for line in [*self._others(), *workers_standing()])
            + f"  it hangs here:\n{stack}  {self.advice}",
            file=sys.stderr,
            flush=True,
        )
        for child in multiprocessing.active_children():
            child.kill()
        os._exit(1)

    def _others(self) -> list[str]:
        return self._board.lines() if self._board is not None else []


@contextlib.contextmanager
def watched(timeout: float | None, *, advice: str) -> Iterator[None]:
    """What runs inside has a ``Watchdog``.

    Raises:
        ProcessError: another process is gone or late, which torch tells in words of its own.
    """
    here.start()
    with Watchdog(timeout, advice=advice) as watchdog:
        try:
            yield
        except RuntimeError as error:
            if (lost := watchdog.explain(error)) is not None:
                raise lost from error
            raise


class _Board:
    """Where the other processes stand, by notes in the store of the process group.

    A thread of its own reads and writes them: where the store is kept by a process that is stopped, it waits
    for ever, and all that it knows is then old.
    """

    def __init__(self, interval: float, over: threading.Event) -> None:
        self._interval, self._over = interval, over
        self._turns: dict[int, int] = {}
        self._seen: dict[int, tuple[str, float]] = {}

    def start(self) -> None:
        """Begin to read and write."""
        # A connection of its own: the loop may be stuck in the other one.
        self._store: Any = dist.distributed_c10d._get_default_store().clone()
        threading.Thread(target=self._exchange, name="board", daemon=True).start()

    def lines(self) -> list[str]:
        """One for each other process."""
        now, lines = time.monotonic(), []
        for number in range(world()):
            if number == rank():
                continue
            if number in self._seen:
                note, when = self._seen[number]
                silent = now - when > 2.2 * self._interval
                state = f"silent for {now - when:.1f} s: dead, stopped or cut off" if silent else "it answers"
                lines.append(f"process {number}: {note}; {state}")
            else:
                lines.append(f"process {number}: nothing is known of it")
        return lines

    def _exchange(self) -> None:
        keys = [f"omma/where/{number}" for number in range(world())]
        turn = 0
        while not self._over.wait(self._interval):
            turn += 1
            try:
                self._store.set(keys[rank()], json.dumps([turn, str(here)]))
                notes = self._store.multi_get(keys) if self._store.check(keys) else []
            except RuntimeError:  # whoever keeps the store is gone; the loop will see
                return
            for number, note in enumerate(notes):
                turns, text = json.loads(note)
                if self._turns.get(number) != turns:
                    self._turns[number] = turns
                    self._seen[number] = (text, time.monotonic())
