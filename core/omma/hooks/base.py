"""Five places to look, none to steer."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from omma.runner.evaluate import EvalResult
    from omma.runner.runner import Runner


class Hook:
    """Looks on while a run goes its way; what changes weights or order stands in the loop instead.

    Hooks are called on the main process only, in the order of the config, unless ``every_process`` is true.
    """

    every_process = False

    def on_start(self, run: Runner) -> None:
        """Before the first step; after a resume, ``run.step`` is where it goes on."""

    def after_step(
        self, run: Runner, losses: Mapping[str, Tensor], scalars: Mapping[str, float] | None
    ) -> None:
        """After each step.

        ``losses`` are this step's, on the device: reading one waits for the device. ``scalars`` is null but
        every ``log_every`` steps, when it holds what to log, averaged since the last time.
        """

    def after_eval(self, run: Runner, result: EvalResult) -> None:
        """After each evaluation; the model has its trained (not averaged) weights again."""

    def after_save(self, run: Runner, path: Path) -> None:
        """After the checkpoint folder ``path`` was written, in the background: ``run`` may be further on."""

    def on_end(self, run: Runner, error: BaseException | None) -> None:
        """At the end, also where ``error`` ended it."""
