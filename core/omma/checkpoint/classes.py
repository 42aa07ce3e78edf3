"""Moving a model onto other classes: rows of classes with the same name are kept.

A head tells which of its parameters have rows per class by a method ``class_rows() -> {name: ClassRows}``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from omma.errors import WeightsError
from omma.structures.class_rows import ClassRows


def class_rows(model: nn.Module) -> dict[str, ClassRows]:
    """Full parameter name -> its rows, from every module that has a ``class_rows()`` method."""
    found: dict[str, ClassRows] = {}
    for prefix, module in model.named_modules():
        method = getattr(module, "class_rows", None)
        if callable(method):
            rows = cast("Callable[[], dict[str, ClassRows]]", method)()
            found |= {f"{prefix}.{name}" if prefix else name: value for name, value in rows.items()}
    return found


@torch.no_grad()
def move_rows(
    source: Tensor, target: Tensor, rows: ClassRows, theirs: Sequence[str], ours: Sequence[str], where: str
) -> Tensor:
    """``target`` with the rows of those classes that ``source`` has too, and those of no class.

    Args:
        source: parameter for the classes ``theirs``.
        target: parameter for the classes ``ours``, freshly initialised; not changed.
        rows: how axis 0 runs over the classes.
        theirs: names in the file's label order.
        ours: names in the model's label order.
        where: file and parameter, for messages.

    Raises:
        WeightsError: axis 0 of a parameter is not what its classes ask for, or the other axes differ.
    """
    if source.shape[1:] != target.shape[1:]:
        raise WeightsError(f"{where}: {tuple(source.shape)} in the file, {tuple(target.shape)} in the model")
    for side, value, names in (("file", source, theirs), ("model", target, ours)):
        expected = rows.total(len(names))
        if len(value) != expected:
            raise WeightsError(
                f"{where}: {len(value)} rows in the {side}, but its {len(names)} classes make {expected}"
            )
    out = target.clone()
    trailing, shared = source.shape[1:], int(rows.background)
    old = source.reshape(rows.repeats, -1, *trailing)
    # A view: what is written into it is written into ``out``.
    new = out.view(rows.repeats, -1, *trailing)
    new[:, : rows.before] = old[:, : rows.before]
    new[:, new.shape[1] - shared :] = old[:, old.shape[1] - shared :]
    place = {name: rows.before + label * rows.per_class for label, name in enumerate(theirs)}
    for label, name in enumerate(ours):
        if name in place:
            first = rows.before + label * rows.per_class
            new[:, first : first + rows.per_class] = old[:, place[name] : place[name] + rows.per_class]
    return out
