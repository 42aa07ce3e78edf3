"""The one check of an operator's arguments."""

from __future__ import annotations

from types import EllipsisType
from typing import Literal

import torch
from torch import Tensor

Kind = Literal["float", "int", "bool", "any"]
Shape = tuple["int | str | EllipsisType", ...]

_INTEGERS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)
_WORDS = {"float": "floating point", "int": "integers", "bool": "bool", "any": "real numbers"}


def check_tensors(op: str, *arguments: tuple[str, Tensor, Shape, Kind]) -> None:
    """Hold an operator's tensors against what it expects.

    Args:
        op: name of the operator.
        arguments: (name, tensor, shape, kind of its dtype) of each. An axis of a shape is a number, or a name
            that must have the same length wherever it occurs; a leading ``...`` stands for any axes. All
            tensors must lie on the device of the first.

    Raises:
        ValueError: the first thing that is wrong: operator, argument, expected and actual.
    """
    axes: dict[str, int] = {}
    device = arguments[0][1].device
    for name, x, shape, kind in arguments:
        if not _fits(x, shape, axes):
            expected = _shown(shape, axes)
            raise ValueError(f"{op}: {name} must have shape {expected}, got {tuple(x.shape)}")
        if not _is_kind(x.dtype, kind):
            raise ValueError(
                f"{op}: {name} must be {_WORDS[kind]}, got {str(x.dtype).removeprefix('torch.')}"
            )
        if x.device != device:
            raise ValueError(f"{op}: {name} must be on {device} as {arguments[0][0]} is, got {x.device}")


def _fits(x: Tensor, shape: Shape, axes: dict[str, int]) -> bool:
    """Whether ``x`` has the shape; learns the lengths of names not yet in ``axes`` where it has."""
    sizes = x.shape
    if shape and shape[0] is ...:
        shape = shape[1:]
        if len(sizes) < len(shape):
            return False
        sizes = sizes[len(sizes) - len(shape) :]
    if len(sizes) != len(shape):
        return False
    found: dict[str, int] = {}
    for size, axis in zip(sizes, shape):
        if isinstance(axis, str):
            if size != axes.get(axis, found.setdefault(axis, size)):
                return False
        elif size != axis:
            return False
    axes.update(found)
    return True


def _shown(shape: Shape, axes: dict[str, int]) -> str:
    words = [
        "..." if axis is ... else str(axes.get(axis, axis) if isinstance(axis, str) else axis)
        for axis in shape
    ]
    return f"({words[0]},)" if len(words) == 1 else f"({', '.join(words)})"


def _is_kind(dtype: torch.dtype, kind: Kind) -> bool:
    if kind == "float":
        return dtype.is_floating_point
    if kind == "int":
        return dtype in _INTEGERS
    if kind == "any":
        return not dtype.is_complex
    return dtype == torch.bool
