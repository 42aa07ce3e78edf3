"""Known lists of classes."""

from __future__ import annotations

from omma.data.classes import COCO, VOC, named_classes

KNOWN = {"coco": COCO, "voc": VOC}
"""Lists that a config may name; their order is that of published weights."""


def class_list(classes: tuple[str, ...] | str | None) -> tuple[str, ...] | None:
    """The names behind what a config says; None stays None.

    Raises:
        ValueError: no list has that name, or a class stands twice, or there is none.
    """
    return None if classes is None else named_classes(classes, KNOWN)
