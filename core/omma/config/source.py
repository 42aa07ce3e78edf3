"""YAML text to plain values, and the file and line that each value came from.

The text is read to nodes and never constructed: no tag can make an object, anchors and aliases are refused,
and scalars follow the YAML 1.2 core schema (``1e-4`` is a float; ``on`` and ``no`` are text).
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from omma.errors import OmmaError

ConfigPath = tuple[str | int, ...]
"""Keys and list positions from the root of a config down to a value."""

MAX_DEPTH = 64
_INT = re.compile(r"[-+]?[0-9][0-9_]{0,400}$")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9][0-9_]*(\.[0-9]*)?)([eE][-+]?[0-9]+)?$")
_BASED = re.compile(r"0o[0-7]{1,100}$|0x[0-9a-fA-F]{1,100}$")
_WORDS: dict[str, Any] = {
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys(("null", "Null", "NULL", "~", ""), None),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf"), math.inf),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), -math.inf),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), math.nan),
}


@dataclass(frozen=True, order=True)
class Mark:
    """Where a value was written: a line of a file, or an override on the command line."""

    file: str
    line: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file


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
    """All mistakes found in a config, each with its own place."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = sorted(problems, key=lambda p: (p.mark is None, p.mark or Mark(""), str(p.path)))
        count = f"{len(problems)} problems in the config" if len(problems) > 1 else "a problem in the config"
        super().__init__(f"{count}\n\n" + "\n\n".join(map(str, self.problems)))


def dotted(path: ConfigPath) -> str:
    """``('data', 'train', 0)`` as ``data.train.0``."""
    return ".".join(map(str, path))


def scalar(text: str) -> Any:
    """The value of an unquoted YAML 1.2 scalar."""
    if text in _WORDS:
        return _WORDS[text]
    if _INT.match(text):
        return int(text)
    if _BASED.match(text):
        return int(text, 0)
    if _FLOAT.match(text):
        return float(text)
    return text


class Source:
    """Reads YAML text and remembers the mark of every path in it."""

    def __init__(self) -> None:
        self.marks: dict[ConfigPath, Mark] = {}

    def read(self, text: str, file: str, at: ConfigPath = (), line: int | None = None) -> Any:
        """The values of ``text``; ``file`` (and ``line``, if the text is no file) say where they stand.

        Raises:
            ConfigError: not YAML, or something a config must not hold.
        """
        self.file, self.line = file, line
        try:
            self._refuse_aliases(text, at)
            root = yaml.compose(text, Loader=yaml.SafeLoader)
        except yaml.MarkedYAMLError as error:
            row = error.problem_mark.line + 1 if error.problem_mark else 0
            raise ConfigError([Problem(at, Mark(file, row), f"not valid YAML: {error.problem}")]) from None
        except (yaml.YAMLError, UnicodeError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise ConfigError([Problem(at, Mark(file), f"not valid YAML: {reason}")]) from None
        except RecursionError:
            raise ConfigError([Problem(at, Mark(file), f"nested deeper than {MAX_DEPTH} levels")]) from None
        return {} if root is None else self._value(root, at)

    def _mark(self, node: yaml.Node) -> Mark:
        return Mark(self.file, node.start_mark.line + 1 if self.line is None else self.line)

    def _refuse_aliases(self, text: str, at: ConfigPath) -> None:
        depth = 0
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            mark = Mark(self.file, event.start_mark.line + 1 if self.line is None else self.line)
            if isinstance(event, yaml.AliasEvent):
                hint = "write ${path.to.value} instead"
                raise ConfigError([Problem(at, mark, "anchors and aliases are not used here", hint)])
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > MAX_DEPTH:
                raise ConfigError([Problem(at, mark, f"nested deeper than {MAX_DEPTH} levels")])

    def _value(self, node: yaml.Node, path: ConfigPath) -> Any:
        mark = self._mark(node)
        self.marks[path] = mark
        if not node.tag.startswith("tag:yaml.org,2002:") or "python" in node.tag:
            hint = "a config holds plain values only"
            raise ConfigError([Problem(path, mark, f"the tag {node.tag} is not allowed", hint)])
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self._value(item, (*path, i)) for i, item in enumerate(node.value)]
        return node.value if node.style in ("'", '"', "|", ">") else scalar(node.value)

    def _mapping(self, node: yaml.MappingNode, path: ConfigPath) -> dict[str, Any]:
        out: dict[str, Any] = {}
        for key_node, value_node in node.value:
            mark = self._mark(key_node)
            if not isinstance(key_node, yaml.ScalarNode) or not key_node.value:
                raise ConfigError([Problem(path, mark, "a key must be plain text")])
            key = key_node.value
            if key in out:
                hint = f"first at {self.marks[(*path, key)]}"
                raise ConfigError([Problem((*path, key), mark, "written twice in the same mapping", hint)])
            out[key] = self._value(value_node, (*path, key))
            self.marks[(*path, key)] = mark
        return out


def read_file(file: Path) -> tuple[dict[str, Any], dict[ConfigPath, Mark]]:
    """Values and marks of a config file.

    Raises:
        ConfigError: the file is missing, no text, not YAML, or not a mapping.
    """
    source = Source()
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ConfigError([Problem((), Mark(str(file)), "not a text file in UTF-8")]) from None
    except OSError as error:
        raise ConfigError([Problem((), Mark(str(file)), f"can't be read: {error.strerror}")]) from None
    values = source.read(text, str(file))
    if not isinstance(values, dict):
        raise ConfigError([Problem((), Mark(str(file), 1), f"expected a mapping of keys, got {values!r:.60}")])
    return values, source.marks
