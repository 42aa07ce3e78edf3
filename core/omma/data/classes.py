"""Lists of class names, as configs give them, and those that more than one task knows."""

from __future__ import annotations

from collections.abc import Mapping

# fmt: off
COCO = (
    "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat", "traffic light",
    "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog", "horse", "sheep", "cow",
    "elephant", "bear", "zebra", "giraffe", "backpack", "umbrella", "handbag", "tie", "suitcase", "frisbee",
    "skis", "snowboard", "sports ball", "kite", "baseball bat", "baseball glove", "skateboard", "surfboard",
    "tennis racket", "bottle", "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple",
    "sandwich", "orange", "broccoli", "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch",
    "potted plant", "bed", "dining table", "toilet", "tv", "laptop", "mouse", "remote", "keyboard",
    "cell phone", "microwave", "oven", "toaster", "sink", "refrigerator", "book", "clock", "vase", "scissors",
    "teddy bear", "hair drier", "toothbrush",
)
VOC = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable",
    "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)
# fmt: on


def named_classes(classes: tuple[str, ...] | str, known: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """The names behind what a config says: a list, or the name of a ``known`` one.

    Raises:
        ValueError: no list has that name, or a class stands twice, or there is none.
    """
    if isinstance(classes, str):
        if classes not in known:
            raise ValueError(
                f"classes: expected a list of names or one of {', '.join(known)}, got '{classes}'"
            )
        return known[classes]
    if not classes:
        raise ValueError("classes: expected at least one name, got an empty list")
    if twice := sorted({name for name in classes if classes.count(name) > 1}):
        raise ValueError(f"classes: expected each name once, got {', '.join(twice)} more than once")
    return tuple(classes)
