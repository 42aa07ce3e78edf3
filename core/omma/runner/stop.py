"""Requests to end a run early: signals, the time limit, no progress."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import Literal

from omma.parallel import largest, world

Reason = Literal["finished", "signal", "time", "early"]

_TIME = 1
_AGREE_EVERY = 10  # steps between two exchanges among processes


class StopRequest:
    """Collects the first reason to stop and sees that all processes stop after the same step.

    Args:
        time_limit: seconds from now.
    """

    def __init__(self, time_limit: float | None) -> None:
        self.reason: Reason = "finished"
        self.signal: int | None = None
        self._received: int | None = None
        self._deadline = None if time_limit is None else time.monotonic() + time_limit

    @property
    def now(self) -> bool:
        """Whether the run is to stop; the same on all processes."""
        return self.reason != "finished"

    @property
    def received(self) -> bool:
        """Whether this process has a signal, agreed upon or not."""
        return self._received is not None

    def early(self) -> None:
        """Stop for want of progress, found by all processes alike."""
        if not self.now:
            self.reason = "early"

    def poll(self, step: int, *, due: bool) -> bool:
        """Look for a reason after step ``step``; ``due`` makes the processes agree at once."""
        if self.now or (world() > 1 and not due and step % _AGREE_EVERY):
            return self.now
        late = self._deadline is not None and time.monotonic() > self._deadline
        code = largest(1000 + self._received if self._received else _TIME if late else 0)
        if code >= 1000:
            self.reason, self.signal = "signal", code - 1000
        elif code == _TIME:
            self.reason = "time"
        return self.now

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Take SIGINT and SIGTERM as requests; a second SIGINT interrupts at once."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._receive) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self._received == number == signal.SIGINT:
            raise KeyboardInterrupt
        self._received = number
