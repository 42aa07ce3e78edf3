"""Lists of class names, as configs give them, those that more than one task knows, and those in files."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence

from omma.errors import DataError

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


def match_classes(wanted: Sequence[str], found: Sequence[str], where: str, *, all_needed: bool) -> None:
    """See that the classes asked for are those of a file.

    Args:
        wanted: from the config.
        found: names in the file.
        where: the file, for the message.
        all_needed: whether each wanted class must be there; otherwise one is enough.

    Raises:
        DataError: none of them is there, or one is missing; the message has both lists and nearest names.
    """
    missing = [name for name in wanted if name not in found]
    if not missing or (not all_needed and len(missing) < len(wanted)):
        return
    what = "none of the classes" if len(missing) == len(wanted) else f"no class {listed(missing, quote=True)}"
    lines = [
        f"{where}: {what} asked for is in the file" if len(missing) == len(wanted) else f"{where}: {what}"
    ]
    lines += [f"  asked for: {listed(wanted)}", f"  in the file: {listed(found) or 'none'}"]
    if near := [(name, close) for name in missing if (close := nearest(name, found))]:
        lines.append(
            "  did you mean " + ", ".join(f"'{close}' for '{name}'" for name, close in near[:5]) + "?"
        )
    lines.append("  set data.classes to names of the file, or to null for all of them")
    raise DataError("\n".join(lines))


def nearest(name: str, found: Sequence[str]) -> str | None:
    """The name among those ``found`` that comes close to a mistyped one, if any does."""
    folded = {each.lower(): each for each in found}
    close = difflib.get_close_matches(name.lower(), folded, 1)
    return folded[close[0]] if close else None


def listed(names: Sequence[str], *, quote: bool = False, limit: int = 30) -> str:
    """Names for a message, the first ``limit`` of them."""
    shown = ", ".join(f"'{name}'" if quote else name for name in names[:limit])
    return f"{shown}, ... ({len(names)} in all)" if len(names) > limit else shown
