"""Tensors that are spread over processes, written by each its part and read whole.

Through ``torch.distributed.checkpoint`` in its safetensors form. Its usual form pickles an index and whatever
is no tensor, which a stranger's checkpoint must not make us read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from omma.errors import SetupError

_OPTIMIZER = "optimizer/"


def write_shards(folder: Path, tensors: Mapping[str, Tensor], group: dist.ProcessGroup) -> list[Path]:
    """Write this process's part of ``tensors``; all of ``group`` call it. Returns the files."""
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageWriter
    from torch.distributed.checkpoint.state_dict_saver import save

    writer = HuggingFaceStorageWriter(str(folder), save_distributed=True)
    save(dict(tensors), storage_writer=writer, process_group=group)
    return sorted(folder.glob(f"shard-{dist.get_rank(group) + 1:05d}-*.safetensors"))


def read_shards(folder: Path, prefix: str = "") -> dict[str, Tensor]:
    """The whole tensors in ``folder`` whose names begin with ``prefix``, on the CPU, without it."""
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader
    from torch.distributed.checkpoint.metadata import TensorStorageMetadata
    from torch.distributed.checkpoint.state_dict_loader import load

    reader = HuggingFaceStorageReader(str(folder))
    known = reader.read_metadata().state_dict_metadata
    tensors: dict[str, Any] = {
        name: torch.empty(entry.size, dtype=entry.properties.dtype)
        for name, entry in known.items()
        if name.startswith(prefix) and isinstance(entry, TensorStorageMetadata)
    }
    if tensors:
        load(tensors, storage_reader=reader, no_dist=True)
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}


def split_optimizer(state: Mapping[str, Any]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors of an optimiser's state as one flat mapping, and the plain values that remain."""
    tensors: dict[str, Tensor] = {}
    plain: dict[str, Any] = {}
    for parameter, values in state["state"].items():
        for key, value in values.items():
            if isinstance(value, Tensor):
                tensors[f"{_OPTIMIZER}{parameter}/{key}"] = value
            else:
                plain.setdefault(parameter, {})[key] = value
    return tensors, {"state": plain, "param_groups": state["param_groups"]}


def join_optimizer(folder: Path, plain: Mapping[str, Any]) -> dict[str, Any]:
    """What ``split_optimizer`` took apart, with whole tensors."""
    state = {parameter: dict(values) for parameter, values in plain["state"].items()}
    for name, tensor in read_shards(folder, _OPTIMIZER).items():
        parameter, key = name.rsplit("/", 1)
        state.setdefault(parameter, {})[key] = tensor
    return {"state": state, "param_groups": plain["param_groups"]}


def agreed(group: dist.ProcessGroup, act: Callable[[], Any]) -> list[Any]:
    """What ``act`` returns on each process of ``group``; an error on one is raised on all of them.

    Raises:
        SetupError: with the message of the first that failed.
    """
    try:
        outcome = (None, act())
    except Exception as error:  # whatever it is, the others must hear of it instead of waiting
        outcome = (f"{type(error).__name__}: {error}", None)
    outcomes: list[Any] = [None] * dist.get_world_size(group)
    dist.all_gather_object(outcomes, outcome, group)
    for number, (trouble, _) in enumerate(outcomes):
        if trouble is not None:
            raise SetupError(f"process {number} can't write its part of the checkpoint: {trouble}")
    return [result for _, result in outcomes]
