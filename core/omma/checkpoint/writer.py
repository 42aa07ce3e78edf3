"""Writing in the background, so that training goes on meanwhile."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path

log = logging.getLogger(__name__)


class BackgroundWriter:
    """Runs one write at a time in a thread, which the interpreter waits for when it ends."""

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._path: Path | None = None
        self._error: BaseException | None = None

    @property
    def done(self) -> bool:
        """Whether nothing is being written."""
        return self._thread is None or not self._thread.is_alive()

    def start(self, write: Callable[[], Path]) -> None:
        """Begin ``write``, which must touch nothing that training goes on to change."""
        assert self._thread is None, "wait() comes first"
        self._thread = threading.Thread(target=self._run, args=(write,), name="omma-checkpoint")
        self._thread.start()

    def wait(self) -> Path | None:
        """What the last write returned, once it is done; null if there was none since the last call.

        Raises:
            SetupError: it could not write.
        """
        if self._thread is not None:
            self._thread.join()
        path, error = self._path, self._error
        self._thread = self._path = self._error = None
        if error is not None:
            raise error
        return path

    def finish(self) -> None:
        """Let the last write come to its end where another error is under way already."""
        try:
            self.wait()
        except Exception as error:
            log.warning("%s", error)

    def _run(self, write: Callable[[], Path]) -> None:
        try:
            self._path = write()
        except BaseException as error:
            self._error = error
