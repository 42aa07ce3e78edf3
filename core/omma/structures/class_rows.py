"""How the rows of a parameter belong to classes, for moving a model onto other classes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ClassRows:
    """Axis 0 of a parameter as ``repeats`` groups of rows: ``before``, (classes, per_class), background.

    RetinaNet's 9 anchors x 80 classes are ``ClassRows(repeats=9)``; a box regressor with 4 numbers per class
    is ``ClassRows(per_class=4)``; a softmax classifier with background last is
    ``ClassRows(background=True)``; YOLOv3's 3 anchors with 5 numbers of their own before the classes are
    ``ClassRows(repeats=3, before=5)``.
    """

    repeats: int = 1
    before: int = 0
    per_class: int = 1
    background: int = 0
    """Rows of no class: true, or 1, for a background."""

    def total(self, classes: int) -> int:
        """Rows for so many classes."""
        return self.repeats * (self.before + classes * self.per_class + self.background)
