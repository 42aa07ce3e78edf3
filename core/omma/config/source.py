"""YAML text to plain values, and the file and line that each value came from.

The text is read event by event and never constructed: tags and aliases are refused (so nothing runs and
nothing expands), and scalars follow the YAML 1.2 core schema (``1e-4`` is a float; ``on`` and ``no`` are
text), with underscores allowed between the digits of an integer (``368_750``).
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import yaml

from omma.errors import OmmaError

ConfigPath = tuple[str | int, ...]
"""Keys and list positions from the root of a config down to a value."""

MAX_DEPTH = 64
MAX_BYTES = 2**20
_MAX_DIGITS = 400
_TOO_LARGE = f"larger than {MAX_BYTES >> 20} MiB; is it a config?"
_INT = re.compile(r"[-+]?[0-9]+(_[0-9]+)*")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_BASED = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_WORDS: dict[str, Any] = {
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys(("null", "Null", "NULL", "~", ""), None),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), math.inf),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), -math.inf),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), math.nan),
}


class Broken(Enum):
    """Stands for a value whose problem is on record, so that no second one is reported for it."""

    VALUE = "broken"


BROKEN = Broken.VALUE


@dataclass(frozen=True, order=True)
class Mark:
    """Where a value was written: a line of a file, or an override on the command line."""

    file: str
    line: int = 0

    def __str__(self) -> str:
        file = _from_here(self.file) if os.path.isabs(self.file) else self.file
        return f"{file}:{self.line}" if self.line else file


Marks = dict[ConfigPath, Mark]


@dataclass(frozen=True)
class Problem:
    """One mistake: which value, where it was written, what is wrong, and what may help."""

    path: ConfigPath
    mark: Mark | None
    text: str
    hint: str = ""

    def __str__(self) -> str:
        where = f"{self.mark}: " if self.mark else ""
        tail = f"\n    {self.hint}" if self.hint else ""
        return f"{where}{dotted(self.path) or 'the top level'}: {self.text}{tail}"


class ConfigError(OmmaError):
    """All mistakes found in a config, each with its own place, in the order of files and lines."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        unique = list(dict.fromkeys(problems))
        self.problems = sorted(unique, key=lambda p: (p.mark is None, p.mark or Mark("")))
        count = f"{len(unique)} problems in the config" if len(unique) > 1 else "a problem in the config"
        super().__init__(f"{count}\n\n" + "\n\n".join(map(str, self.problems)))


def dotted(path: ConfigPath) -> str:
    """``('data', 'train', 0)`` as ``data.train.0``."""
    return ".".join(map(str, path))


def mark_of(marks: Marks, path: ConfigPath) -> Mark | None:
    """The mark of ``path``, or of the nearest value around it that has one."""
    return next((marks[path[:n]] for n in range(len(path), -1, -1) if path[:n] in marks), None)


def paths_below(value: Any) -> Iterator[ConfigPath]:
    """The paths of all that ``value`` holds, as seen from it."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, item in inside:
        yield (step,)
        yield from ((step, *path) for path in paths_below(item))


def scalar(text: str) -> Any:
    """The value of an unquoted YAML 1.2 scalar.

    Raises:
        ValueError: a number beyond all reason.
    """
    if text in _WORDS:
        return _WORDS[text]
    is_int, is_based = _INT.fullmatch(text), _BASED.fullmatch(text)
    if (is_int or is_based) and len(text) > _MAX_DIGITS:
        raise ValueError(f"a number of {len(text)} digits is too large")
    if is_int:
        return int(text)
    if is_based:
        return int(text, 0)
    if _FLOAT.fullmatch(text):
        if math.isinf(value := float(text)):
            raise ValueError(f"{text:.40} is too large for a number; infinity is written .inf")
        return value
    return text


class Source:
    """Reads one YAML text and remembers the mark of every path in it.

    ``file`` says where the text stands: a file name, or the words of an override (``is_file`` false).
    What is wrong with single values is added to ``problems``; the value is then ``BROKEN``.
    """

    def __init__(self, file: str, *, is_file: bool = True) -> None:
        self.file, self.is_file = file, is_file
        self.marks: Marks = {}
        self.problems: list[Problem] = []

    def read(self, text: str, at: ConfigPath = ()) -> Any:
        """The values of ``text``, which stand at the path ``at``; an empty text is null.

        Raises:
            ConfigError: this is no YAML at all, or far too much of it.
        """
        if len(text) > MAX_BYTES:
            raise ConfigError([Problem(at, Mark(self.file), _TOO_LARGE)])
        events = yaml.parse(text, Loader=yaml.SafeLoader)
        try:
            return self._document(events, at)
        except yaml.MarkedYAMLError as error:
            mark = self._mark(error.problem_mark) if error.problem_mark else Mark(self.file)
            problem = Problem(at, mark, f"not valid YAML: {error.problem}")
        except (yaml.YAMLError, ValueError, OverflowError) as error:
            reason = (str(error).splitlines() or ["unreadable text"])[0]
            problem = Problem(at, Mark(self.file), f"not valid YAML: {reason}")
        raise ConfigError([*self.problems, problem])

    def _document(self, events: Iterator[yaml.Event], at: ConfigPath) -> Any:
        next(events)  # StreamStart
        if isinstance(next(events), yaml.StreamEndEvent):
            return None
        value = self._value(next(events), events, at, at)
        next(events)  # DocumentEnd
        after = next(events)
        if not isinstance(after, yaml.StreamEndEvent):
            self._problem(
                at, after, "a second document begins here", "a config is one document; remove '---'"
            )
        return value

    def _mark(self, position: yaml.Mark) -> Mark:
        return Mark(self.file, position.line + 1 if self.is_file else 0)

    def _problem(self, path: ConfigPath, event: yaml.Event, text: str, hint: str = "") -> Broken:
        self.problems.append(Problem(path, self._mark(event.start_mark), text, hint))
        return BROKEN

    def _value(
        self, event: yaml.Event, events: Iterator[yaml.Event], path: ConfigPath, at: ConfigPath
    ) -> Any:
        mark = self._mark(event.start_mark)
        self.marks[path] = mark
        if len(path) - len(at) > MAX_DEPTH:
            raise ConfigError([*self.problems, Problem(path, mark, f"nested deeper than {MAX_DEPTH} levels")])
        if isinstance(event, yaml.AliasEvent):
            return self._problem(
                path, event, "anchors and aliases are not used here", "write ${path.to.value}"
            )
        if isinstance(event, yaml.MappingStartEvent):
            value: Any = self._mapping(events, path, at)
        elif isinstance(event, yaml.SequenceStartEvent):
            value = []
            while not isinstance(item := next(events), yaml.SequenceEndEvent):
                value.append(self._value(item, events, (*path, len(value)), at))
        else:
            value = self._scalar(event, path)
        tag = getattr(event, "tag", None)
        if tag is not None:
            return self._problem(
                path, event, f"the tag {tag} is not allowed", "a config holds plain values only"
            )
        return value

    def _scalar(self, event: yaml.Event, path: ConfigPath) -> Any:
        assert isinstance(event, yaml.ScalarEvent)
        if any("\ud800" <= char <= "\udfff" for char in event.value):
            return self._problem(path, event, "half of a character (a lone surrogate) is no text")
        if event.style is not None:
            return event.value
        try:
            return scalar(event.value)
        except ValueError as error:
            return self._problem(path, event, str(error))

    def _mapping(self, events: Iterator[yaml.Event], path: ConfigPath, at: ConfigPath) -> dict[str, Any]:
        out: dict[str, Any] = {}
        first: dict[str, Mark] = {}
        while not isinstance(event := next(events), yaml.MappingEndEvent):
            mark = self._mark(event.start_mark)
            if not isinstance(event, yaml.ScalarEvent) or not event.value or event.tag is not None:
                self._problem(path, event, "a key must be plain text")
                self._value(event, events, (*path, "?"), at)
                self._value(next(events), events, (*path, "?"), at)
                continue
            key, bare = event.value, event.value.removesuffix("!")
            if bare in first:
                hint = f"first at {first[bare]}"
                self._problem((*path, bare), event, "written twice in the same mapping", hint)
            value = self._value(next(events), events, (*path, key), at)
            if bare not in first:
                out[key], first[bare] = value, mark
                self.marks[(*path, key)] = mark
        return out


def read_file(file: Path) -> tuple[dict[str, Any], Source]:
    """The values of a config file, and what is known of their places and problems.

    Raises:
        ConfigError: the file is missing, no text, not YAML, or not a mapping.
    """
    source = Source(str(file))
    try:
        if file.stat().st_size > MAX_BYTES:
            raise ConfigError([Problem((), Mark(str(file)), _TOO_LARGE)])
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ConfigError([Problem((), Mark(str(file)), "not a text file in UTF-8")]) from None
    except OSError as error:
        raise ConfigError([Problem((), Mark(str(file)), f"can't be read: {error.strerror}")]) from None
    return read_mapping(source, text), source


def read_mapping(source: Source, text: str) -> dict[str, Any]:
    """The values of a whole config; an empty text is an empty mapping.

    Raises:
        ConfigError: ``text`` is not YAML, or not a mapping.
    """
    values = source.read(text)
    if values is None:
        return {}
    if not isinstance(values, dict):
        shown = "a list" if isinstance(values, list) else f"{values!r:.60}"
        problem = Problem((), source.marks[()], f"expected a mapping of keys, got {shown}")
        raise ConfigError([*source.problems, *(() if values is BROKEN else (problem,))])
    return values


def _from_here(file: str) -> str:
    try:
        here = os.path.relpath(file)
    except (OSError, ValueError):
        return file
    return file if here.startswith(os.path.pardir) else here
