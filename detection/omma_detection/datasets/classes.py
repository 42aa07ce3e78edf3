"""Class names: known lists, and the map from an annotation file's names to labels."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from omma.errors import DataError

KNOWN: dict[str, tuple[str, ...]] = {
    "coco": tuple(
        [
            "person",
            "bicycle",
            "car",
            "motorcycle",
            "airplane",
            "bus",
            "train",
            "truck",
            "boat",
            "traffic light",
            "fire hydrant",
            "stop sign",
            "parking meter",
            "bench",
            "bird",
            "cat",
            "dog",
            "horse",
            "sheep",
            "cow",
            "elephant",
            "bear",
            "zebra",
            "giraffe",
            "backpack",
            "umbrella",
            "handbag",
            "tie",
            "suitcase",
            "frisbee",
            "skis",
            "snowboard",
            "sports ball",
            "kite",
            "baseball bat",
            "baseball glove",
            "skateboard",
            "surfboard",
            "tennis racket",
            "bottle",
            "wine glass",
            "cup",
            "fork",
            "knife",
            "spoon",
            "bowl",
            "banana",
            "apple",
            "sandwich",
            "orange",
            "broccoli",
            "carrot",
            "hot dog",
            "pizza",
            "donut",
            "cake",
            "chair",
            "couch",
            "potted plant",
            "bed",
            "dining table",
            "toilet",
            "tv",
            "laptop",
            "mouse",
            "remote",
            "keyboard",
            "cell phone",
            "microwave",
            "oven",
            "toaster",
            "sink",
            "refrigerator",
            "book",
            "clock",
            "vase",
            "scissors",
            "teddy bear",
            "hair drier",
            "toothbrush",
        ]
    ),
    "voc": tuple(
        [
            "aeroplane",
            "bicycle",
            "bird",
            "boat",
            "bottle",
            "bus",
            "car",
            "cat",
            "chair",
            "cow",
            "diningtable",
            "dog",
            "horse",
            "motorbike",
            "person",
            "pottedplant",
            "sheep",
            "sofa",
            "train",
            "tvmonitor",
        ]
    ),
}


def resolve(classes: Sequence[str] | str | None, found: Sequence[str], where: str) -> tuple[str, ...]:
    """The class names in label order.

    Args:
        classes: names, the name of a known list, or null for those of the annotations.
        found: the names in the annotations.
        where: the annotation file, for messages.

    Raises:
        DataError: an unknown list, a name written twice, or one that the annotations don't have.
    """
    if classes is None:
        if not found:
            raise DataError(f"{where}: no classes there; name them in data.classes")
        return tuple(found)
    if isinstance(classes, str):
        if classes not in KNOWN:
            raise DataError(
                f"data.classes: no known list is called '{classes}'; there are {', '.join(KNOWN)}"
            )
        classes = KNOWN[classes]
    twice = sorted({name for name in classes if list(classes).count(name) > 1})
    if twice:
        raise DataError(f"data.classes: written twice: {', '.join(twice)}")
    missing = [name for name in classes if name not in found]
    if missing:
        raise DataError(_mismatch(missing, classes, found, where))
    return tuple(classes)


def _mismatch(missing: Sequence[str], classes: Sequence[str], found: Sequence[str], where: str) -> str:
    all_of = "none" if len(missing) == len(classes) else f"{len(missing)} of {len(classes)}"
    lines = [
        f"{where}: {all_of} of the classes asked for are there"
        if all_of == "none"
        else f"{where}: {all_of} classes asked for are not there"
    ]
    for name in missing[:10]:
        near = difflib.get_close_matches(name, found, 1, 0.5)
        lines.append(f"    '{name}' is missing" + (f"; did you mean '{near[0]}'?" if near else ""))
    lines.append(f"    asked for: {', '.join(classes)}")
    lines.append(f"    found: {', '.join(found) or 'no class at all'}")
    return "\n".join(lines)
