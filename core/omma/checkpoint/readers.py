"""Weights files as plain tensors, without running anything that is in them."""

from __future__ import annotations

import difflib
import json
import pickle
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from omma.errors import WeightsError

_WRAPPERS = ("state_dict", "model_state_dict", "model", "ema_state_dict", "params", "teacher")
_PREFIXES = ("module.", "_orig_mod.", "model.")
_INERT = (
    "mmengine.",
    "mmcv.",
    "mmdet.",
    "mmseg.",
    "mmpose.",
    "mmaction.",
    "mmpretrain.",
    "numpy.",
    "addict.",
)
"""Packages whose objects lie in OpenMMLab's checkpoints beside the weights: logs, configs, numbers."""

_DAMAGE = (
    pickle.UnpicklingError,
    zipfile.BadZipFile,
    RuntimeError,
    EOFError,
    OSError,
    ValueError,
    TypeError,
    AttributeError,
    LookupError,
)
"""What torch raises, among others, for a file that was cut off or is none of its own."""


@dataclass
class Weights:
    """What a file holds."""

    state: dict[str, Tensor]
    """Name -> tensor, on the CPU."""
    metadata: dict[str, Any] = field(default_factory=dict)
    """``classes`` (tuple of names) and ``config`` (YAML text), where the file tells them."""


class _Skipped:
    """Stands in for an object that is no weight; takes whatever it is given and keeps nothing."""

    def __new__(cls, *args: Any, **kwargs: Any) -> _Skipped:
        return super().__new__(cls)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass


def read_weights(path: str | Path) -> Weights:
    """The weights in a ``.safetensors``, ``.pth`` or ``.pt`` file, a checkpoint folder or a run folder.

    Raises:
        WeightsError: missing, damaged, holding no weights, or holding code.
    """
    file = find_weights(Path(path))
    if file.suffix == ".safetensors":
        return _read_safetensors(file)
    return _read_pickled(file)


def find_weights(path: Path) -> Path:
    """The file behind a path: itself, or the best, else the newest, of a run.

    Raises:
        WeightsError: there is none; the message names files that are near.
    """
    if path.is_file():
        return path
    if not path.is_dir():
        near = [p.name for p in path.parent.glob("*")] if path.parent.is_dir() else []
        close = difflib.get_close_matches(path.name, near, 3)
        hint = f"; {path.parent} has {', '.join(close)}" if close else ""
        raise WeightsError(f"{path}: no such file or folder{hint}")
    folders = [
        path,
        path / "checkpoints" / "best",
        *sorted((path / "checkpoints").glob("step_*"), reverse=True),
    ]
    for folder in folders:
        # Where weights were averaged, the average is what was evaluated.
        for name in ("ema.safetensors", "model.safetensors"):
            if (folder / name).is_file():
                return folder / name
    raise WeightsError(f"{path}: neither a checkpoint (model.safetensors) nor a run (checkpoints/best)")


def _read_safetensors(file: Path) -> Weights:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(file), framework="pt") as source:
            metadata: dict[str, Any] = dict(source.metadata() or {})
            state = {name: source.get_tensor(name) for name in source.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise WeightsError(f"{file}: damaged, or not a safetensors file: {error}") from None
    if file.name == "ema.safetensors" and (file.parent / "model.safetensors").is_file():
        model = _read_safetensors(file.parent / "model.safetensors")
        return Weights(model.state | state, model.metadata)
    if "classes" in metadata:
        try:
            metadata["classes"] = tuple(map(str, json.loads(metadata["classes"])))
        except (ValueError, TypeError):
            raise WeightsError(f"{file}: its metadata 'classes' is no list of names") from None
    return Weights(state, metadata)


def _read_pickled(file: Path) -> Weights:
    content = _load_safely(file)
    if not isinstance(content, dict):
        raise WeightsError(f"{file}: holds {type(content).__name__}, expected a mapping of names to tensors")
    metadata = _metadata(content)
    for key in _WRAPPERS:
        if isinstance(content.get(key), dict):
            content = content[key]
            break
    state = {
        name: value for name, value in content.items() if isinstance(name, str) and isinstance(value, Tensor)
    }
    if not state:
        keys = ", ".join(map(str, list(content)[:8]))
        raise WeightsError(f"{file}: no tensors there; its keys are {keys or 'none'}")
    for prefix in _PREFIXES:
        if all(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): value for name, value in state.items()}
    return Weights(state, metadata)


def _load_safely(file: Path) -> Any:
    try:
        foreign = _foreign_globals(file)
        unknown = [name for name in foreign if not name.startswith(_INERT)]
        if unknown:
            raise WeightsError(
                f"{file}: refused, nothing was executed: loading it would call {', '.join(unknown[:3])}, "
                "which is no part of weights"
            )
        with torch.serialization.safe_globals([(_Skipped, name) for name in foreign]):
            return torch.load(file, map_location="cpu", weights_only=True)
    except _DAMAGE as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise WeightsError(f"{file}: damaged, or not a weights file of PyTorch: {reason:.200}") from None


def _foreign_globals(file: Path) -> list[str]:
    """Names that the pickle refers to and that torch doesn't know as harmless."""
    if zipfile.is_zipfile(file):
        return sorted(torch.serialization.get_unsafe_globals_in_checkpoint(file))
    return sorted(_legacy_globals(file))


def _legacy_globals(file: Path) -> set[str]:
    """The same for files from before torch 1.6, which are several pickles in a row.

    The opcodes are read and never run.
    """
    import pickletools

    known = {"collections.OrderedDict", "torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_parameter"}
    names: set[str] = set()
    with open(file, "rb") as stream:
        for _ in range(5):
            strings: list[str] = []
            try:
                for opcode, argument, _position in pickletools.genops(stream):
                    if isinstance(argument, str):
                        strings.append(argument)
                    if opcode.name in ("GLOBAL", "INST"):
                        names.add(str(argument).replace(" ", "."))
                    elif opcode.name == "STACK_GLOBAL":
                        names.add(".".join(strings[-2:]))
            except ValueError:
                break
    return {name for name in names if name not in known and not name.startswith("torch.")}


def _metadata(content: dict[Any, Any]) -> dict[str, Any]:
    """Class names, where OpenMMLab's ``meta`` has them."""
    meta = content.get("meta")
    if not isinstance(meta, dict):
        return {}
    data = meta.get("dataset_meta")
    classes = (data.get("classes") or data.get("CLASSES")) if isinstance(data, dict) else meta.get("CLASSES")
    return {"classes": tuple(map(str, classes))} if isinstance(classes, list | tuple) else {}


__all__ = ["Weights", "find_weights", "read_weights"]
