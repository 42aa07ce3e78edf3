"""Moving a model onto other classes: rows of classes with the same name are kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

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


def move_rows(
    source: Tensor, target: Tensor, rows: ClassRows, theirs: Sequence[str], ours: Sequence[str], where: str
) -> Tensor:
    """``target`` with the rows of those classes that ``source`` has too, and the background's.

    Args:
        source: parameter for the classes ``theirs``.
        target: parameter for the classes ``ours``, freshly initialised; not changed.
        rows: how axis 0 runs over the classes.
        theirs: names in the file's label order.
        ours: names in the model's label order.
        where: file and parameter, for messages.

    Raises:
        WeightsError: axis 0 of ``source`` is not what ``theirs`` asks for.
    """
    expected = rows.repeats * len(theirs) * rows.per_class + rows.background
    if len(source) != expected:
        raise WeightsError(f"{where}: {len(source)} rows, but {len(theirs)} classes make {expected}")
    out = target.clone()
    cut = (-1, *source.shape[1:])
    old = source[: expected - rows.background].reshape(
        rows.repeats, len(theirs), rows.per_class, *source.shape[1:]
    )
    new = out[: len(out) - rows.background].reshape(
        rows.repeats, len(ours), rows.per_class, *source.shape[1:]
    )
    for label, name in enumerate(ours):
        if name in theirs:
            new[:, label] = old[:, list(theirs).index(name)]
    out[: len(out) - rows.background] = new.reshape(cut)
    if rows.background:
        out[-1] = source[-1]
    return out
