"""Weights files as plain tensors, without running anything that is in them."""

from __future__ import annotations

import difflib
import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from omma.checkpoint.pickled import load_pickled
from omma.checkpoint.store import EMA, META, MODEL, CheckpointStore, read_checkpoint
from omma.errors import WeightsError

_WRAPPERS = ("state_dict", "model_state_dict", "model", "ema_state_dict", "params", "teacher")


@dataclass
class Weights:
    """What a file holds."""

    state: dict[str, Tensor]
    """Name -> tensor, on the CPU."""
    metadata: dict[str, Any] = field(default_factory=dict)
    """``classes`` (tuple of names) and ``config`` (its text), where the file tells them."""


def read_weights(path: str | Path) -> Weights:
    """The weights in a ``.safetensors``, ``.pth`` or ``.pt`` file, a checkpoint folder or a run folder.

    Wrappers (``state_dict``, ``model``, ...) and prefixes of parallel and compiled models (``module.``) are
    taken off. Of a run folder the best checkpoint is taken, else the newest; averaged weights before plain
    ones.

    Raises:
        WeightsError: missing, damaged, holding no weights, or holding code.
    """
    file = find_weights(Path(path))
    if file.name == META:
        return _read_sharded(file.parent)
    if file.suffix == ".safetensors":
        return _read_safetensors(file)
    return _read_pickled(file)


def find_weights(path: Path) -> Path:
    """The file behind a path: itself, or the best, else the newest, of a run.

    Raises:
        WeightsError: there is none; the message names files that are near.
    """
    if path.is_file():
        if path.name == MODEL and (path.parent / EMA).is_file():
            warnings.warn(
                f"{path} holds the weights as trained; evaluation took their average, {EMA} beside it: "
                f"give the folder {path.parent} to get that",
                stacklevel=2,
            )
        return path
    if not path.is_dir():
        near = sorted(p.name for p in path.parent.glob("*")) if path.parent.is_dir() else []
        close = difflib.get_close_matches(path.name, near, 3)
        hint = f"; {path.parent} has {', '.join(close)}" if close else ""
        raise WeightsError(f"{path}: no such file or folder{hint}")
    run = path.parent if path.name == "checkpoints" else path
    steps = [folder for _, folder in CheckpointStore(run / "checkpoints", keep=1).all()]
    for folder in (path, run / "checkpoints" / "best", *reversed(steps)):
        # Where weights were averaged, the average is what was evaluated.
        for name in (EMA, MODEL):
            if (folder / name).is_file():
                return folder / name
        if any(folder.glob("shard-*.safetensors")) and (folder / META).is_file():
            return folder / META
    raise WeightsError(f"{path}: neither a checkpoint ({MODEL}) nor a run (checkpoints/best)")


def _read_safetensors(file: Path) -> Weights:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(file), framework="pt") as source:
            metadata: dict[str, Any] = dict(source.metadata() or {})
            state = {name: source.get_tensor(name) for name in source.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise WeightsError(
            f"{file}: damaged, or not a safetensors file; fetch or copy it again: {error}"
        ) from None
    if file.name == EMA and (file.parent / MODEL).is_file():
        model = _read_safetensors(file.parent / MODEL)
        return Weights(model.state | state, model.metadata)
    if "classes" in metadata:
        metadata["classes"] = _class_names(file, metadata["classes"])
    return Weights(state, metadata)


def _read_sharded(folder: Path) -> Weights:
    checkpoint = read_checkpoint(folder)
    metadata = {"classes": checkpoint.classes, "config": checkpoint.config}
    return Weights(checkpoint.model | (checkpoint.ema or {}), metadata)


def _class_names(file: Path, text: str) -> tuple[str, ...]:
    try:
        names = json.loads(text)
    except (ValueError, RecursionError):
        names = None
    if not isinstance(names, list):
        raise WeightsError(
            f"{file}: expected its metadata 'classes' to be a JSON list of names, got {text:.60}"
        )
    return tuple(map(str, names))


def _read_pickled(file: Path) -> Weights:
    content = load_pickled(file)
    if not isinstance(content, Mapping):
        raise WeightsError(f"{file}: holds {type(content).__name__}, expected a mapping of names to tensors")
    metadata = _metadata(content)
    for key in _WRAPPERS:
        if isinstance(content.get(key), Mapping):
            content = content[key]
            break
    state = {
        name: value for name, value in content.items() if isinstance(name, str) and isinstance(value, Tensor)
    }
    for name, tensor in state.items():
        if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            raise WeightsError(
                f"{file}: refused: the tensor {name} of shape {tuple(tensor.shape)} repeats "
                f"{tensor.untyped_storage().nbytes()} bytes; save it with .contiguous()"
            )
    if not state:
        keys = ", ".join(map(str, list(content)[:8]))
        raise WeightsError(f"{file}: no tensors there; its keys are {keys or 'none'}")
    return Weights(_plain_names(state), metadata)


def _plain_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Without the prefixes that DDP, ``torch.compile`` and averages put before names."""
    state = {name.replace("_orig_mod.", ""): value for name, value in state.items()}
    if all(name.startswith("module.") for name in state):
        state = {name.removeprefix("module."): value for name, value in state.items()}
    return state


def _metadata(content: Mapping[Any, Any]) -> dict[str, Any]:
    """Class names and config text, where OpenMMLab's ``meta`` has them."""
    meta = content.get("meta")
    if not isinstance(meta, Mapping):
        return {}
    found: dict[str, Any] = {}
    data = meta.get("dataset_meta")
    tables = [table for table in (data, meta) if isinstance(table, Mapping)]
    for names in (table.get(key) for table in tables for key in ("classes", "CLASSES")):
        if isinstance(names, list | tuple):
            found.setdefault("classes", tuple(map(str, names)))
    for text in (meta.get("cfg"), meta.get("config")):
        if isinstance(text, str):
            found.setdefault("config", text)
    return found


__all__ = ["Weights", "find_weights", "read_weights"]
