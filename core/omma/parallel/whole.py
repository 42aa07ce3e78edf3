"""Weights and optimiser state under the plain model's names, whole whatever the mode, or in shards."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

# torch.distributed.checkpoint is imported on use: it takes as long as the rest of Omma together, and whoever
# only builds a model or predicts has no need of it.


def whole_state(model: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[dict[str, Tensor], Any]:
    """State dictionaries of both, on the CPU. All processes call it, and process 0 gets them."""
    from torch.distributed.checkpoint import state_dict as plain

    options = plain.StateDictOptions(full_state_dict=True, cpu_offload=True)
    weights = plain.get_model_state_dict(model, options=options)
    return cast(dict[str, Tensor], weights), plain.get_optimizer_state_dict(model, optimizer, options=options)


def sharded_state(model: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[dict[str, Tensor], Any]:
    """State dictionaries of both, each process with its own parts of the tensors, which are the live ones."""
    from torch.distributed.checkpoint import state_dict as plain

    weights = plain.get_model_state_dict(model)
    return cast(dict[str, Tensor], weights), plain.get_optimizer_state_dict(model, optimizer)


def load_whole_weights(model: nn.Module, weights: dict[str, Tensor]) -> None:
    """Put back the weights that ``whole_state`` gave.

    Raises:
        RuntimeError, KeyError or ValueError: they are of another model.
    """
    from torch.distributed.checkpoint import state_dict as plain

    options = plain.StateDictOptions(full_state_dict=True)
    plain.set_model_state_dict(model, cast(dict[str, Any], weights), options=options)


def load_whole_optimizer(model: nn.Module, optimizer: torch.optim.Optimizer, state: Any) -> None:
    """Put back the optimiser's state that ``whole_state`` gave.

    Raises:
        Exception: of any kind: it is of another model or optimiser, or no such state at all.
    """
    from torch.distributed.checkpoint import state_dict as plain

    own = cast(dict[str, dict[str, Any]], plain.get_optimizer_state_dict(model, optimizer)["state"])
    for parameter, values in state["state"].items():
        for key, value in own[parameter].items():
            if isinstance(value, Tensor) and values[key].shape != value.shape:
                raise ValueError(
                    f"{key} of {parameter}: {tuple(values[key].shape)}, expected {tuple(value.shape)}"
                )
    options = plain.StateDictOptions(full_state_dict=True)
    plain.set_optimizer_state_dict(model, optimizer, state, options=options)
