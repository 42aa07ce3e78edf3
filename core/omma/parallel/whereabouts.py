"""Where this process stands in its run: what is told of it when it, or another one, goes no further."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass
class Whereabouts:
    """Written by the loop and by what exchanges data, read by the watchdog."""

    step: int = 0
    """Number of the step at work, from 1."""
    doing: str = "starting"
    collective: str = ""
    """The exchange among processes that was entered last."""
    inside: bool = False
    """Whether it has not come back yet."""
    beats: int = 0
    """Grows with every sign of progress."""

    def start(self) -> None:
        """Forget an earlier run of this process."""
        self.step, self.collective, self.inside = 0, "", False
        self.at("starting")

    def at(self, doing: str, *, step: int | None = None) -> None:
        """Note a new stage: a sign of progress."""
        self.doing = doing
        if step is not None:
            self.step = step
        self.beats += 1

    def __str__(self) -> str:
        if not self.collective:
            return f"step {self.step}, {self.doing}"
        last = f"waiting for the others in: {self.collective}" if self.inside else self.collective
        return f"step {self.step}, {self.doing}; last collective: {last}"


here = Whereabouts()


@contextlib.contextmanager
def collective(name: str) -> Iterator[None]:
    """What runs inside (or a function so decorated) waits for all processes."""
    here.collective, here.inside = name, True
    yield
    # Not where an error ends it: the message tells what it was in.
    here.inside = False
