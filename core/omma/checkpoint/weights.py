"""Weights of a file into a model: by name, by part, and onto other classes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from omma.checkpoint.classes import class_rows, move_rows
from omma.checkpoint.readers import Weights, find_weights, read_weights
from omma.errors import WeightsError

_OWN = ("num_batches_tracked", "relative_position_index", "attn_mask", "integral.project")
"""Buffers that a model computes for itself: a file may have them or not."""


@dataclass
class LoadReport:
    """What became of each parameter."""

    loaded: list[str] = field(default_factory=list)
    fresh: list[str] = field(default_factory=list)
    """Of the model, but not in the file."""
    unused: list[str] = field(default_factory=list)
    """In the file, but not of the model."""
    moved: dict[str, str] = field(default_factory=dict)
    """Class -> where its rows come from, when the classes differ."""

    def lines(self) -> list[str]:
        """The report as text."""
        out = [
            f"{len(self.loaded)} parameters loaded, {len(self.fresh)} kept fresh, {len(self.unused)} unused"
        ]
        return out + [f"    {name}: {where}" for name, where in self.moved.items()]


def load_weights(
    model: nn.Module, path: str | Path, *, classes: Sequence[str] | None = None, strict: bool = True
) -> LoadReport:
    """Load a weights file into ``model``.

    A file of a backbone alone goes into ``model.backbone``. Where ``classes`` are given and the file was made
    for others, the rows of classes with the same name are copied and the rest keep their initial values.

    Args:
        model: filled in place.
        path: as ``read_weights``.
        classes: names of the model's classes, in label order.
        strict: every parameter of the model must be in the file (rows of new classes aside).

    Raises:
        WeightsError: as ``read_weights``; or the file is of another model.
    """
    weights = read_weights(path)
    source = str(find_weights(Path(path)))
    report = LoadReport()
    target: nn.Module = model
    backbone = getattr(model, "backbone", None)
    if isinstance(backbone, nn.Module) and _is_backbone(weights.state, backbone, model):
        target, strict = backbone, False
    state = dict(weights.state)
    if classes is not None and target is model:
        state = _onto_classes(model, weights, tuple(classes), report, source)
    _fill(target, state, report, source, strict=strict)
    return report


def save_weights(
    model: nn.Module, path: str | Path, *, classes: Sequence[str] = (), config: str = ""
) -> None:
    """Write a model as safetensors, with its class names and config in the metadata."""
    from safetensors.torch import save_file

    state = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    save_file(state, str(path), metadata={"classes": json.dumps(list(classes)), "config": config})


def load_backbone(model: nn.Module, path: str | Path) -> LoadReport:
    """Load a file into a backbone by itself: its classifier is left out.

    Raises:
        WeightsError: as ``load_weights``.
    """
    state = read_weights(path).state
    if any(name.startswith("backbone.") for name in state):
        state = {n.removeprefix("backbone."): v for n, v in state.items() if n.startswith("backbone.")}
    report = LoadReport()
    _fill(model, state, report, str(path), strict=True)
    return report


def _is_backbone(state: Mapping[str, Tensor], backbone: nn.Module, model: nn.Module) -> bool:
    whole, part = set(model.state_dict()), set(backbone.state_dict())
    return len(part & set(state)) > len(whole & set(state))


def _fill(
    model: nn.Module, state: Mapping[str, Tensor], report: LoadReport, source: str, *, strict: bool
) -> None:
    own = model.state_dict()
    shapes = [
        f"{name}: {tuple(state[name].shape)} in the file, {tuple(value.shape)} in the model"
        for name, value in own.items()
        if name in state and state[name].shape != value.shape
    ]
    report.loaded = [name for name in own if name in state]
    report.fresh = [name for name in own if name not in state and not name.endswith(_OWN)]
    report.unused = [name for name in state if name not in own and not name.endswith(_OWN)]
    if shapes or not report.loaded or (strict and report.fresh):
        raise WeightsError(_other_model(source, report, shapes))
    model.load_state_dict({name: state[name] for name in report.loaded}, strict=False)


def _other_model(source: str, report: LoadReport, shapes: Sequence[str]) -> str:
    lines = [f"{source}: these are not weights of this model"]
    for title, names in (
        ("missing in the file", report.fresh),
        ("not known to the model", report.unused),
        ("of another shape", shapes),
    ):
        if names:
            shown = ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")
            lines.append(f"    {len(names)} {title}: {shown}")
    lines.append("    is it the right config? Give the one that the weights were trained with")
    return "\n".join(lines)


def _onto_classes(
    model: nn.Module, weights: Weights, classes: tuple[str, ...], report: LoadReport, source: str
) -> dict[str, Tensor]:
    """The file's state with class-dependent rows moved to the model's classes."""
    state = dict(weights.state)
    theirs = weights.metadata.get("classes")
    if theirs is None or tuple(theirs) == classes:
        return state
    own = model.state_dict()
    with torch.no_grad():
        for name, rows in class_rows(model).items():
            if name in state:
                state[name] = move_rows(state[name], own[name], rows, theirs, classes, f"{source}: {name}")
    report.moved = {name: "copied" if name in theirs else "new" for name in classes}
    return state
