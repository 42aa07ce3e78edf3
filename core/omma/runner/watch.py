"""Losses between two log entries: their means, and whether any of them is not a number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from omma.errors import OmmaError
from omma.parallel import mean, rank, world


class NonFiniteLossError(OmmaError):
    """A loss became NaN or infinite; going on would destroy the weights."""


class LossWatch:
    """Sums losses on the device and reads them only when asked, so that no step waits for the device."""

    def __init__(self) -> None:
        self.sums: dict[str, Tensor] = {}
        self.steps = 0
        self._unchecked: list[tuple[int, dict[str, Tensor], list[str]]] = []

    def add(self, step: int, losses: Mapping[str, Tensor], paths: Sequence[str]) -> None:
        """Take in the losses of step ``step`` (from 1), averaged over its batches, and its images.

        Raises:
            NonFiniteLossError: one of them is not finite and lies on the CPU, where looking costs nothing.
        """
        for name, value in losses.items():
            self.sums[name] = self.sums[name] + value if name in self.sums else value
        self.steps += 1
        self._unchecked.append((step, dict(losses), list(paths)))
        if next(iter(losses.values())).device.type == "cpu":
            self.check()

    def check(self) -> None:
        """Look at all losses since the last check, waiting once for the device.

        Raises:
            NonFiniteLossError: with the first such step, its losses and its images.
        """
        entries, self._unchecked = self._unchecked, []
        if not entries:
            return
        totals = torch.stack([torch.stack(list(losses.values())).sum() for _, losses, _ in entries])
        if totals.isfinite().all():
            return
        step, losses, paths = entries[int((~totals.isfinite()).nonzero()[0, 0])]
        values = {name: float(value) for name, value in losses.items()}
        bad = [name for name, value in losses.items() if not value.isfinite()] or list(values)
        where = f" on process {rank()}" if world() > 1 else ""
        raise NonFiniteLossError(
            f"{', '.join(bad)} became non-finite at step {step}{where}: "
            + ", ".join(f"{name}={value:.4g}" for name, value in values.items())
            + "\n  images of this step:\n"
            + "\n".join(f"    {path}" for path in paths)
            + "\n  try a lower learning rate, a longer warm-up, train.clip_norm, or look at these annotations"
        )

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
