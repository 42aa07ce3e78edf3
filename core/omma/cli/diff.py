"""Compare two composed configs value by value, wherever in their files the values were written.

A line that begins with "a" or "b" is a value that only this config has; "~" marks a value that differs.
"""

from __future__ import annotations

import argparse
from typing import Any

from omma.config import Config, dotted, in_line


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``omma diff``."""
    parser.add_argument("a", metavar="A", help="name or path of a config")
    parser.add_argument("b", metavar="B", help="name or path of another")


def run(args: argparse.Namespace) -> int:
    """Compose both and print the differences; exit code 0 with or without any."""
    a, b = Config.load(args.a), Config.load(args.b)
    lines = differences(a.data, b.data)
    print(f"a: {a.name}\nb: {b.name}\n")
    print("\n".join(lines) if lines else "no differences")
    return 0


def differences(a: dict[str, Any], b: dict[str, Any]) -> list[str]:
    """One line per value that only one of two configs has or that differs, in the order of ``a``."""
    ours, theirs = flatten(a), flatten(b)
    lines = []
    for path in dict.fromkeys([*ours, *theirs]):
        if path not in theirs:
            lines.append(f"a  {path}: {ours[path]}")
        elif path not in ours:
            lines.append(f"b  {path}: {theirs[path]}")
        elif ours[path] != theirs[path]:
            lines.append(f"~  {path}: {ours[path]} -> {theirs[path]}")
    return lines


def flatten(value: Any, path: tuple[str | int, ...] = ()) -> dict[str, str]:
    """Dotted path -> value as text. A list of plain values is one value."""
    if isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
        items: list[tuple[str | int, Any]] = list(enumerate(value))
    elif isinstance(value, dict) and value:
        items = list(value.items())
    else:
        return {dotted(path): in_line(value)} if path else {}
    return {key: text for step, item in items for key, text in flatten(item, (*path, step)).items()}
