"""Reads large JSON files record by record, so that only one record exists as Python objects at a time."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from omma.errors import DataError

_SPACE = re.compile(r"[ \t\n\r]*")
_COMMA = re.compile(r"[ \t\n\r]*,[ \t\n\r]*")

Handler = Callable[[int, Any], None]
"""Takes the number of a record in its list, and the record."""


def read_records(path: Path, handlers: Mapping[str, Handler]) -> set[str]:
    """Pass every record of the lists named in ``handlers`` to its handler, in the order of the file.

    The file is one object; ``{"images": [...], "annotations": [...]}`` calls ``handlers["images"]`` with
    (0, first image) and so on. Other keys are skipped.

    Returns:
        The keys of the object.

    Raises:
        DataError: the file can't be read, isn't UTF-8, isn't JSON, or a named key holds no list.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"{path}: can't be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text, so no JSON: byte {error.start} is wrong") from None
    try:
        return _Reader(path, text, handlers).read()
    except json.JSONDecodeError as error:
        raise DataError(f"{path}:{error.lineno}:{error.colno}: not valid JSON: {error.msg}") from None
    except ValueError as error:  # an integer of thousands of digits
        raise DataError(f"{path}: not an annotation file: {error}") from None
    except RecursionError:
        raise DataError(f"{path}: not an annotation file: its lists are nested too deeply") from None


class _Reader:
    """One pass over a text; ``at`` is the position of the next character."""

    def __init__(self, path: Path, text: str, handlers: Mapping[str, Handler]) -> None:
        self.path, self.text, self.handlers = path, text, handlers
        self.at = 0
        self.decode = json.JSONDecoder().raw_decode

    def read(self) -> set[str]:
        keys: set[str] = set()
        if self.peek() != "{":
            found = "a list" if self.peek() == "[" else f"{self.text[self.at : self.at + 20]!r}"
            raise DataError(f"{self.path}: expected an object with {', '.join(self.handlers)}, found {found}")
        self.at += 1
        more = self.peek() != "}"
        if not more:
            self.at += 1
        while more:
            key = self.value()
            if not isinstance(key, str):
                raise json.JSONDecodeError("expected a key in double quotes", self.text, self.at)
            self.expect(":")
            keys.add(key)
            self.member(key)
            more = self.expect(",}") == ","
        if self.peek():
            raise json.JSONDecodeError("extra text after the end", self.text, self.at)
        return keys

    def member(self, key: str) -> None:
        handler = self.handlers.get(key)
        if self.peek() != "[":
            value = self.value()
            if handler:
                raise DataError(f"{self.path}: expected a list in '{key}', found {type(value).__name__}")
            return
        self.at += 1
        if self.peek() == "]":
            self.at += 1
            return
        number, text, decode, comma = 0, self.text, self.decode, _COMMA.match
        while True:
            value, self.at = decode(text, self.at)
            if handler:
                handler(number, value)
            number += 1
            if (found := comma(text, self.at)) is None:
                self.expect("]")
                return
            self.at = found.end()

    def peek(self) -> str:
        """The next character that is no space; empty at the end."""
        self.at = _SPACE.match(self.text, self.at).end()  # pyright: ignore[reportOptionalMemberAccess]
        return self.text[self.at : self.at + 1]

    def value(self) -> Any:
        self.peek()
        value, self.at = self.decode(self.text, self.at)
        return value

    def expect(self, allowed: str) -> str:
        char = self.peek()
        if not char or char not in allowed:
            wanted = " or ".join(f"'{each}'" for each in allowed)
            raise json.JSONDecodeError(f"expected {wanted}", self.text, self.at)
        self.at += 1
        return char
