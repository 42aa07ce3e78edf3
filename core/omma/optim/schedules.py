"""Schedules: pure functions from the step to a factor on the learning rate.

``step`` counts from 0: the factor is the one that the step about to be made uses. Without state there is
nothing to save and nothing to lose on resume.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from omma.registry import register


@dataclass(kw_only=True, frozen=True)
class Warmup:
    """A rise of the learning rate at the start of a run, from ``start`` to 1."""

    steps: int | None = None
    epochs: float | None = None
    """Length: one of the two."""
    start: float = 0.001
    """Factor of the first step."""
    shape: Literal["linear", "constant", "quadratic"] = "linear"

    def __post_init__(self) -> None:
        if (self.steps is None) == (self.epochs is None):
            raise ValueError(
                f"warmup needs either steps or epochs, got steps={self.steps}, epochs={self.epochs}"
            )
        if (self.steps or 0) < 0 or (self.epochs or 0) < 0:
            raise ValueError(f"warmup must not be negative, got steps={self.steps}, epochs={self.epochs}")

    def length(self, steps_per_epoch: float) -> int:
        """Steps until the full learning rate."""
        return self.steps if self.steps is not None else round((self.epochs or 0) * steps_per_epoch)

    def factor(self, step: int, steps_per_epoch: float) -> float:
        """Factor on top of the schedule's own; 1 from ``length`` on."""
        length = self.length(steps_per_epoch)
        if step >= length:
            return 1.0
        done = {"linear": step / length, "constant": 0.0, "quadratic": (step / length) ** 2}[self.shape]
        return self.start + (1 - self.start) * done


class Schedule(ABC):
    """A learning-rate curve over a run.

    Args:
        warmup: rise at the start, multiplied onto the curve.
    """

    def __init__(self, *, warmup: Warmup | None) -> None:
        self.warmup = warmup

    def factor(self, step: int, total_steps: int, steps_per_epoch: float) -> float:
        """Learning rate of step ``step`` (from 0) over the optimiser's own, for a run of ``total_steps``."""
        rise = self.warmup.factor(step, steps_per_epoch) if self.warmup else 1.0
        return rise * self.curve(step, total_steps, steps_per_epoch)

    @abstractmethod
    def curve(self, step: int, total_steps: int, steps_per_epoch: float) -> float:
        """The factor without the warm-up."""

    def decay_progress(
        self, step: int, total_steps: int, steps_per_epoch: float, flat: float, end: float = 1.0
    ) -> float:
        """0 until warm-up and the first ``flat`` of the run are over, then linear to 1 at ``end`` of it."""
        begin = max(self.warmup.length(steps_per_epoch) if self.warmup else 0, round(flat * total_steps))
        return min(max(step - begin, 0) / max(round(end * total_steps) - begin, 1), 1.0)


@register
class Constant(Schedule):
    """The same learning rate throughout."""

    def __init__(self, *, warmup: Warmup | None = None) -> None:
        super().__init__(warmup=warmup)

    def curve(self, step: int, total_steps: int, steps_per_epoch: float) -> float:
        """See ``Schedule.curve``."""
        return 1.0


@register
class MultiStep(Schedule):
    """Multiplies the learning rate by ``gamma`` at each milestone.

    Args:
        milestones: epochs (8, 11), or fractions of the run (0.66, 0.92) if all are below 1.
        gamma: factor at each.
        warmup: rise at the start.
    """

    def __init__(
        self, *, milestones: Sequence[float], gamma: float = 0.1, warmup: Warmup | None = None
    ) -> None:
        super().__init__(warmup=warmup)
        if any(milestone <= 0 for milestone in milestones):
            raise ValueError(f"milestones must be positive, got {tuple(milestones)}")
        self.milestones = tuple(milestones)
        self.gamma = gamma

    def curve(self, step: int, total_steps: int, steps_per_epoch: float) -> float:
        """See ``Schedule.curve``."""
        unit = total_steps if all(milestone < 1 for milestone in self.milestones) else steps_per_epoch
        return self.gamma ** sum(step >= round(milestone * unit) for milestone in self.milestones)


@register
class Cosine(Schedule):
    """Half a cosine from 1 to ``final`` (https://arxiv.org/abs/1608.03983), begun after the warm-up.

    Args:
        final: factor at the end of the run.
        flat: fraction of the run before the fall begins.
        end: fraction of the run after which ``final`` is reached and kept.
        warmup: rise at the start.
    """

    def __init__(
        self, *, final: float = 0.0, flat: float = 0.0, end: float = 1.0, warmup: Warmup | None = None
    ) -> None:
        super().__init__(warmup=warmup)
        if not 0 <= flat < end <= 1:
            raise ValueError(f"need 0 <= flat < end <= 1, got flat={flat}, end={end}")
        self.final = final
        self.flat = flat
        self.end = end

    def curve(self, step: int, total_steps: int, steps_per_epoch: float) -> float:
        """See ``Schedule.curve``."""
        progress = self.decay_progress(step, total_steps, steps_per_epoch, self.flat, self.end)
        return self.final + (1 - self.final) * (1 + math.cos(math.pi * progress)) / 2


@register
class Poly(Schedule):
    """Falls as (1 - progress) ** ``power`` to ``final``, begun after the warm-up.

    Args:
        power: exponent; 1 is a straight line.
        final: factor at the end of the run.
        warmup: rise at the start.
    """

    def __init__(self, *, power: float = 1.0, final: float = 0.0, warmup: Warmup | None = None) -> None:
        super().__init__(warmup=warmup)
        self.power = power
        self.final = final

    def curve(self, step: int, total_steps: int, steps_per_epoch: float) -> float:
        """See ``Schedule.curve``."""
        progress = self.decay_progress(step, total_steps, steps_per_epoch, 0.0)
        return self.final + (1 - self.final) * (1 - progress) ** self.power


@register
class OneCycle(Schedule):
    """Up from 1/``div`` to 1 and down to 1/(``div`` * ``final_div``) (https://arxiv.org/abs/1708.07120).

    Args:
        rise: fraction of the run that goes up.
        div: how far below the peak the run begins.
        final_div: how far below its beginning the run ends.
        shape: of both halves.
    """

    def __init__(
        self,
        *,
        rise: float = 0.3,
        div: float = 25.0,
        final_div: float = 1e4,
        shape: Literal["cosine", "linear"] = "cosine",
    ) -> None:
        super().__init__(warmup=None)
        if not 0 < rise < 1:
            raise ValueError(f"rise must be between 0 and 1, got {rise}")
        self.rise = rise
        self.div = div
        self.final_div = final_div
        self.shape = shape

    def curve(self, step: int, total_steps: int, steps_per_epoch: float) -> float:
        """See ``Schedule.curve``."""
        peak, last = self.rise * total_steps - 1, total_steps - 1
        low, end = 1 / self.div, 1 / (self.div * self.final_div)
        if step <= peak:
            return self._between(low, 1.0, step / peak)
        return self._between(1.0, end, min((step - peak) / (last - peak), 1.0))

    def _between(self, a: float, b: float, progress: float) -> float:
        done = (1 - math.cos(math.pi * progress)) / 2 if self.shape == "cosine" else progress
        return a + (b - a) * done
