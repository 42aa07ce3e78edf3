"""``${a.b}``: the value at another path of the same config."""

from __future__ import annotations

import difflib
import re
from typing import Any

from omma.config.source import BROKEN, MAX_DEPTH, ConfigError, ConfigPath, Marks, Problem, mark_of

_REFERENCE = re.compile(r"\$\{([^}]*)\}")
_MAX_VALUES = 200_000
_MAX_TEXT = 10_000


def resolve(data: dict[str, Any], marks: Marks) -> tuple[dict[str, Any], list[Problem]]:
    """``data`` with each reference replaced, and the references that can't be.

    A value that is nothing but a reference keeps the type of what it points at; inside other text it is
    written out. References to references are followed.

    Raises:
        ConfigError: the references blow the config up beyond all reason.
    """
    resolver = _Resolver(data, marks)
    try:
        return resolver.walk(data, (), ()), resolver.problems
    except RecursionError:
        problem = Problem((), None, "the references lead too deep into one another")
        raise ConfigError([*resolver.problems, problem]) from None


class _Resolver:
    def __init__(self, data: dict[str, Any], marks: Marks) -> None:
        self.data, self.marks = data, marks
        self.problems: list[Problem] = []
        self.values = 0

    def wrong(self, path: ConfigPath, text: str, hint: str = "") -> Any:
        self.problems.append(Problem(path, mark_of(self.marks, path), text, hint))
        return BROKEN

    def walk(self, node: Any, path: ConfigPath, seen: tuple[str, ...]) -> Any:
        """``node`` resolved. ``path`` is where it will stand, ``seen`` the references that led here."""
        self.values += 1
        if self.values > _MAX_VALUES or len(path) > 2 * MAX_DEPTH:
            self.wrong(path, "the references make this config grow without end")
            raise ConfigError(self.problems)
        if isinstance(node, dict):
            return {key: self.walk(value, (*path, key), seen) for key, value in node.items()}
        if isinstance(node, list):
            return [self.walk(value, (*path, i), seen) for i, value in enumerate(node)]
        if not isinstance(node, str) or "${" not in node:
            return node
        if whole := _REFERENCE.fullmatch(node):
            return self.look(whole[1], path, seen)
        return self.text(node, path, seen)

    def text(self, node: str, path: ConfigPath, seen: tuple[str, ...]) -> Any:
        """Text with references inside it."""
        parts = [
            self.look(part, path, seen) if i % 2 else part for i, part in enumerate(_REFERENCE.split(node))
        ]
        if any(part is BROKEN for part in parts):
            return BROKEN
        if any(isinstance(part, dict | list) for part in parts):
            return self.wrong(path, f"{node!r:.80} puts a mapping or list into text")
        out = "".join(part if isinstance(part, str) else _written(part) for part in parts)
        if "${" in out:
            return self.wrong(path, f"{node!r:.80} has a reference without an end", "write ${path.to.value}")
        if len(out) > _MAX_TEXT:
            return self.wrong(path, f"the text grows beyond {_MAX_TEXT} characters")
        return out

    def look(self, reference: str, path: ConfigPath, seen: tuple[str, ...]) -> Any:
        """The resolved value that ``reference`` points at."""
        if reference in seen:
            return self.wrong(path, f"the reference goes in a circle: {' -> '.join((*seen, reference))}")
        if len(seen) > MAX_DEPTH:
            return self.wrong(path, f"more than {MAX_DEPTH} references follow one another")
        node: Any = self.data
        steps: list[Any] = reference.split(".")
        for i, step in enumerate(steps):
            if node is BROKEN:
                return BROKEN
            if isinstance(node, str) and "${" in node:
                node = self.walk(node, path, (*seen, ".".join(steps[:i])))
            try:
                node = node[int(step)] if isinstance(node, list) else node[step]
            except (KeyError, IndexError, TypeError, ValueError):
                return self.miss(reference, ".".join(steps[:i]), node, step, path)
        return self.walk(node, path, (*seen, reference))

    def miss(self, reference: str, holder: str, node: Any, step: str, path: ConfigPath) -> Any:
        """The report of a reference to nothing: what is there instead."""
        keys = [str(key) for key in node] if isinstance(node, dict) else []
        near = difflib.get_close_matches(step, keys, 1)
        hint = f"did you mean '{near[0]}'? " if near else ""
        has = ", ".join(keys) if keys else f"{len(node)} entries" if isinstance(node, list) else "no keys"
        return self.wrong(
            path, f"${{{reference}}} points at nothing", f"{hint}{holder or 'the top level'} has: {has}"
        )


def _written(value: Any) -> str:
    """A plain value as a config would write it."""
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)
