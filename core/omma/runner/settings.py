"""The ``train:`` section of a config: how long, how precise, how often."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from omma.optim.ema import EMASettings


@dataclass(kw_only=True, frozen=True)
class EarlyStop:
    """When to give up on a run that no longer gets better."""

    patience: int = 10
    """Evaluations without a better ``best`` metric before the run ends."""
    min_delta: float = 0.0
    """How much better counts as better."""


@dataclass(kw_only=True, frozen=True)
class Train:
    """How a model is trained. Everything that changes the numbers is a word here."""

    epochs: float | None = None
    steps: int | None = None
    """Length of the run: one of the two."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    parallel: Literal["auto", "none", "ddp", "fsdp"] = "auto"
    """``auto``: ddp under torchrun with several processes, else none."""
    sync_bn: bool = False
    """Batch norms take their statistics over the batches of all processes."""
    channels_last: bool = False
    """Lay the weights of convolutions out by position: faster on CPUs and, in half precision, on GPUs."""
    accumulate: int = 1
    """Batches per step."""
    clip_norm: float | None = None
    """Largest L2 norm of all gradients together."""
    ema: EMASettings | None = None
    compile: bool = False
    """Compile the model's fixed-shape parts (``Model.compile_units``)."""
    eval_every: int | None = None
    """Epochs or steps, as the length is given; null: every epoch, or every tenth of the steps."""
    eval_each_epoch_from: int | None = None
    """Number of the epoch, 1 the first, from which on each one is evaluated, whatever ``eval_every`` says."""
    save_every: int | None = None
    """Likewise; null: as ``eval_every``."""
    keep: int = 3
    """Newest checkpoints to keep, beside the best."""
    checkpoint: Literal["whole", "sharded"] = "whole"
    """``sharded``: under fsdp each process writes its part, for models that don't fit one's memory."""
    best: str | None = None
    """Metric that names the best checkpoint, higher is better; null: the first one."""
    early_stop: EarlyStop | None = None
    max_time: float | str | None = None
    """Wall-clock limit of this process, seconds or '1h30m'; the run is saved and can be resumed."""
    timeout: float | str | None = "30m"
    """Longest time without progress (a batch, a step, a file), seconds or '30m'. Then the run says at which
    step and exchange among processes it stands, and ends; null: it waits for ever."""
    log_every: int = 50
    """Steps between two log entries."""
    seed: int = 0
    deterministic: bool = False
    """Only deterministic kernels: the same bits twice on the same machine, slower."""
    device: Literal["auto", "cpu", "cuda"] = "auto"

    def __post_init__(self) -> None:
        if (self.epochs is None) == (self.steps is None):
            raise ValueError(
                f"train needs either epochs or steps, got epochs={self.epochs}, steps={self.steps}"
            )
        for name in (
            "epochs",
            "steps",
            "accumulate",
            "clip_norm",
            "eval_every",
            "eval_each_epoch_from",
            "save_every",
            "keep",
            "log_every",
        ):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise ValueError(f"{name} must be positive, got {value}")
        if self.eval_each_epoch_from is not None and self.epochs is None:
            raise ValueError("eval_each_epoch_from needs a run whose length is given in epochs")
        if self.channels_last and self.parallel == "fsdp":
            raise ValueError("channels_last can't be had under fsdp, which shards rows of weights")
        self.time_limit()
        if (patience := self.patience()) is not None and patience <= 0:
            raise ValueError(f"timeout must be positive, got {self.timeout}")

    def patience(self) -> float | None:
        """``timeout`` in seconds."""
        return seconds(self.timeout) if isinstance(self.timeout, str) else self.timeout

    def time_limit(self) -> float | None:
        """``max_time`` in seconds."""
        if not isinstance(self.max_time, str):
            return self.max_time
        return seconds(self.max_time)


def seconds(text: str) -> float:
    """'1h30m', '45m', '90s', '2d' or a plain number as seconds.

    Raises:
        ValueError: ``text`` is none of these.
    """
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    parts = re.fullmatch(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", text)
    if not text or parts is None:
        raise ValueError(f"expected a time like '1h30m', '90s' or 5400, got {text!r}")
    return float(sum(int(n or 0) * unit for n, unit in zip(parts.groups(), (86400, 3600, 60, 1))))
