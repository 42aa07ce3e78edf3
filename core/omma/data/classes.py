"""Lists of class names, as configs give them."""

from __future__ import annotations

from collections.abc import Mapping


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
