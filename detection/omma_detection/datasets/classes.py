"""Known lists of classes, and matching a list against the names in a file."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from omma.data.classes import COCO, VOC, named_classes
from omma.errors import DataError

KNOWN = {"coco": COCO, "voc": VOC}
"""Lists that a config may name; their order is that of published weights."""


def class_list(classes: tuple[str, ...] | str | None) -> tuple[str, ...] | None:
    """The names behind what a config says; None stays None.

    Raises:
        ValueError: no list has that name, or a class stands twice, or there is none.
    """
    return None if classes is None else named_classes(classes, KNOWN)


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
    what = (
        "none of the classes" if len(missing) == len(wanted) else f"no class {_listed(missing, quote=True)}"
    )
    lines = [
        f"{where}: {what} asked for is in the file" if len(missing) == len(wanted) else f"{where}: {what}"
    ]
    lines += [f"  asked for: {_listed(wanted)}", f"  in the file: {_listed(found) or 'none'}"]
    if near := [(name, close[0]) for name in missing if (close := _nearest(name, found))]:
        lines.append(
            "  did you mean " + ", ".join(f"'{close}' for '{name}'" for name, close in near[:5]) + "?"
        )
    lines.append("  set data.classes to names of the file, or to null for all of them")
    raise DataError("\n".join(lines))


def _nearest(name: str, found: Sequence[str]) -> list[str]:
    folded = {each.lower(): each for each in found}
    return [folded[each] for each in difflib.get_close_matches(name.lower(), folded, 1)]


def _listed(names: Sequence[str], *, quote: bool = False, limit: int = 30) -> str:
    shown = ", ".join(f"'{name}'" if quote else name for name in names[:limit])
    return f"{shown}, ... ({len(names)} in all)" if len(names) > limit else shown
