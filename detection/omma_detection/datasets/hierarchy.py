"""Trees of classes: which ones are wider, and which narrower than another."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omma.data.lines import read_lines
from omma.errors import DataError


@dataclass(frozen=True)
class Hierarchy:
    """Labels above and below each label; those without any are left out."""

    ancestors: Mapping[int, tuple[int, ...]]
    descendants: Mapping[int, tuple[int, ...]]


def read_hierarchy(path: Path, labels: Mapping[str, int]) -> Hierarchy:
    """Open Images' file of nested classes: ``{"LabelName": ..., "Subcategory": [...]}``.

    The root stands for everything and is no class. A class may stand below several others. Parts, such as
    the wheels of a car, are none of its kinds and don't count.

    Args:
        path: the JSON file.
        labels: of the classes by LabelName; negative ones and others are passed over.

    Raises:
        DataError: the file can't be read or isn't of this form.
    """
    try:
        root: Any = json.loads("\n".join(read_lines(path)))
    except json.JSONDecodeError as error:
        raise DataError(f"{path}:{error.lineno}:{error.colno}: not valid JSON: {error.msg}") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not valid JSON: {error!s:.80}") from None
    up: dict[int, set[int]] = {}
    down: dict[int, set[int]] = {}
    waiting: list[tuple[Any, tuple[int, ...]]] = [(child, ()) for child in _children(root, path)]
    while waiting:
        node, above = waiting.pop()
        children = _children(node, path)
        label = labels.get(node["LabelName"], -1)
        if label >= 0:
            for other in set(above) - {label}:
                up.setdefault(label, set()).add(other)
                down.setdefault(other, set()).add(label)
            above = (*above, label)
        waiting += [(child, above) for child in children]
    return Hierarchy(*({label: tuple(sorted(others)) for label, others in way.items()} for way in (up, down)))


def _children(node: Any, path: Path) -> list[Any]:
    name = node.get("LabelName") if isinstance(node, dict) else None
    children = node.get("Subcategory", []) if isinstance(node, dict) else None
    if not isinstance(name, str) or not isinstance(children, list):
        raise DataError(
            f"{path}: expected objects with the text 'LabelName' and perhaps the list 'Subcategory', got "
            f"{node!r:.80}"
        )
    return children
