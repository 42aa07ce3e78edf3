"""Corner pooling (Law and Deng, CornerNet, 2018)."""

from __future__ import annotations

from typing import Literal, get_args

from torch import Tensor

from omma.ops.arguments import check_tensors
from omma.ops.backend import Operator

Direction = Literal["top", "bottom", "left", "right"]
_AXES = {"top": (2, True), "bottom": (2, False), "left": (3, True), "right": (3, False)}


def corner_pool(x: Tensor, *, direction: Direction) -> Tensor:
    """The maximum of each pixel and all that lie on one side of it in its column or row.

    Args:
        x: (N, C, H, W).
        direction: where the maximum moves: ``top`` looks at the pixels below, ``left`` at those to the right
            (so that an object's top left corner sees its edges), ``bottom`` and ``right`` the other way.

    Returns:
        (N, C, H, W).

    Raises:
        ValueError: wrong shape or dtype, or an unknown direction.
    """
    check_tensors("corner_pool", ("x", x, ("N", "C", "H", "W"), "float"))
    if direction not in _AXES:
        raise ValueError(
            f"corner_pool: direction must be one of {', '.join(get_args(Direction))}, got {direction!r}"
        )
    return _CORNER_POOL.kernel(x)(x, *_AXES[direction])


def _reference(x: Tensor, axis: int, backwards: bool) -> Tensor:
    if backwards:
        return x.flip(axis).cummax(axis).values.flip(axis)
    return x.cummax(axis).values


_CORNER_POOL = Operator("corner_pool", reference=_reference)
