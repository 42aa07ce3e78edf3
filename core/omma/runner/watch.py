"""Losses between two log entries: their means, and whether one is not a number or out of all proportion."""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Mapping, Sequence
from statistics import median

import torch
from torch import Tensor

from omma.errors import OmmaError
from omma.parallel import mean, rank, world

log = logging.getLogger(__name__)

_SPIKE = 5.0
"""A loss so many times the usual one is worth a note."""
_USUAL, _ENOUGH = 200, 20
"""Steps whose median is the usual loss, and how many it takes to know it."""


class NonFiniteLossError(OmmaError):
    """A loss or the gradients became NaN or infinite; going on would destroy the weights."""

    def __init__(self, text: str, *, step: int, losses: dict[str, float]) -> None:
        super().__init__(text)
        self.step = step
        """The step it happened in, from 1."""
        self.losses = losses

    def with_text(self, more: str) -> NonFiniteLossError:
        """The same with another line."""
        return NonFiniteLossError(f"{self}\n  {more}", step=self.step, losses=self.losses)


class LossWatch:
    """Sums losses on the device and reads them only when asked, so that no step waits for the device."""

    def __init__(self) -> None:
        self.sums: dict[str, Tensor] = {}
        self.steps = 0
        self._unchecked: list[tuple[int, dict[str, Tensor], list[str], Tensor | None]] = []
        self._recent: deque[float] = deque(maxlen=_USUAL)

    def add(
        self, step: int, losses: Mapping[str, Tensor], paths: Sequence[str], norm: Tensor | None = None
    ) -> None:
        """Take in the losses of step ``step`` (from 1), averaged over its batches, and its images.

        ``norm`` is that of its gradients, where it is known.

        Raises:
            NonFiniteLossError: one of them is not finite and lies on the CPU, where looking costs nothing.
        """
        for name, value in losses.items():
            self.sums[name] = self.sums[name] + value if name in self.sums else value
        self.steps += 1
        self._unchecked.append((step, dict(losses), list(paths), norm))
        if next(iter(losses.values())).device.type == "cpu":
            self.check()

    def check(self) -> None:
        """Look at all losses since the last check, waiting once for the device; note those out of proportion.

        Raises:
            NonFiniteLossError: with the first such step, its losses and its images.
        """
        entries, self._unchecked = self._unchecked, []
        if not entries:
            return
        totals = [torch.stack(list(losses.values())).sum().float() for _, losses, _, _ in entries]
        norms = [
            total.new_zeros(()) if norm is None else norm.float()
            for total, (_, _, _, norm) in zip(totals, entries)
        ]
        numbers = torch.stack([torch.stack(totals), torch.stack(norms)], dim=1).tolist()
        for entry, (total, norm) in zip(entries, numbers):
            if not math.isfinite(total + norm):
                raise _not_finite(*entry)
            self._note_spike(entry[0], total, entry[2])

    def _note_spike(self, step: int, total: float, paths: Sequence[str]) -> None:
        usual = median(self._recent) if len(self._recent) >= _ENOUGH else math.inf
        self._recent.append(total)
        if total > _SPIKE * usual > 0:
            log.warning(
                "loss %.4g at step %d is %.0f times the usual %.4g; its images: %s",
                total, step, total / usual, usual, ", ".join(paths),
            )  # fmt: skip

    def means(self) -> dict[str, float]:
        """Each loss averaged over the steps since the last call and over processes; starts anew."""
        names = sorted(self.sums)
        averaged = mean(torch.stack([self.sums[name].float() for name in names]) / self.steps).tolist()
        self.sums, self.steps = {}, 0
        return dict(zip(names, averaged))

    def state(self) -> dict[str, object]:
        """The unfinished window, so that a resumed run logs the same numbers."""
        return {"sums": {name: value.cpu() for name, value in self.sums.items()}, "steps": self.steps}

    def restore(self, sums: Mapping[str, Tensor], steps: int, device: torch.device) -> None:
        """Put back what ``state`` gave."""
        self.sums = {name: value.to(device) for name, value in sums.items()}
        self.steps = steps


def _not_finite(
    step: int, losses: Mapping[str, Tensor], paths: Sequence[str], norm: Tensor | None
) -> NonFiniteLossError:
    values = {name: float(value) for name, value in losses.items()}
    bad = [name for name, value in values.items() if not math.isfinite(value)]
    if not bad and norm is not None and not norm.isfinite():
        bad = ["the norm of the gradients"]
    where = f" on process {rank()}" if world() > 1 else ""
    return NonFiniteLossError(
        f"{', '.join(bad or values)} became non-finite at step {step}{where}: "
        + ", ".join(f"{name}={value:.4g}" for name, value in values.items())
        + "\n  images of this step:\n"
        + "\n".join(f"    {path}" for path in paths)
        + "\n  try a lower learning rate, a longer warm-up, train.clip_norm, or look at these annotations",
        step=step,
        losses=values,
    )
