"""Those who look on at a run: every hook is called in turn, and none may hide what ended the run."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from omma.errors import SetupError
from omma.hooks.base import Hook
from omma.parallel import here, is_main

if TYPE_CHECKING:
    from omma.runner.runner import Runner

log = logging.getLogger(__name__)


class Audience:
    """The hooks of a run that look on in this process.

    Args:
        hooks: in the order in which they are called.
        out: folder of the run, for messages.
    """

    def __init__(self, hooks: Sequence[Hook], out: Path) -> None:
        self.hooks = [hook for hook in hooks if hook.every_process or is_main()]
        self.out = out

    def tell(self, point: Callable[[Hook], None]) -> None:
        """Call one point of every hook.

        Raises:
            SetupError: a hook can't write.
        """
        for hook in self.hooks:
            here.at(type(hook).__name__)
            try:
                point(hook)
            except OSError as error:
                raise self._unwritable(hook, error) from error

    def dismiss(self, run: Runner, error: BaseException | None) -> None:
        """Call every hook's last point, also after one that fails; what ended the run is what is told."""
        failed: Exception | None = None
        for hook in self.hooks:
            here.at(type(hook).__name__)
            try:
                hook.on_end(run, error)
            except Exception as caught:
                told = self._unwritable(hook, caught) if isinstance(caught, OSError) else caught
                failed = failed or told
        if failed is not None and error is None:
            raise failed
        if failed is not None:
            log.warning("the end of the run could not be recorded: %s", failed)

    def _unwritable(self, hook: Hook, error: OSError) -> SetupError:
        return SetupError(
            f"{type(hook).__name__} can't write: {error}; the checkpoints in {self.out} are whole. "
            "Make room or choose another --out, then go on with --resume"
        )
