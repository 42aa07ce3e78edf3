"""Inheritance, command-line overrides and ``${}`` references over plain values."""

from __future__ import annotations

import copy
import difflib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from omma.config.locate import find_config
from omma.config.source import ConfigError, ConfigPath, Mark, Problem, Source, read_file, scalar

_REFERENCE = re.compile(r"\$\{([^}]*)\}")
Marks = dict[ConfigPath, Mark]


class Config:
    """A composed config: plain ``data`` and, for each path in it, where it was written."""

    def __init__(self, name: str, data: dict[str, Any], marks: Marks) -> None:
        self.name = name
        self.data = data
        self.marks = marks

    @classmethod
    def load(cls, name: str | Path, overrides: Sequence[str] = ()) -> Config:
        """Compose the config of this name or path, with ``a.b=value`` overrides on top.

        Raises:
            ConfigError: all that is wrong with its files, overrides and references.
        """
        file = find_config(name)
        data, marks = _with_bases(file, ())
        return cls(file.stem, *_finish(data, marks, overrides))

    @classmethod
    def from_text(cls, text: str, *, file: str, overrides: Sequence[str] = ()) -> Config:
        """A config that was composed before, e.g. the text kept in a checkpoint.

        Raises:
            ConfigError: as ``load``; ``base`` is not resolved here.
        """
        source = Source()
        data = source.read(text, file)
        if not isinstance(data, dict):
            raise ConfigError([Problem((), Mark(file), "expected a mapping of keys")])
        return cls(Path(file).stem, *_finish(data, source.marks, overrides))

    def get(self, path: str, default: Any = None) -> Any:
        """The value at ``a.b.c``, or ``default`` where there is none."""
        node: Any = self.data
        for part in path.split("."):
            try:
                node = node[int(part)] if isinstance(node, list) else node[part]
            except (KeyError, IndexError, TypeError, ValueError):
                return default
        return node

    def to_yaml(self) -> str:
        """The composed config as YAML; reading it again gives the same data."""
        return yaml.dump(self.data, Dumper=_Dumper, sort_keys=False, width=110, allow_unicode=True)


def _finish(data: dict[str, Any], marks: Marks, overrides: Sequence[str]) -> tuple[dict[str, Any], Marks]:
    problems: list[Problem] = []
    for text in overrides:
        try:
            _override(data, marks, text)
        except ConfigError as error:
            problems += error.problems
    resolved = _resolve(data, marks, problems)
    if problems:
        raise ConfigError(problems)
    return resolved, marks


def _with_bases(file: Path, chain: tuple[Path, ...]) -> tuple[dict[str, Any], Marks]:
    own, own_marks = read_file(file)
    data: dict[str, Any] = {}
    marks: Marks = {}
    bases = own.pop("base", [])
    resolved = file.resolve()
    for i, base in enumerate([bases] if isinstance(bases, str) else bases):
        near = own_marks.get(("base", i)) or own_marks.get(("base",))
        target = _find_base(base, file, near)
        if target.resolve() in (*chain, resolved):
            names = " -> ".join(path.name for path in (*chain, resolved, target))
            raise ConfigError([Problem(("base",), near, f"inherits from itself: {names}")])
        _merge(data, marks, *_with_bases(target, (*chain, resolved)))
    _merge(data, marks, own, {p: m for p, m in own_marks.items() if p[:1] != ("base",)})
    return data, marks


def _find_base(base: Any, file: Path, mark: Mark | None) -> Path:
    if not isinstance(base, str):
        raise ConfigError([Problem(("base",), mark, f"expected the path of a config, got {base!r}")])
    target = file.parent / base
    if target.is_file():
        return target
    try:
        return find_config(base)
    except ConfigError as error:
        hint = f"looked for {target.resolve()}; {error.problems[0].hint}"
        raise ConfigError([Problem(("base",), mark, f"no such config: {base}", hint)]) from None


def _merge(
    into: dict[str, Any],
    marks: Marks,
    new: dict[str, Any],
    new_marks: Marks,
    at: ConfigPath = (),
    source: ConfigPath = (),
) -> None:
    """Mappings merge key by key; anything else replaces.

    Two ways to replace a mapping instead: give it another ``type`` (its old arguments belong to another
    class), or write its key with ``!``. ``source`` is ``at`` with keys as written, which may end in ``!``.
    """
    for written, value in new.items():
        key = written.removesuffix("!")
        path, written_path, old = (*at, key), (*source, written), into.get(key)
        merges = isinstance(value, dict) and isinstance(old, dict) and written == key
        if not merges or value.get("type", old.get("type")) != old.get("type"):
            for stale in [p for p in marks if p[: len(path)] == path]:
                del marks[stale]
            into[key] = {} if isinstance(value, dict) else copy.deepcopy(value)
            if isinstance(value, list):
                depth = len(written_path)
                marks.update(
                    {(*path, *p[depth:]): m for p, m in new_marks.items() if p[:depth] == written_path}
                )
        if isinstance(value, dict):
            _merge(into[key], marks, value, new_marks, path, written_path)
        if mark := new_marks.get(written_path):
            marks[path] = mark


def _override(data: dict[str, Any], marks: Marks, text: str) -> None:
    key, sep, value = text.partition("=")
    mark = Mark(f"command line '{text}'")
    if not sep or not all(key.split(".")):
        raise ConfigError([Problem((), mark, "an override is written key.path=value")])
    parts: list[str | int] = [int(p) if p.isdigit() else p for p in key.split(".")]
    node: Any = data
    for i, part in enumerate(parts):
        if isinstance(node, list) and not (isinstance(part, int) and part < len(node)):
            raise ConfigError(
                [
                    Problem(
                        tuple(parts[: i + 1]), mark, f"the list has {len(node)} entries: 0..{len(node) - 1}"
                    )
                ]
            )
        if isinstance(node, dict):
            parts[i] = part = str(part)
        elif not isinstance(node, list):
            raise ConfigError([Problem(tuple(parts[:i]), mark, f"is {node!r}, which holds no '{part}'")])
        if i < len(parts) - 1:
            if isinstance(node, dict) and not isinstance(node.get(part), dict | list):
                node[part] = {}
                marks[tuple(parts[: i + 1])] = mark
            node = node[part]
    source = Source()
    path = tuple(parts)
    new = source.read(value, f"command line '{text}'", path, line=0) if value else None
    for stale in [p for p in marks if p[: len(path)] == path]:
        del marks[stale]
    node[parts[-1]] = new
    marks.update(dict.fromkeys(source.marks, mark))
    marks[path] = mark


class _Resolver:
    """Replaces ``${a.b}`` by the value at that path, collecting what points at nothing."""

    def __init__(self, data: dict[str, Any], marks: Marks, problems: list[Problem]) -> None:
        self.data, self.marks, self.problems = data, marks, problems

    def walk(self, node: Any, path: ConfigPath, seen: tuple[str, ...] = ()) -> Any:
        if isinstance(node, dict):
            return {key: self.walk(value, (*path, key), seen) for key, value in node.items()}
        if isinstance(node, list):
            return [self.walk(value, (*path, i), seen) for i, value in enumerate(node)]
        if not isinstance(node, str) or "${" not in node:
            return node
        if whole := _REFERENCE.fullmatch(node):
            return self.look(whole[1], path, seen)
        return _REFERENCE.sub(lambda match: str(self.look(match[1], path, seen)), node)

    def look(self, reference: str, path: ConfigPath, seen: tuple[str, ...]) -> Any:
        mark = self.marks.get(path)
        if reference in seen:
            chain = " -> ".join((*seen, reference))
            self.problems.append(Problem(path, mark, f"the reference goes in a circle: {chain}"))
            return None
        node: Any = self.data
        parts = reference.split(".")
        for i, part in enumerate(parts):
            try:
                node = node[int(part)] if isinstance(node, list) else node[part]
            except (KeyError, IndexError, TypeError, ValueError):
                holder = ".".join(parts[:i]) or "the top level"
                keys = [str(key) for key in node] if isinstance(node, dict) else []
                near = difflib.get_close_matches(part, keys, 1)
                hint = f"did you mean '{near[0]}'? " if near else ""
                hint += f"{holder} has: {', '.join(keys)}" if keys else f"{holder} holds no keys"
                self.problems.append(Problem(path, mark, f"${{{reference}}} points at nothing", hint))
                return None
        return self.walk(node, tuple(parts), (*seen, reference))


def _resolve(data: dict[str, Any], marks: Marks, problems: list[Problem]) -> dict[str, Any]:
    return _Resolver(data, marks, problems).walk(data, ())


class _Dumper(yaml.SafeDumper):
    """Quotes whatever our reader would take for something else than text."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.Node:
    style = "'" if scalar(value) != value or "${" in value else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


def _float(dumper: yaml.SafeDumper, value: float) -> yaml.Node:
    text = (
        ".nan" if value != value else {float("inf"): ".inf", float("-inf"): "-.inf"}.get(value, repr(value))
    )
    return dumper.represent_scalar("tag:yaml.org,2002:float", text)


_Dumper.add_representer(str, _text)
_Dumper.add_representer(float, _float)
