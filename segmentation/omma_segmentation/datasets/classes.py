"""Known lists of classes."""

from __future__ import annotations

from omma.data.classes import named_classes
from omma.data.shapes import CATEGORIES

# fmt: off
CITYSCAPES = (
    "road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign", "vegetation",
    "terrain", "sky", "person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle",
)
CAMVID = (
    "sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "bicyclist",
)
# fmt: on

KNOWN = {"cityscapes": CITYSCAPES, "camvid": CAMVID, "shapes": CATEGORIES}
"""Lists that a config may name; their order is that of published weights."""


def class_list(classes: tuple[str, ...] | str) -> tuple[str, ...]:
    """The names behind what a config says.

    Raises:
        ValueError: no list has that name, or a class stands twice, or there is none.
    """
    return named_classes(classes, KNOWN)
