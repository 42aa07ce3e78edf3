"""Worker processes that die or hang: found out, told with the sample they were on, and ended."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
import weakref
from collections.abc import Iterator, Sequence
from multiprocessing import connection
from multiprocessing.process import BaseProcess
from types import FrameType
from typing import Any

import torch
from torch.utils.data import get_worker_info

from omma.data.dataset import Dataset
from omma.errors import ProcessError


class WorkerLog:
    """Which sample each worker is on, in memory that the training process sees.

    Args:
        workers: how many there are.
    """

    def __init__(self, workers: int) -> None:
        # position + 1 (0: none), and when that began, in milliseconds of the monotonic clock
        self.rows = torch.zeros((workers, 2), dtype=torch.int64).share_memory_()
        self.rows[:, 1] = int(time.monotonic() * 1000)

    @contextlib.contextmanager
    def on(self, position: int) -> Iterator[None]:
        """What runs inside makes the sample at ``position``."""
        worker = get_worker_info()
        if worker is None:
            yield
            return
        row = self.rows[worker.id]
        row[1] = int(time.monotonic() * 1000)
        row[0] = position + 1
        yield
        row[0] = 0
        row[1] = int(time.monotonic() * 1000)

    def position(self, worker: int) -> int | None:
        """Of the sample that ``worker`` is on."""
        position = int(self.rows[worker, 0])
        return position - 1 if position else None

    def seconds(self, worker: int) -> float:
        """Since ``worker`` began or ended a sample."""
        return time.monotonic() - int(self.rows[worker, 1]) / 1000


class Crew:
    """The worker processes of one pass over a data set.

    Args:
        processes: in the order of their numbers.
        log: what they are on.
        dataset: what they read.
    """

    def __init__(self, processes: Sequence[BaseProcess], log: WorkerLog, dataset: Dataset) -> None:
        self.processes, self.log, self.dataset = processes, log, dataset
        self.over = False
        """Whether a death is on record, or the workers are being ended."""
        if processes:
            _crews.add(self)
            _listen()

    def look(self) -> None:
        """See whether all are well.

        Raises:
            ProcessError: one has died; only the first time.
        """
        if not self.over and (error := self.death()):
            self.over = True
            raise error

    def death(self, *, wait: float = 0.0) -> ProcessError | None:
        """The error that says that a worker died, with the sample; null if all are well after ``wait`` s."""
        if wait:
            # One that is dying closes its end some time before its exit code can be had.
            gone = connection.wait([process.sentinel for process in self.processes], wait)
            for process in self.processes:
                if process.sentinel in gone:
                    process.join(wait)
        worker = next((number for number, process in enumerate(self.processes) if process.exitcode), None)
        if worker is None:
            return None
        code = self.processes[worker].exitcode or 0
        how = f"was killed by {_signal_name(-code)}" if code < 0 else f"ended with exit code {code}"
        return ProcessError(
            f"worker {worker} of the data loader {how}{self._place(worker)}. If the machine ran out of "
            "memory, set fewer workers; if it is always the same image, look at that file. --resume goes on"
        )

    def late(self, seconds: float) -> ProcessError:
        """The error that says that no batch came for so long."""
        return ProcessError(
            f"no batch came from the data loader's workers for {seconds:g} s: "
            + "; ".join(self.standing())
            + ". Raise the loader's timeout if this is no fault; --resume goes on"
        )

    def standing(self) -> list[str]:
        """What each worker is on: first those that are at work, the longest at the top."""
        log = self.log
        order = sorted(range(len(self.processes)), key=lambda w: (log.position(w) is None, -log.seconds(w)))
        return [
            f"worker {worker} has been{self._place(worker)} for {log.seconds(worker):.0f} s"
            for worker in order
        ]

    def end(self) -> None:
        """Kill those that still run; one that hangs in C code would heed nothing gentler."""
        self.over = True
        for process in self.processes:
            if process.exitcode is None:
                process.kill()
        for process in self.processes:
            process.join(5)
        _crews.discard(self)

    def _place(self, worker: int) -> str:
        position = self.log.position(worker)
        if position is None:
            return " between two images"
        try:
            path = self.dataset.target(position).get("path")
        except Exception:  # whatever keeps the worker may keep us from asking too; the number will do
            path = None
        return f" on image {position}" + (f" ({path})" if path else "")


_crews: weakref.WeakSet[Crew] = weakref.WeakSet()
_before: Any = None


def workers_standing() -> list[str]:
    """What each worker of this process is on."""
    return [line for crew in list(_crews) for line in crew.standing()]


def _listen() -> None:
    """Hear of the death of a worker at once, wherever the training process is."""
    global _before
    # Windows has no such signal, and handlers can be set from the main thread alone; torch's own look, which
    # waits for the timeout, remains.
    number = getattr(signal, "SIGCHLD", None)
    if number is None or threading.current_thread() is not threading.main_thread():
        return
    if (before := signal.getsignal(number)) is not _on_child:
        _before = before
        signal.signal(number, _on_child)


def _on_child(number: int, frame: FrameType | None) -> None:
    crews = list(_crews)
    for crew in crews:
        crew.look()
    # torch's handler would take those that we kill for lost.
    if callable(_before) and not any(crew.over for crew in crews):
        _before(number, frame)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
