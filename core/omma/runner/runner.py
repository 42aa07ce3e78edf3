"""The training loop. What changes weights or order stands here; hooks only look on."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from omma.checkpoint.store import CheckpointStore, read_checkpoint
from omma.checkpoint.writer import BackgroundWriter
from omma.config import Config
from omma.data.loader import LoaderSettings, make_train_loader
from omma.errors import OmmaError, SetupError
from omma.hooks.base import Hook
from omma.layers import lay_channels_last, synchronize_batch_norms
from omma.metrics import Metric
from omma.model import Model
from omma.optim import EMA, Optimizer, Schedule
from omma.parallel import (
    Watchdog,
    backward,
    from_main,
    gradient_exchange,
    gradient_norm,
    here,
    is_main,
    pick_device,
    pick_mode,
    rank,
    share_buffers,
    start_processes,
    world,
    wrap,
    writers_group,
)
from omma.runner.audience import Audience
from omma.runner.clock import Clock, memory_mb
from omma.runner.evaluate import EvalResult, Interrupted, evaluate
from omma.runner.length import Length
from omma.runner.offender import save_batches
from omma.runner.precision import autocast, make_scaler
from omma.runner.rng import untouched_rng
from omma.runner.settings import Train
from omma.runner.state import Standing, capture, restore, restore_generators
from omma.runner.stop import Reason, StopRequest
from omma.runner.watch import LossWatch, NonFiniteLossError
from omma.structures import Batch
from omma.task import Task


@dataclass(frozen=True)
class TrainResult:
    """How a call of ``Runner.train`` ended."""

    reason: Reason
    step: int
    best: float | None
    signal: int | None = None
    """Number of the signal, if that was the reason."""


class Runner:
    """Trains one model.

    Args:
        model: is moved to the device, and sharded in place under fsdp.
        train: loader of the training data.
        val: loader of what is evaluated during training; none if null.
        optimizer: recipe.
        schedule: learning-rate factor per step.
        metrics: judge ``val``; the first number of the first one names the best checkpoint by default.
        settings: the config's ``train``.
        hooks: look on, in this order.
        out: folder of the run; checkpoints go to ``checkpoints`` in it.
        task: for hooks that draw.
        config: is stored in checkpoints.
        eval_batches: evaluate on no more than these batches of each process.

    Raises:
        SetupError: the device is missing, or the number of processes doesn't fit.
    """

    def __init__(
        self,
        *,
        model: Model,
        train: LoaderSettings,
        val: LoaderSettings | None = None,
        optimizer: Optimizer,
        schedule: Schedule,
        metrics: Sequence[Metric] = (),
        settings: Train,
        hooks: Sequence[Hook] = (),
        out: Path,
        task: Task | None = None,
        config: Config | None = None,
        eval_batches: int | None = None,
    ) -> None:
        self.settings, self.out, self.task, self.config = settings, out, task, config
        self.eval_batches = eval_batches
        self.device = pick_device(settings.device)
        start_processes(self.device, settings.patience())
        if settings.deterministic:
            _be_deterministic()
        self.train_loader, self.val_loader = train, val
        self.metrics, self.schedule, self.recipe = tuple(metrics), schedule, optimizer
        self.audience = Audience(hooks, out)
        self.batch_size = train.batch_size * world() * settings.accumulate
        """Samples per step, all processes and accumulation counted."""
        self.length = Length.of(settings, len(self._loader(start=0)))
        self.mode = pick_mode(settings.parallel)
        if settings.sync_bn:
            synchronize_batch_norms(model)
        self.model = model.to(self.device)
        if settings.channels_last:
            lay_channels_last(self.model)
        if settings.compile:
            for unit in model.compile_units():
                unit.compile()
        self.net = wrap(self.model, self.mode, self.device, accumulate=settings.accumulate)
        self.optimizer = optimizer.build(self.model, self.batch_size)
        self.scaler = make_scaler(settings.precision, self.device)
        self.ema = EMA(self.model, settings.ema) if settings.ema else None
        self.store = CheckpointStore(out / "checkpoints", keep=settings.keep)
        self._writer = BackgroundWriter()
        self._shard_writers = writers_group(self.mode) if settings.checkpoint == "sharded" else None
        self._saving = False
        self.step = 0
        self.watch = LossWatch()
        self.standing = Standing()
        self.last_metrics: dict[str, float] = {}
        self.stop = StopRequest(None)
        self._saved_state: dict[str, Any] | None = None
        self._clock = Clock()
        self._grad_norm = torch.zeros(())

    @property
    def total_steps(self) -> int:
        """Steps of the whole run."""
        return self.length.total_steps

    @property
    def epoch(self) -> int:
        """Whole epochs made."""
        return self.length.epoch(self.step)

    @property
    def lr(self) -> float:
        """Learning rate of the next step, before the multipliers of parameter rules."""
        factor = self.schedule.factor(self.step, self.total_steps, self.length.steps_per_epoch)
        return self.recipe.scaled_lr(self.batch_size) * factor

    def resume(self, path: Path | None = None) -> Path | None:
        """Go back to the checkpoint folder ``path``, or to the newest whole one of this run.

        Returns the folder, null if the run has none yet.

        Raises:
            SetupError: the total batch doesn't divide the samples seen.
            WeightsError: the checkpoint is missing, damaged, or of another model.
        """
        path = path or from_main(self.store.latest)
        if path is not None:
            checkpoint = read_checkpoint(path)
            restore(self, checkpoint)
            self._saved_state = checkpoint.state
        return path

    def train(self) -> TrainResult:
        """Train up to the end of the run, or until something stops it; then the state is saved first.

        Raises:
            NonFiniteLossError: a loss is NaN or infinite.
            DataError: an image can't be read.
            ProcessError: a worker, or another process, died or hangs.
            SetupError: the run folder can't be written to.
        """
        self.stop = StopRequest(self.settings.time_limit())
        error: BaseException | None = None
        with self.stop.listening(), Watchdog(self.settings.patience()) as watchdog:
            try:
                self.audience.tell(lambda hook: hook.on_start(self))
                self._loop()
            except BaseException as caught:
                error = watchdog.explain(caught) or caught
                if isinstance(caught, NonFiniteLossError):
                    error = self._with_batch(caught)
                if error is caught:
                    raise
                raise error from caught
            finally:
                self._writer.finish()
                self.audience.dismiss(self, error)
                error = None  # else it holds this frame and so itself, and with them the loader's workers
        return TrainResult(self.stop.reason, self.step, self.standing.best, self.stop.signal)

    def _loop(self) -> None:
        batches = iter(self._loader(start=self.step * self.settings.accumulate))
        # After the loader has its workers: whatever starting them draws must not shift the model's numbers.
        restore_generators(self, self._saved_state)
        if self.standing.pending and self.val_loader is not None and self._evaluate():
            self.save(best=True)
        self._clock = Clock()
        while self.step < self.total_steps and not self.stop.now:
            losses = self.train_step(batches)
            self.step += 1
            self.last_metrics = {}
            self._clock.tick()
            scalars = self._scalars() if self._log_is_due() else None
            self.audience.tell(lambda hook: hook.after_step(self, losses, scalars))  # noqa: B023
            with self._clock.paused():
                self._after_step()
        self._end_save()

    def _loader(self, start: int) -> DataLoader[Batch]:
        seed = self.settings.seed
        try:
            return make_train_loader(self.train_loader, seed=seed, start=start, rank=rank(), world=world())
        except ValueError as error:
            raise SetupError(f"data.train: {error}; lower data.train.batch_size or add images") from error

    def train_step(self, batches: Iterator[Batch]) -> dict[str, Tensor]:
        """One update of the weights from ``accumulate`` batches. Returns the losses, on the device."""
        accumulate, device = self.settings.accumulate, self.device
        self.model.train()
        self.model.at_epoch(self.epoch)
        self.model.at_step(self.step)
        factor = self.schedule.factor(self.step, self.total_steps, self.length.steps_per_epoch)
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * factor
        mean: dict[str, Tensor] = {}
        paths: list[str] = []
        for i in range(accumulate):
            here.at("waiting for data", step=self.step + 1)
            with self._clock.waiting():
                batch = next(batches).to(device, non_blocking=True)
            here.at("loss and gradients")
            with gradient_exchange(self.net, self.model, last=i == accumulate - 1):
                with autocast(self.settings.precision, device):
                    losses: dict[str, Tensor] = self.net(batch)
                total = torch.stack(list(losses.values())).sum() / accumulate
                backward(self.scaler.scale(total), last=i == accumulate - 1)
            for name, value in losses.items():
                part = value.detach() / accumulate
                mean[name] = mean[name] + part if name in mean else part
            paths += [meta.path for meta in batch.metas]
        here.at("update of the weights")
        self.scaler.unscale_(self.optimizer)
        norm = None
        if self.settings.clip_norm is not None or self._log_is_due(after=1):
            norm = self._grad_norm = gradient_norm(self.model.parameters(), self.settings.clip_norm)
        # Scaled gradients overflow now and then: the scaler then skips the step and lowers the scale.
        self.watch.add(self.step + 1, mean, paths, None if self.scaler.is_enabled() else norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        share_buffers(self.model)
        if self.ema:
            self.ema.update(self.model, self.step + 1)
        return mean

    def evaluate(self) -> EvalResult:
        """Judge the model, with averaged weights if there are any, on ``val``.

        Raises:
            SetupError: the run has no ``val``.
            Interrupted: a signal came.
        """
        if self.val_loader is None:
            raise SetupError("there is nothing to evaluate: the config has no data.val")
        weights = self.ema.swapped(self.model) if self.ema else nullcontext()
        with untouched_rng(self.device), weights:
            return evaluate(
                self.model,
                self.val_loader,
                self.metrics,
                self.device,
                precision=self.settings.precision,
                step=self.step,
                max_batches=self.eval_batches,
                should_stop=lambda: world() == 1 and self.stop.received,
            )

    def save(self, *, best: bool = False) -> Path | None:
        """Write a checkpoint; with ``best``, also as ``checkpoints/best``. Returns its folder.

        Raises:
            NonFiniteLossError: the weights are not worth keeping.
            SetupError: it can't be written.
        """
        self._begin_save(best=best)
        return self._end_save()

    def _begin_save(self, *, best: bool = False) -> None:
        """Copy the state and write the copy while training goes on."""
        self.watch.check()
        here.at("writing a checkpoint", step=self.step)
        self._end_save()  # before the copy, so that no two are in memory
        checkpoint = capture(self)
        group = self._shard_writers
        if group is not None:
            self._writer.start(lambda: self.store.save_sharded(checkpoint, group, best=best))
        elif is_main():
            self._writer.start(lambda: self.store.save(checkpoint, best=best))
        self._saving = True

    def _end_save(self) -> Path | None:
        """Wait for a checkpoint that is being written; all processes come here together."""
        if not self._saving:
            return None
        self._saving = False
        path = from_main(self._writer.wait)
        assert path is not None
        self._writer.finish()  # of the other processes
        self.audience.tell(lambda hook: hook.after_save(self, path))
        return path

    def _after_step(self) -> None:
        settings, length = self.settings, self.length
        eval_due = self.val_loader is not None and (
            length.due(settings.eval_every, self.step)
            or length.ends_epoch(self.step, first=settings.eval_each_epoch_from)
        )
        save_every = settings.save_every or settings.eval_every
        save_due = length.due(save_every, self.step)
        self.standing.pending = eval_due
        stopping = self.stop.poll(self.step, due=eval_due or save_due)
        best = eval_due and not stopping and self._evaluate()
        if save_due or best or self.stop.poll(self.step, due=eval_due):
            self._begin_save(best=best)
        elif self._saving and (world() == 1 or self._log_is_due()) and from_main(lambda: self._writer.done):
            self._end_save()

    def _evaluate(self) -> bool:
        """Whether the run is better than ever; false too if the evaluation was interrupted."""
        self.watch.check()
        self._end_save()  # a worker forked while a thread writes could inherit a lock of its
        try:
            result = self.evaluate()
        except Interrupted:
            return False
        self.standing.pending = False
        self.last_metrics = result.values
        self.audience.tell(lambda hook: hook.after_eval(self, result))
        return self._judge(result)

    def _judge(self, result: EvalResult) -> bool:
        if not result.values:
            return False
        name = self.settings.best or next(iter(result.values))
        if name not in result.values:
            raise SetupError(f"train.best is '{name}', but the metrics give {', '.join(result.values)}")
        value, standing, early = result.values[name], self.standing, self.settings.early_stop
        better = value > (standing.best if standing.best is not None else float("-inf"))
        enough = standing.best is None or value > standing.best + (early.min_delta if early else 0.0)
        standing.evals_since_best = 0 if better and enough else standing.evals_since_best + 1
        if better:
            standing.best = value
        if early and standing.evals_since_best >= early.patience:
            self.stop.early()
        return better

    def _log_is_due(self, *, after: int = 0) -> bool:
        step = self.step + after
        return step % self.settings.log_every == 0 or step in (1, self.total_steps)

    def _scalars(self) -> dict[str, float]:
        self.watch.check()
        losses = self.watch.means()
        scalars = {"loss": sum(losses.values()), **losses, "lr": self.optimizer.param_groups[0]["lr"]}
        scalars["grad_norm"] = float(self._grad_norm)
        scalars |= self._clock.read()
        scalars["memory_mb"] = memory_mb(self.device)
        return scalars

    def _with_batch(self, error: NonFiniteLossError) -> NonFiniteLossError:
        """``error`` with the name of a file in which its step's batches are; they are read once more."""
        path = self.out / f"nonfinite-step_{error.step:06d}-process_{rank()}.pt"
        accumulate = self.settings.accumulate
        try:
            loader = self._loader(start=(error.step - 1) * accumulate)
            save_batches(path, list(islice(iter(loader), accumulate)), step=error.step, losses=error.losses)
        except (OSError, RuntimeError, OmmaError) as failure:  # what ended the run is what must be told
            return error.with_text(f"its batch could not be saved: {failure}")
        return error.with_text(f"its batch is in {path}, for torch.load(..., weights_only=True)")


def _be_deterministic() -> None:
    # cuBLAS reads it when its first handle is made.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False
