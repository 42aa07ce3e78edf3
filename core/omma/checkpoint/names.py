"""What the parameters of a file are called in a model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import cast

from torch import Tensor, nn

COMPUTED = ("num_batches_tracked", "relative_position_index", "attn_mask", "integral.project")
"""Ends of the names of buffers that a model computes for itself: a file may have them or not."""


def translate(model: nn.Module, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """``state`` under the model's names.

    A module whose parameters are called otherwise elsewhere has a method ``own_names(names)``, which maps
    those of the given names (relative to the module) that it knows to its own; where values are laid out
    otherwise too, it has a method ``own_state(state)`` instead, which gives the whole state below it as its
    own. The prefix ``model.``, which training frameworks add, is taken off where the model knows none of the
    names with it.
    """
    out = dict(state)
    if all(name.startswith("model.") for name in out) and out.keys().isdisjoint(model.state_dict()):
        out = {name.removeprefix("model."): value for name, value in out.items()}
    for path, module in model.named_modules():
        if not (hasattr(module, "own_state") or hasattr(module, "own_names")):
            continue
        prefix = f"{path}." if path else ""
        inside = {name.removeprefix(prefix): v for name, v in out.items() if name.startswith(prefix)}
        if callable(method := getattr(module, "own_state", None)):
            own_state = cast("Callable[[Mapping[str, Tensor]], dict[str, Tensor]]", method)
            outside = {name: value for name, value in out.items() if not name.startswith(prefix)}
            out = outside | {prefix + own: value for own, value in own_state(inside).items()}
        elif callable(method := getattr(module, "own_names", None)):
            own_names = cast("Callable[[Iterable[str]], dict[str, str]]", method)
            renamed = {prefix + theirs: prefix + own for theirs, own in own_names(inside).items()}
            out = {renamed.get(name, name): value for name, value in out.items()}
    return out


def beside(backbone: nn.Module, names: Iterable[str]) -> list[str]:
    """Those of a backbone file's ``names`` that lie outside this backbone: classifiers, later stages.

    Names within a part that the backbone has (``layer3.20.conv1.weight``) aren't among them: they tell that
    the file is of another network.
    """
    parts = {_part(name) for name in backbone.state_dict()}
    return [name for name in names if _part(name) not in parts]


def added(backbone: nn.Module) -> set[str]:
    """Names of parameters that the weights of a plain network of its kind lack.

    A module that a backbone has on top (the offsets of a deformable convolution) lists the names of its
    children and parameters of which that is true in ``added_names``.
    """
    names = backbone.state_dict()
    found: set[str] = set()
    for path, module in backbone.named_modules():
        for child in getattr(module, "added_names", ()):
            start = f"{path}.{child}" if path else child
            found.update(name for name in names if name == start or name.startswith(f"{start}."))
    return found


def _part(name: str) -> str:
    return name.partition(".")[0]
