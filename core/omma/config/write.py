"""Plain values to YAML text that our reader reads back as the same values."""

from __future__ import annotations

import math
import re
from typing import Any

from omma.config.source import ConfigPath, scalar

WIDTH = 100
# Letters, digits and a few signs that mean nothing in YAML at these places; all else is quoted.
_PLAIN = re.compile(r"[\w/][\w./\\+() =@%^-]*(?:://?[\w./\\+() =@%^-]+)*", re.ASCII)
_SHORT = {"\n": "\\n", "\t": "\\t", "\r": "\\r", '"': '\\"', "\\": "\\\\"}


def to_yaml(data: dict[str, Any]) -> str:
    """``data`` as YAML in block style; lists of plain values stand on one line where they fit."""
    return "".join(f"{text}\n" for _, text in yaml_lines(data))


def yaml_lines(data: dict[str, Any]) -> list[tuple[ConfigPath, str]]:
    """The lines of ``to_yaml``, each with the path of the value that ends on it."""
    return _mapping(data, (), "") if data else [((), "{}")]


def in_line(value: Any) -> str:
    """A value in flow style, on one line: ``[1, 2]``, ``{type: FPN}``, ``0.5``."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_text(key)}: {in_line(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(in_line, value)) + "]"
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return _float(value)
    return _text(value) if isinstance(value, str) else str(value)


def _mapping(value: dict[str, Any], path: ConfigPath, indent: str) -> list[tuple[ConfigPath, str]]:
    lines = []
    for key, item in value.items():
        lines += _entry(item, (*path, key), f"{indent}{_text(key)}:", indent + "  ")
    return lines


def _entry(value: Any, path: ConfigPath, head: str, indent: str) -> list[tuple[ConfigPath, str]]:
    """``head`` is what stands before the value: ``key:`` or ``-``; ``indent`` that of the lines below it."""
    flat = isinstance(value, list) and not any(isinstance(item, dict | list) for item in value)
    if not value or not isinstance(value, dict | list):
        return [(path, f"{head} {in_line(value)}")]
    if flat and len(line := f"{head} {in_line(value)}") <= WIDTH:
        return [(path, line)]
    if isinstance(value, list):
        lines = []
        for i, item in enumerate(value):
            lines += _entry(item, (*path, i), f"{indent}-", indent + "  ")
    else:
        lines = _mapping(value, path, indent)
    if head.endswith("-"):
        first, text = lines[0]
        return [(first, f"{head} {text.lstrip(' ')}"), *lines[1:]]
    return [(path, head), *lines]


def _text(value: str) -> str:
    """Text as it stands if nothing in it means something to YAML, else in double quotes."""
    if _PLAIN.fullmatch(value) and not value.endswith(" ") and _reads_as_text(value):
        return value
    return (
        '"'
        + "".join(_SHORT.get(char) or (char if char.isprintable() else _escape(char)) for char in value)
        + '"'
    )


def _reads_as_text(value: str) -> bool:
    try:
        return isinstance(scalar(value), str)
    except ValueError:
        return False


def _escape(char: str) -> str:
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _float(value: float) -> str:
    if math.isnan(value):
        return ".nan"
    if math.isinf(value):
        return ".inf" if value > 0 else "-.inf"
    return repr(value)
