"""Weights of a file into a model: by name, by part, and onto other classes."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from torch import Tensor, nn

from omma.checkpoint.classes import class_rows, move_rows
from omma.checkpoint.names import COMPUTED, added, beside, translate
from omma.checkpoint.readers import Weights, find_weights, read_weights
from omma.errors import WeightsError


@dataclass
class LoadReport:
    """What became of each parameter."""

    loaded: list[str] = field(default_factory=list)
    """Names of the model's parameters and buffers that the file filled, wholly or in part."""
    fresh: list[str] = field(default_factory=list)
    """Of the model, but not in the file."""
    unused: list[str] = field(default_factory=list)
    """In the file, but not of the model."""
    copied_classes: list[str] = field(default_factory=list)
    """Where the classes differ: those whose rows the file had."""
    new_classes: list[str] = field(default_factory=list)
    """Where the classes differ: those that keep their initial rows."""
    origin: str = ""
    """How a file of another library was read."""

    def lines(self) -> list[str]:
        """The report as a small table of text."""
        rows = [
            ("loaded", len(self.loaded), self.loaded[:0]),
            ("kept fresh", len(self.fresh), _parts(self.fresh)),
            ("unused", len(self.unused), _parts(self.unused)),
            ("classes copied by name", len(self.copied_classes), self.copied_classes),
            ("classes new", len(self.new_classes), self.new_classes),
        ]
        shown = rows if self.copied_classes or self.new_classes else rows[:3]
        return [f"{title:<24}{count:>6}  {_some(names, 8)}".rstrip() for title, count, names in shown]


def load_weights(
    model: nn.Module, path: str | Path, *, classes: Sequence[str] | None = None, strict: bool = True
) -> LoadReport:
    """Load a weights file into ``model``.

    A model with ``own_weights`` also takes files of its kin in other libraries. A file of a backbone alone
    goes into ``model.backbone``, its classifier left out; what a backbone has on top of a plain one (offsets
    of deformable convolutions) may be missing. Where ``classes`` are given and the file was made for others,
    the rows of classes with the same name are copied and the rest keep their initial values; so do all of
    them if the file doesn't name its classes and has another number.

    Args:
        model: filled in place; as it was if anything is raised.
        path: as ``read_weights``.
        classes: names of the model's classes, in label order.
        strict: the file must have all parameters of the model (or of its backbone) and no others, but for
            rows of new classes and buffers that a model computes for itself; else what fits is loaded.

    Raises:
        WeightsError: as ``read_weights``; or the file is of another model.
    """
    weights = _own_weights(model, read_weights(path))
    source = find_weights(Path(path))
    backbone = getattr(model, "backbone", None)
    if isinstance(backbone, nn.Module) and _is_backbone(weights.state, backbone, model):
        state, unused = _backbone_state(backbone, weights.state)
        state = {f"backbone.{name}": value for name, value in state.items()}
        required = {f"backbone.{name}" for name in backbone.state_dict().keys() - added(backbone)}
        return _fill(model, state, source, LoadReport(unused=unused), required, strict=strict)
    report = LoadReport(origin=weights.metadata.get("origin", ""))
    state = translate(model, weights.state)
    required = set(model.state_dict())
    if classes is not None:
        before = set(state)
        state = _onto_classes(model, Weights(state, weights.metadata), tuple(classes), report, source)
        required -= before - set(state)
    return _fill(model, state, source, report, required, strict=strict)


def load_backbone(backbone: nn.Module, path: str | Path) -> LoadReport:
    """Load a file of a backbone, or the backbone of a whole model's, into a backbone by itself.

    Raises:
        WeightsError: as ``load_weights``.
    """
    state = read_weights(path).state
    if any(name.startswith("backbone.") for name in state):
        state = {n.removeprefix("backbone."): v for n, v in state.items() if n.startswith("backbone.")}
    state, unused = _backbone_state(backbone, state)
    required = set(backbone.state_dict()) - added(backbone)
    return _fill(backbone, state, find_weights(Path(path)), LoadReport(unused=unused), required, strict=True)


def save_weights(
    model: nn.Module, path: str | Path, *, classes: Sequence[str] = (), config: str = ""
) -> None:
    """Write a model as safetensors, with its class names and config in the metadata.

    The file appears only when all of it is written; folders are made as needed.
    """
    from safetensors.torch import save_file

    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Tied weights share memory, which the format refuses.
    state = {name: value.detach().cpu().clone().contiguous() for name, value in model.state_dict().items()}
    temporary = path.with_name(f".{path.name}.writing")
    metadata = {"format": "pt", "classes": json.dumps(list(classes)), "config": config}
    try:
        save_file(state, str(temporary), metadata=metadata)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _own_weights(model: nn.Module, weights: Weights) -> Weights:
    """``weights`` as the model understands them, where they are those of its kin in another library.

    Such a model has a method ``own_weights(state)``, which gives the tensors under its names and in its order
    of classes, with ``classes`` if they're known and a sentence about their ``origin`` in the metadata; or
    None for any other file.
    """
    method = getattr(model, "own_weights", None)
    if not callable(method):
        return weights
    found = cast("Callable[[Mapping[str, Tensor]], Weights | None]", method)(weights.state)
    return weights if found is None else Weights(found.state, weights.metadata | found.metadata)


def _is_backbone(state: Mapping[str, Tensor], backbone: nn.Module, model: nn.Module) -> bool:
    whole = set(model.state_dict()) & set(translate(model, state))
    return len(set(backbone.state_dict()) & set(translate(backbone, state))) > len(whole)


def _backbone_state(backbone: nn.Module, state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """A backbone file's tensors under the backbone's names, and the names that lie outside it."""
    own = translate(backbone, state)
    outside = beside(backbone, own)
    for name in outside:
        del own[name]
    return own, outside


def _fill(
    model: nn.Module,
    state: Mapping[str, Tensor],
    source: Path,
    report: LoadReport,
    required: Collection[str],
    *,
    strict: bool,
) -> LoadReport:
    """Copy ``state`` into ``model``, of which it must fill what is ``required``."""
    own = model.state_dict()
    wrong = [
        f"{name}: {tuple(state[name].shape)} in the file, {tuple(value.shape)} in the model"
        for name, value in own.items()
        if name in state and state[name].shape != value.shape
    ]
    report.loaded = [name for name in own if name in state]
    report.fresh = [name for name in own if name not in state and not name.endswith(COMPUTED)]
    surplus = [name for name in state if name not in own and not name.endswith(COMPUTED)]
    report.unused += surplus
    missing = [name for name in report.fresh if name in required]
    if wrong or not report.loaded or (strict and (missing or surplus)):
        raise WeightsError(_other_model(source, missing, surplus, wrong, report.origin))
    model.load_state_dict({name: state[name] for name in report.loaded}, strict=False)
    return report


def _other_model(
    source: Path, missing: Sequence[str], surplus: Sequence[str], wrong: Sequence[str], origin: str
) -> str:
    lines = [f"{source}: these are not weights of this model"]
    for title, names in (
        ("missing in the file", missing),
        ("not known to the model", surplus),
        ("of another shape", wrong),
    ):
        if names:
            lines.append(f"    {len(names)} {title}: {_some(names, 4)}")
    if origin:
        lines.append(f"    {origin}")
    lines.append("    is it the right config? Give the one that the weights were trained with")
    return "\n".join(lines)


def _onto_classes(
    model: nn.Module, weights: Weights, classes: tuple[str, ...], report: LoadReport, source: Path
) -> dict[str, Tensor]:
    """The file's state with class-dependent rows moved to the model's classes."""
    state = dict(weights.state)
    named = weights.metadata.get("classes")
    theirs = tuple(named) if named else None
    own = model.state_dict()
    rows = {name: value for name, value in class_rows(model).items() if name in state}
    if theirs == classes or not rows:
        return state
    if theirs is None:
        if all(state[name].shape == own[name].shape for name in rows):
            return state
        report.new_classes = list(classes)
        return {name: value for name, value in state.items() if name not in rows}
    for name, layout in rows.items():
        state[name] = move_rows(state[name], own[name], layout, theirs, classes, f"{source}: {name}")
    report.copied_classes = [name for name in classes if name in theirs]
    report.new_classes = [name for name in classes if name not in theirs]
    return state


def _parts(names: Iterable[str]) -> list[str]:
    """The modules that ``names`` belong to, shortened to two steps."""
    return list(dict.fromkeys(".".join(name.split(".")[:2]) for name in names))


def _some(names: Sequence[str], count: int) -> str:
    return ", ".join(names[:count]) + (", ..." if len(names) > count else "")
