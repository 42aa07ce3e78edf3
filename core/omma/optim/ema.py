"""Averaged weights: an exponential moving average beside the trained ones."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor


@dataclass(kw_only=True, frozen=True)
class EMASettings:
    """How fast the average follows."""

    decay: float = 0.9998
    """Weight of the old average at each step."""
    warmup: int = 2000
    """Scale in steps of the decay's own rise, ``decay * (1 - exp(-step / warmup))``; 0: no rise."""

    def __post_init__(self) -> None:
        if not 0 <= self.decay < 1 or self.warmup < 0:
            raise ValueError(f"decay must be in [0, 1) and warmup >= 0, got {self.decay} and {self.warmup}")


class EMA:
    """The average of a model's parameters and floating-point buffers; other buffers are copied.

    Sharded models keep sharded averages: only local shards are touched.

    Args:
        model: the model to follow, already on its device and sharded.
        settings: decay and its rise.
    """

    def __init__(self, model: nn.Module, settings: EMASettings) -> None:
        self.settings = settings
        self.shadow = {name: tensor.detach().clone() for name, tensor in _state(model).items()}

    def decay_at(self, step: int) -> float:
        """Decay of the update after ``step`` steps (from 1)."""
        warmup = self.settings.warmup
        return self.settings.decay * (1 - math.exp(-step / warmup)) if warmup else self.settings.decay

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Follow ``model``, which has made ``step`` steps."""
        averages, values = [], []
        for name, tensor in _state(model).items():
            average, value = _local(self.shadow[name]), _local(tensor)
            if average.is_floating_point():
                averages.append(average)
                values.append(value)
            else:
                average.copy_(value)
        torch._foreach_lerp_(averages, values, 1 - self.decay_at(step))  # pyright: ignore[reportPrivateImportUsage]

    @contextlib.contextmanager
    def swapped(self, model: nn.Module) -> Iterator[None]:
        """``model`` with the averaged weights; it gets its own back at the end."""
        own = {name: _local(tensor).clone() for name, tensor in _state(model).items()}
        self._copy(self.shadow, model)
        try:
            yield
        finally:
            self._copy(own, model)

    @torch.no_grad()
    def _copy(self, source: dict[str, Tensor], model: nn.Module) -> None:
        for name, tensor in _state(model).items():
            _local(tensor).copy_(_local(source[name]))


def _state(model: nn.Module) -> dict[str, Tensor]:
    return dict(model.state_dict(keep_vars=True))


def _local(tensor: Tensor) -> Tensor:
    return tensor.to_local().detach() if isinstance(tensor, DTensor) else tensor.detach()
