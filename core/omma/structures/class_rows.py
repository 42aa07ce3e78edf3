"""How the rows of a parameter belong to classes, for moving a model onto other classes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ClassRows:
    """Axis 0 of a parameter as (repeats, classes, per_class) rows, and a background row after them.

    RetinaNet's 9 anchors x 80 classes are ``ClassRows(repeats=9)``; a box regressor with 4 numbers per class
    is ``ClassRows(per_class=4)``; a softmax classifier with background last is
    ``ClassRows(background=True)``.
    """

    repeats: int = 1
    per_class: int = 1
    background: bool = False
