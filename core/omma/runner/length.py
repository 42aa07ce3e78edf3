"""How long a run is and when something is due, in whole batches so that nothing drifts."""

from __future__ import annotations

import math
from dataclasses import dataclass

from omma.runner.settings import Train


@dataclass(frozen=True)
class Length:
    """A run's length in steps; a step takes ``accumulate`` batches of each process."""

    total_steps: int
    batches_per_epoch: int
    accumulate: int
    in_epochs: bool
    """Whether ``eval_every`` and ``save_every`` count epochs (else steps)."""

    @classmethod
    def of(cls, settings: Train, batches_per_epoch: int) -> Length:
        """The length that ``settings`` asks for."""
        if settings.steps is not None:
            return cls(settings.steps, batches_per_epoch, settings.accumulate, in_epochs=False)
        batches = (settings.epochs or 0) * batches_per_epoch
        total = max(1, math.ceil(batches / settings.accumulate))
        return cls(total, batches_per_epoch, settings.accumulate, in_epochs=True)

    @property
    def steps_per_epoch(self) -> float:
        """Not whole where ``accumulate`` doesn't divide an epoch's batches."""
        return self.batches_per_epoch / self.accumulate

    def epoch(self, step: int) -> int:
        """Whole epochs behind ``step`` steps."""
        return step * self.accumulate // self.batches_per_epoch

    def due(self, every: int | None, step: int) -> bool:
        """Whether step ``step`` (from 1) completes another ``every`` epochs or steps, or the run."""
        if step == self.total_steps:
            return True
        if not self.in_epochs:
            return step % (every or math.ceil(self.total_steps / 10)) == 0
        every = every or 1
        return self.epoch(step) // every > self.epoch(step - 1) // every

    def ends_epoch(self, step: int, *, first: int | None) -> bool:
        """Whether step ``step`` (from 1) completes an epoch, number ``first`` or a later one; null: never."""
        return first is not None and self.epoch(step) >= first and self.epoch(step) > self.epoch(step - 1)
