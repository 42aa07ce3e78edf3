"""``a.b.0.c=value`` on the command line, applied on top of the files."""

from __future__ import annotations

import re
from typing import Any

from omma.config.source import MAX_DEPTH, ConfigError, ConfigPath, Mark, Marks, Problem, Source, paths_below

_POSITION = re.compile(r"[0-9]{1,9}")
_ORIGIN = "command line"


def apply_override(data: dict[str, Any], marks: Marks, text: str) -> list[Problem]:
    """Set one value in ``data``; returns what was wrong with its YAML.

    The value replaces what was there. Another ``type`` drops the arguments that the files gave to the old
    one, as in a file, but keeps those that were set on the command line too.

    Raises:
        ConfigError: the text is no override, or its path leads nowhere.
    """
    key, sep, value = text.partition("=")
    key = key.removesuffix("!")
    mark = Mark(f"{_ORIGIN} '{text}'")
    if not sep or not all(key.split(".")):
        raise ConfigError([Problem((), mark, "an override is written key.path=value")])
    if key.split(".")[0] == "base":
        raise ConfigError([Problem(("base",), mark, "a config's base can't be changed from outside")])
    source = Source(mark.file, is_file=False)
    holder, path = _holder(data, marks, key.split("."), mark)
    new = source.read(value, path)
    last = path[-1]
    if last == "type" and isinstance(holder, dict) and holder.get("type", new) != new:
        for name in [name for name in holder if not _from_command_line(marks.get((*path[:-1], name)))]:
            forget(marks, (*path[:-1], name), holder.pop(name))
    forget(marks, path, _value(holder, last))
    holder[last] = new
    marks.update(source.marks)
    return source.problems


def forget(marks: Marks, path: ConfigPath, value: Any) -> None:
    """Remove the marks of ``value``, which stands at ``path``, and of everything in it."""
    for inner in ((), *paths_below(value)):
        marks.pop((*path, *inner), None)


def _holder(data: dict[str, Any], marks: Marks, words: list[str], mark: Mark) -> tuple[Any, ConfigPath]:
    """What the last word sets a value in, and the whole path. Mappings on the way are made."""
    if len(words) > MAX_DEPTH:
        raise ConfigError([Problem((), mark, f"nested deeper than {MAX_DEPTH} levels")])
    node: Any = data
    path: ConfigPath = ()
    for i, word in enumerate(words):
        step: Any = word
        if isinstance(node, list):
            step = int(word) if _POSITION.fullmatch(word) else len(node)
            if step >= len(node):
                there = f"it has {len(node)} entries, counted from 0"
                raise ConfigError([Problem(path, mark, f"this list has no entry '{word}'", there)])
        elif not isinstance(node, dict):
            raise ConfigError([Problem(path, mark, f"is {node!r:.60}, which holds no '{word}'")])
        path = (*path, step)
        if i < len(words) - 1:
            if isinstance(node, dict) and node.get(step) is None:
                node[step] = {}
                marks[path] = mark
            node = node[step]
    return node, path


def _value(holder: Any, step: str | int) -> Any:
    return holder.get(step) if isinstance(holder, dict) else holder[step]


def _from_command_line(mark: Mark | None) -> bool:
    return mark is not None and mark.file.startswith(_ORIGIN)
