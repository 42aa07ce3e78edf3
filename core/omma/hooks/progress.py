"""What a run says to the one who waits for it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from omma.data.summary import reports, skipped
from omma.hooks.base import Hook
from omma.metrics import Table
from omma.registry import register
from omma.visualization.terminal import number, rich_table

if TYPE_CHECKING:
    from omma.runner.evaluate import EvalResult
    from omma.runner.runner import Runner

_LOG_WIDTH = 200
_NOT_LOSSES = ("loss", "lr", "grad_norm", "time", "data_time", "memory_mb")


@register
class Progress(Hook):
    """A live line with the time left on a terminal, plain lines elsewhere; a table per evaluation."""

    def __init__(self) -> None:
        self._console: Any = None
        self._bar: Any = None
        self._task: Any = None
        self._evals: list[tuple[int, dict[str, float]]] = []
        self._begin = (0.0, 0)

    def on_start(self, run: Runner) -> None:
        """See ``Hook``."""
        from rich.console import Console

        self._console = Console(highlight=False, soft_wrap=True)
        if not self._console.is_terminal:
            # A log file has no edge to cut the columns of tables at.
            self._console.width = _LOG_WIDTH
        self._begin = (time.monotonic(), run.step)
        for line in opening(run):
            self._console.print(line)
        if self._console.is_terminal:
            self._start_bar(run)

    def _start_bar(self, run: Runner) -> None:
        from rich import progress as rich

        self._bar = rich.Progress(
            rich.TextColumn("epoch {task.fields[epoch]}"),
            rich.BarColumn(),
            rich.MofNCompleteColumn(),
            rich.TimeRemainingColumn(),
            rich.TextColumn("{task.fields[scalars]}"),
            console=self._console,
        )
        self._bar.start()
        self._task = self._bar.add_task(
            "", total=run.total_steps, completed=run.step, epoch=run.epoch + 1, scalars=""
        )

    def after_step(
        self, run: Runner, losses: Mapping[str, Tensor], scalars: Mapping[str, float] | None
    ) -> None:
        """See ``Hook``."""
        if self._bar is not None:
            self._bar.update(self._task, completed=run.step, epoch=run.epoch + 1)
            if scalars is not None:
                self._bar.update(self._task, scalars=summary(scalars))
        elif scalars is not None:
            begin, first = self._begin
            left = (time.monotonic() - begin) / (run.step - first) * (run.total_steps - run.step)
            width = len(str(run.total_steps))
            self._console.print(
                f"step {run.step:{width}}/{run.total_steps}  epoch {run.epoch}  left {duration(left)}  "
                f"{summary(scalars)}"
            )

    def after_eval(self, run: Runner, result: EvalResult) -> None:
        """See ``Hook``."""
        self._evals.append((result.step, result.values))
        numbers = "  ".join(f"{name} {number(value)}" for name, value in result.values.items())
        self._console.print(f"evaluation at step {result.step}: {numbers}")
        for report in result.reports:
            for table in report.tables:
                self._console.print(rich_table(table))

    def after_save(self, run: Runner, path: Path) -> None:
        """See ``Hook``."""
        self._console.print(f"saved {path}")

    def on_end(self, run: Runner, error: BaseException | None) -> None:
        """See ``Hook``."""
        if self._bar is not None:
            self._bar.stop()
        if self._console is None or error is not None:
            return
        for loader in (run.train_loader, run.val_loader):
            for line in skipped(loader.dataset) if loader is not None else ():
                self._console.print(f"warning: {line}")
        if len(self._evals) > 1:
            names = list(self._evals[-1][1])[:8]
            rows: list[list[str | float | int]] = [
                [step, *(values.get(name, float("nan")) for name in names)] for step, values in self._evals
            ]
            self._console.print(rich_table(Table("evaluations", ["step", *names], rows)))


def opening(run: Runner) -> list[str]:
    """What is worth knowing before the first step: batch, learning rate, length, device."""
    recipe, size = run.recipe, run.batch_size
    lr = f"learning rate {recipe.scaled_lr(size):g}"
    if recipe.reference_batch:
        lr += f" = {recipe.lr:g} x {size}/{recipe.reference_batch} (reference batch {recipe.reference_batch})"
    parameters = sum(p.numel() for p in run.model.parameters())
    trained = sum(p.numel() for p in run.model.parameters() if p.requires_grad)
    length = run.length
    return [
        f"{type(run.model).__name__}: {parameters / 1e6:.1f} M parameters, {trained / 1e6:.1f} M trained, "
        f"on {run.device}, {run.settings.precision}, parallel {run.mode}",
        f"{len(run.train_loader.dataset)} training images, batch {size}, {lr}",
        *(f"warning: {note}" for report in reports(run.train_loader.dataset) for note in report.lines()),
        f"{run.total_steps} steps, {length.steps_per_epoch:g} an epoch, "
        + (f"going on from step {run.step}" if run.step else f"seed {run.settings.seed}"),
    ]


def summary(scalars: Mapping[str, float]) -> str:
    """The logged numbers of one line."""
    parts = "  ".join(f"{k} {v:.4f}" for k, v in scalars.items() if k not in _NOT_LOSSES)
    return (
        f"loss {scalars['loss']:.4f}  {parts}  lr {scalars['lr']:.3g}  grad {scalars['grad_norm']:.3g}  "
        f"{scalars['time']:.3f} s/step  data {scalars['data_time']:.3f}  {scalars['memory_mb']:.0f} MB"
    )


def duration(seconds: float) -> str:
    """Hours, minutes and seconds as ``1:02:03``."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"
