"""Everything that a run must remember, out of its objects and back into them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor

from omma.checkpoint.store import Checkpoint
from omma.errors import SetupError, WeightsError
from omma.parallel import (
    gather,
    load_whole_optimizer,
    load_whole_weights,
    rank,
    sharded_state,
    whole_state,
    world,
)
from omma.runner.rng import rng_state, seed_all, set_rng_state, untouched_rng

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
        "modules": gather(_module_states(run.model)),
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

    What the config says of the optimiser holds also where it was changed; the checkpoint gives the momenta.

    Raises:
        SetupError: the samples seen are no whole number of this run's steps.
        WeightsError: the checkpoint is of another model or optimiser, or its state is damaged.
    """
    state = checkpoint.state
    run.step, rest = divmod(checkpoint.samples, run.batch_size)
    if rest:
        raise SetupError(
            f"the checkpoint has seen {checkpoint.samples} samples, which is no whole number of steps of "
            f"{run.batch_size} samples (batch size x processes x accumulate); resume with one that divides it"
        )
    with _reading("weights"):
        load_whole_weights(run.model, checkpoint.model)
    with _reading("optimizer"):
        recipe = [
            {key: value for key, value in group.items() if key != "params"}
            for group in run.optimizer.param_groups
        ]
        load_whole_optimizer(run.model, run.optimizer, state["optimizer"])
        for group, settings in zip(run.optimizer.param_groups, recipe, strict=True):
            group.update(settings)
    if run.ema:
        with _reading("averaged weights"):
            _restore_average(
                run.ema.shadow, checkpoint.ema if checkpoint.ema is not None else checkpoint.model
            )
    with _reading("scaler"):
        _check(state["scaler"], (int, float))
        run.scaler.load_state_dict(state["scaler"])
    with _reading("world"):
        # Another number of processes goes on with what the first one had.
        number = rank() if int(state["world"]) == world() else 0
    with _reading("watch"):
        watch = state["watch"][number]
        _check(watch["sums"], Tensor)
        if not 0 <= watch["steps"] <= checkpoint.step:
            raise ValueError(f"a window of {watch['steps']} steps")
        run.watch.restore(watch["sums"], int(watch["steps"]), run.device)
    with _reading("rng"), untouched_rng(run.device):
        set_rng_state(state["rng"][number], run.device)
    with _reading("standing"):
        standing = Standing(**state["standing"])
        _check(vars(standing) | ({"best": 0.0} if standing.best is None else {}), (int, float))
        run.standing = standing
    # Runs from before there were such modules have none.
    with _reading("modules"):
        _restore_modules(run.model, state["modules"][number] if "modules" in state else {})
    run.last_metrics = checkpoint.metrics


def restore_generators(run: Runner, state: dict[str, Any] | None) -> None:
    """Seed the generators for a new run, or put them back to where a checkpoint's ``state`` has them."""
    if state is not None and state["world"] == world():
        set_rng_state(state["rng"][rank()], run.device)
    else:
        # Another number of processes has no equal run to continue; it still must not repeat draws.
        seed_all(run.settings.seed + rank() + (1_000_003 * run.step if state is not None else 0))


@contextlib.contextmanager
def _reading(key: str) -> Iterator[None]:
    """What runs inside reads the part ``key`` of a checkpoint, in which anything may stand."""
    try:
        yield
    except WeightsError:
        raise
    except Exception as error:
        raise WeightsError(
            f"the checkpoint does not fit this config, or is damaged, in its '{key}': "
            f"{type(error).__name__}: {error}"
        ) from error


def _check(values: dict[str, Any], kind: Any) -> None:
    """See that all of ``values`` are of one kind, and tensors of no dimension.

    Raises:
        TypeError: they are not.
    """
    for key, value in values.items():
        if not isinstance(value, kind) or (isinstance(value, Tensor) and value.dim()):
            raise TypeError(f"'{key}' is {value!r:.60}")


def _module_states(model: nn.Module) -> dict[str, Any]:
    """What modules learn beside weights and buffers, by the modules' names.

    Such a module has a method ``training_state()``, which gives plain containers and tensors, and
    ``load_training_state(state)``. It is kept for each process, and only for a run that goes on: weights
    files, whose names are those of published ones, lack it, and another run begins anew.
    """
    methods = {name: getattr(module, "training_state", None) for name, module in model.named_modules()}
    return {name: method() for name, method in methods.items() if callable(method)}


def _restore_modules(model: nn.Module, states: dict[str, Any]) -> None:
    for name, module in model.named_modules():
        method = getattr(module, "load_training_state", None)
        if callable(method) and name in states:
            method(states[name])


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
