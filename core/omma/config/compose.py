"""Inheritance: the files of a config laid on top of each other, then overrides, then references."""

from __future__ import annotations

import copy
import difflib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omma.config.locate import find_config, list_configs
from omma.config.overrides import apply_override, forget
from omma.config.references import resolve
from omma.config.source import (
    BROKEN,
    MAX_DEPTH,
    ConfigError,
    ConfigPath,
    Mark,
    Marks,
    Problem,
    Source,
    paths_below,
    read_file,
    read_mapping,
)
from omma.config.write import to_yaml


class Config:
    """A composed config: plain ``data`` and, for each path in it, where it was written.

    Attributes:
        name: stem of the file's name.
        data: dictionaries, lists and plain values, with bases, overrides and references worked in.
        marks: path -> origin. A path without one has the origin of the value around it.
        problems: what is wrong, if it was to be kept for ``check``; otherwise empty.
    """

    def __init__(
        self, name: str, data: dict[str, Any], marks: Marks, problems: Sequence[Problem] = ()
    ) -> None:
        self.name = name
        self.data = data
        self.marks = marks
        self.problems = list(problems)

    @classmethod
    def load(cls, name: str | Path, overrides: Sequence[str] = (), *, keep_problems: bool = False) -> Config:
        """Compose the config of this name or path, with ``a.b=value`` overrides on top.

        Args:
            name: a bare name, or a path with or without ``.yaml``.
            overrides: set in this order, after the files.
            keep_problems: leave what is wrong with single values in ``problems``, so that ``check`` can
                report it together with what it finds itself.

        Raises:
            ConfigError: all that is wrong with the files, overrides and references.
        """
        file = find_config(name)
        layers = _Layers()
        layers.add(file, ())
        if layers.unreadable:
            raise ConfigError([*layers.unreadable, *layers.problems])
        config = _finish(file.stem, layers.data, layers.marks, overrides, layers.problems)
        if config.problems and not keep_problems:
            raise ConfigError(config.problems)
        return config

    @classmethod
    def from_text(cls, text: str, *, file: str, overrides: Sequence[str] = ()) -> Config:
        """A config that was composed before, e.g. the text kept in a checkpoint; ``file`` is its origin.

        Raises:
            ConfigError: as ``load``. ``base`` is refused: a stranger's text reads no file of ours.
        """
        source = Source(file)
        data = read_mapping(source, text)
        if "base" in data or "base!" in data:
            mark = source.marks.get(("base",))
            raise ConfigError(
                [Problem(("base",), mark, "a stored config is composed already and has no base")]
            )
        config = _finish(Path(file).stem, data, source.marks, overrides, source.problems)
        if config.problems:
            raise ConfigError(config.problems)
        return config

    def get(self, path: str, default: Any = None) -> Any:
        """The value at ``a.b.0.c``, or ``default`` where there is none."""
        node: Any = self.data
        for step in path.split("."):
            try:
                node = node[int(step)] if isinstance(node, list) else node[step]
            except (KeyError, IndexError, TypeError, ValueError):
                return default
        return node

    def to_yaml(self) -> str:
        """The composed config as YAML; reading it again gives the same data."""
        return to_yaml(self.data)


def _finish(
    name: str, data: dict[str, Any], marks: Marks, overrides: Sequence[str], problems: Sequence[Problem]
) -> Config:
    problems = list(problems)
    for text in overrides:
        try:
            problems += apply_override(data, marks, text)
        except ConfigError as error:
            problems += error.problems
    data, missed = resolve(data, marks)
    return Config(name, data, marks, [*problems, *missed])


class _Layers:
    """Files laid on top of each other: the bases of a file lie below it, in the order they are listed.

    Each file counts once, at its first place: where two bases share a third, neither undoes what the other
    changed in it.
    """

    def __init__(self) -> None:
        self.data: dict[str, Any] = {}
        self.marks: Marks = {}
        self.problems: list[Problem] = []
        self.unreadable: list[Problem] = []
        self.done: set[Path] = set()

    def add(self, file: Path, chain: tuple[Path, ...]) -> None:
        """Lay ``file`` on top, its bases first; ``chain`` are the files whose bases led here."""
        file = Path(os.path.normpath(file))
        real = file.resolve()
        if real in self.done:
            return
        try:
            own, source = read_file(file)
        except ConfigError as error:
            self.unreadable += error.problems
            return
        self.problems += source.problems
        bases = own.pop("base", [])
        for i, base in enumerate(bases if isinstance(bases, list) else [bases]):
            mark = source.marks.get(("base", i)) or source.marks.get(("base",))
            if target := self.find(base, file, mark):
                self.follow(target, (*chain, real), mark)
        marks = {path: mark for path, mark in source.marks.items() if path[:1] != ("base",)}
        _merge(self.data, self.marks, own, marks)
        self.done.add(real)

    def follow(self, target: Path, chain: tuple[Path, ...], mark: Mark | None) -> None:
        """Go down to a base, unless the way is a circle."""
        if target.resolve() in chain:
            names = " -> ".join(path.name for path in (*chain[chain.index(target.resolve()) :], target))
            self.unreadable.append(Problem(("base",), mark, f"inherits from itself: {names}"))
        elif len(chain) > MAX_DEPTH:
            self.unreadable.append(
                Problem(("base",), mark, f"more than {MAX_DEPTH} files inherit from one another")
            )
        else:
            self.add(target, chain)

    def find(self, base: Any, file: Path, mark: Mark | None) -> Path | None:
        """The file that ``base`` names: a path from the folder of ``file``, or a bare config name."""
        if not isinstance(base, str):
            if base is not BROKEN:
                text = f"expected the path of a config, got {base!r:.60}"
                self.unreadable.append(Problem(("base",), mark, text))
            return None
        try:
            target = file.parent / base
            if target.is_file():
                return target
        except (OSError, ValueError):
            self.unreadable.append(Problem(("base",), mark, f"no file can have the name {base!r:.60}"))
            return None
        known = list_configs()
        if base.removesuffix(".yaml") in known:
            return known[base.removesuffix(".yaml")]
        hint = f"looked for {os.path.normpath(target)}"
        siblings = [path.name for path in target.parent.glob("*.yaml")] if target.parent.is_dir() else []
        if near := difflib.get_close_matches(target.name, [*siblings, *known], 1):
            hint = f"did you mean '{near[0]}'? {hint}"
        self.unreadable.append(Problem(("base",), mark, f"no such config: {base}", hint))
        return None


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
    class), or write its key with ``!``. A mapping without a ``type`` is a fragment: a type given to it later
    takes its arguments over. ``source`` is ``at`` with keys as written, which may end in ``!``.
    """
    for written, value in new.items():
        key = written.removesuffix("!")
        path, written_path = (*at, key), (*source, written)
        if written != key or not _continues(into.get(key), value):
            if key in into:
                forget(marks, path, into[key])
            into[key] = {} if isinstance(value, dict) else copy.deepcopy(value)
            if isinstance(value, list):
                for inner in paths_below(value):
                    if mark := new_marks.get((*written_path, *inner)):
                        marks[(*path, *inner)] = mark
        if isinstance(value, dict):
            _merge(into[key], marks, value, new_marks, path, written_path)
        if mark := new_marks.get(written_path):
            marks[path] = mark


def _continues(old: Any, new: Any) -> bool:
    """Whether ``new`` goes on describing what ``old`` describes; what has no type yet may be given one."""
    if not isinstance(old, dict) or not isinstance(new, dict):
        return False
    return "type" not in old or new.get("type", old["type"]) == old["type"]
