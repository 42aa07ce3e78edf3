"""One flat table of the names that a config may use, and the class behind each.

Nothing is imported to know the names: the sources of Omma and of every package that offers an
``omma.tasks`` entry point are read for ``@register`` lines, and a module is imported when one of its names
is first looked up. So a config costs the imports of its own parts and no others.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from omma.errors import OmmaError

C = TypeVar("C", bound=Callable[..., Any])

_table: dict[str, Callable[..., Any]] = {}

# "@register" above a class or function, or "register(module.Name)" for somebody else's class.
_DECORATED = re.compile(r"^@register\n(?:@[^\n]*\n)*(?:class|def) (\w+)", re.MULTILINE)
_CALLED = re.compile(r"^register\((?:\w+\.)*(\w+)\)", re.MULTILINE)


class RegistryError(OmmaError):
    """A name that is registered twice, or not at all."""

    def __init__(self, text: str, hint: str = "") -> None:
        self.text, self.hint = text, hint
        super().__init__(f"{text}; {hint}" if hint else text)


@dataclass(frozen=True)
class Place:
    """Where a registered name is defined, known without importing it."""

    module: str
    file: Path
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


def register(target: C) -> C:
    """Make ``target`` known by its own name, for configs to build. Returns it unchanged.

    Raises:
        RegistryError: another class or function has the name already.
    """
    name = target.__name__
    known = _table.get(name)
    if known is not None and _origin(known) != _origin(target):
        raise RegistryError(f"'{name}' is registered twice: at {source_of(known)} and at {source_of(target)}")
    _table[name] = target
    return target


def lookup(name: str) -> Callable[..., Any]:
    """The class or function registered as ``name``, importing its module if need be.

    Raises:
        RegistryError: nothing is registered so; the message has the nearest names.
    """
    if name not in _table and (place := places().get(name)):
        importlib.import_module(place.module)
    if name not in _table:
        # Of names that are as near, the one that begins alike is likelier meant.
        near = sorted(difflib.get_close_matches(name, names(), 3), key=lambda other: other[:1] != name[:1])
        hint = f"did you mean {' or '.join(map(repr, near))}?" if near else "is its package installed?"
        raise RegistryError(f"nothing is registered as '{name}'", hint)
    return _table[name]


def names() -> list[str]:
    """All names that ``lookup`` finds, sorted."""
    return sorted({*_table, *places()})


@cache
def places() -> dict[str, Place]:
    """Name -> where it is defined, read from the sources of Omma and its task packages.

    Raises:
        RegistryError: two places define the same name.
    """
    from importlib.metadata import entry_points  # slow to import, and composing a config needs no names

    packages = ["omma", *sorted({entry.module.split(".")[0] for entry in entry_points(group="omma.tasks")})]
    found: dict[str, Place] = {}
    for package in packages:
        spec = importlib.util.find_spec(package)
        for root in (spec.submodule_search_locations or ()) if spec else ():
            for place, name in _scan(Path(root), package):
                if name in found and found[name].module != place.module:
                    raise RegistryError(f"'{name}' is registered twice: at {found[name]} and at {place}")
                found[name] = place
    return found


def _scan(root: Path, package: str) -> list[tuple[Place, str]]:
    out = []
    for file in sorted(root.rglob("*.py")):
        text = file.read_text(encoding="utf-8", errors="replace")
        if "register" not in text:
            continue
        parts = file.relative_to(root).with_suffix("").parts
        module = ".".join([package, *(parts[:-1] if parts[-1] == "__init__" else parts)])
        for pattern in (_DECORATED, _CALLED):
            for match in pattern.finditer(text):
                out.append((Place(module, file, text.count("\n", 0, match.start(1)) + 1), match[1]))
    return out


def source_of(target: Any) -> str:
    """``file:line`` of a class or function, or ``built in``."""
    try:
        return f"{inspect.getsourcefile(target)}:{inspect.getsourcelines(target)[1]}"
    except (TypeError, OSError):
        return "built in"


def _origin(target: Any) -> tuple[str, str]:
    # A module that is loaded a second time (importlib.reload, notebooks) defines its classes anew.
    return target.__module__, target.__qualname__
