"""Everything that a run must remember, out of its objects and back into them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor, distribute_tensor

from omma.checkpoint.store import Checkpoint
from omma.errors import SetupError, WeightsError
from omma.parallel import gather, load_whole_state, rank, sharded_state, whole_state, world
from omma.runner.rng import rng_state, seed_all, set_rng_state

if TYPE_CHECKING:
    from omma.runner.runner import Runner


@dataclass
class Standing:
    """How the evaluations of a run went so far."""

    best: float | None = None
    evals_since_best: int = 0
    pending: bool = False
    """An evaluation was due and the run was stopped before it."""


def capture(run: Runner) -> Checkpoint:
    """The whole state of ``run``. All processes call it; the result is complete on process 0.

    Names are those of the plain model and tensors are whole in every mode, so that a checkpoint does not
    depend on how many processes wrote it; ``train.checkpoint: sharded`` leaves each process its parts of the
    tensors. They are copies: the run may go on while they are written.
    """
    if run.settings.checkpoint == "sharded":
        ema = run.ema.shadow if run.ema else None
        weights, optimizer = sharded_state(run.model, run.optimizer)
    else:
        ema = {name: _whole(t) for name, t in run.ema.shadow.items()} if run.ema else None
        weights, optimizer = whole_state(run.model, run.optimizer)
    state = {
        "optimizer": _own(optimizer, run.device),
        "scaler": run.scaler.state_dict(),
        "rng": gather(rng_state(run.device)),
        "world": world(),
        "watch": gather(run.watch.state()),
        "standing": vars(run.standing).copy(),
    }
    return Checkpoint(
        step=run.step,
        samples=run.step * run.batch_size,
        model=_own(weights, run.device),
        ema=_own(ema, run.device),
        state=state,
        config=run.config.to_yaml() if run.config else "",
        classes=tuple(run.train_loader.dataset.info.classes),
        metrics=run.last_metrics,
    )


def restore(run: Runner, checkpoint: Checkpoint) -> None:
    """Put ``run`` where the run that wrote ``checkpoint`` stood.

    Raises:
        SetupError: the samples seen are no whole number of this run's steps.
        WeightsError: the checkpoint is of another model or optimiser.
    """
    run.step, rest = divmod(checkpoint.samples, run.batch_size)
    if rest:
        raise SetupError(
            f"the checkpoint has seen {checkpoint.samples} samples, which is no whole number of steps of "
            f"{run.batch_size} samples (batch size x processes x accumulate); resume with one that divides it"
        )
    groups = run.optimizer.param_groups
    recipe = [{key: group[key] for key in ("initial_lr", "weight_decay")} for group in groups]
    try:
        load_whole_state(run.model, run.optimizer, checkpoint.model, checkpoint.state["optimizer"])
    except (RuntimeError, KeyError, ValueError) as error:
        raise WeightsError(f"the checkpoint does not fit this config: {error}") from error
    for group, settings in zip(groups, recipe):
        group.update(settings)
    if run.ema:
        _restore_average(run.ema.shadow, checkpoint.ema if checkpoint.ema is not None else checkpoint.model)
    run.scaler.load_state_dict(checkpoint.state["scaler"])
    # Another number of processes goes on with the window of the first one.
    watch = checkpoint.state["watch"][rank() if checkpoint.state["world"] == world() else 0]
    run.watch.restore(watch["sums"], watch["steps"], run.device)
    run.standing = Standing(**checkpoint.state["standing"])
    run.last_metrics = checkpoint.metrics


def restore_generators(run: Runner, state: dict[str, Any] | None) -> None:
    """Seed the generators for a new run, or put them back to where a checkpoint's ``state`` has them."""
    if state is not None and state["world"] == world():
        set_rng_state(state["rng"][rank()], run.device)
    else:
        # Another number of processes has no equal run to continue; it still must not repeat draws.
        seed_all(run.settings.seed + rank() + (1_000_003 * run.step if state is not None else 0))


@torch.no_grad()
def _restore_average(shadow: dict[str, Tensor], saved: dict[str, Tensor]) -> None:
    if missing := sorted(set(shadow) - set(saved)):
        raise WeightsError(f"the checkpoint's averaged weights lack {len(missing)} tensors: {missing[0]} ...")
    for name, tensor in shadow.items():
        if isinstance(tensor, DTensor):
            whole = saved[name].to(tensor.device)
            tensor.copy_(distribute_tensor(whole, tensor.device_mesh, tensor.placements))
        else:
            tensor.copy_(saved[name])


def _own(state: Any, device: torch.device) -> Any:
    """``state`` with copies of its tensors; whole ones of a GPU are copies already, but counts of steps."""
    if isinstance(state, Tensor):
        live = device.type == "cpu" or state.dim() == 0 or isinstance(state, DTensor)
        return state.detach().clone() if live else state
    if isinstance(state, dict):
        return {key: _own(value, device) for key, value in state.items()}
    return [_own(value, device) for value in state] if isinstance(state, list) else state


def _whole(tensor: Tensor) -> Tensor:
    return (tensor.full_tensor() if isinstance(tensor, DTensor) else tensor).cpu()
