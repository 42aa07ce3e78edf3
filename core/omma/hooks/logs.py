"""Numbers for other programs: TensorBoard and JSON lines."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from omma.hooks.base import Hook
from omma.registry import register

if TYPE_CHECKING:
    from omma.runner.evaluate import EvalResult
    from omma.runner.runner import Runner


@register
class JsonLog(Hook):
    """Appends one JSON object a line to ``log.jsonl`` of the run folder.

    ``kind`` is ``start``, ``train``, ``eval``, ``save`` or ``end``. A number that is not finite is null.
    """

    def __init__(self) -> None:
        self._file: Path | None = None

    def on_start(self, run: Runner) -> None:
        """See ``Hook``."""
        self._file = run.out / "log.jsonl"
        self._file.parent.mkdir(parents=True, exist_ok=True)
        self._write("start", run, {"total_steps": run.total_steps, "batch_size": run.batch_size})

    def after_step(
        self, run: Runner, losses: Mapping[str, Tensor], scalars: Mapping[str, float] | None
    ) -> None:
        """See ``Hook``."""
        if scalars is not None:
            self._write("train", run, scalars)

    def after_eval(self, run: Runner, result: EvalResult) -> None:
        """See ``Hook``."""
        self._write("eval", run, result.values)

    def after_save(self, run: Runner, path: Path) -> None:
        """See ``Hook``."""
        self._write("save", run, {"path": str(path)})

    def on_end(self, run: Runner, error: BaseException | None) -> None:
        """See ``Hook``."""
        if self._file is not None:
            self._write("end", run, {"reason": run.stop.reason, "error": str(error) if error else None})

    def _write(self, kind: str, run: Runner, values: Mapping[str, Any]) -> None:
        if self._file is None:
            return
        plain = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in values.items()}
        line = json.dumps({"kind": kind, "step": run.step, "epoch": run.epoch, **plain})
        # Opened anew each time: a line is in the file as soon as it is written, whatever happens next.
        with self._file.open("a", encoding="utf-8") as file:
            file.write(line + "\n")


@register
class TensorBoard(Hook):
    """Writes scalars to ``tensorboard/`` of the run folder."""

    def __init__(self) -> None:
        self._writer: Any = None

    def on_start(self, run: Runner) -> None:
        """See ``Hook``."""
        from torch.utils.tensorboard import SummaryWriter

        # After a resume, points of the lost steps would stand beside those of the repeated ones.
        self._writer = SummaryWriter(
            str(run.out / "tensorboard"), purge_step=run.step + 1 if run.step else None
        )

    def after_step(
        self, run: Runner, losses: Mapping[str, Tensor], scalars: Mapping[str, float] | None
    ) -> None:
        """See ``Hook``."""
        for name, value in (scalars or {}).items():
            self._writer.add_scalar(f"train/{name}", value, run.step)

    def after_eval(self, run: Runner, result: EvalResult) -> None:
        """See ``Hook``."""
        for name, value in result.values.items():
            self._writer.add_scalar(f"eval/{name}", value, run.step)
        self._writer.flush()

    def on_end(self, run: Runner, error: BaseException | None) -> None:
        """See ``Hook``."""
        if self._writer is not None:
            self._writer.close()
