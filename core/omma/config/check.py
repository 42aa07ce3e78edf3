"""A composed config against the signatures of the classes it names; nothing is built here."""

from __future__ import annotations

import dataclasses
import difflib
import inspect
import types
import typing
from collections.abc import Callable
from typing import Any, Literal, Union, get_args, get_origin

from omma.config.compose import Config
from omma.config.plan import Part, Plan
from omma.config.source import ConfigError, ConfigPath, Problem
from omma.registry import RegistryError, lookup, source_of

Value = Any
_PLAIN = (bool, int, float, str)


def check(config: Config, root: Callable[..., Any]) -> Plan:
    """The plan to build ``root`` from ``config``, after every value was checked.

    Raises:
        ConfigError: all unknown names, wrong types and missing arguments at once.
    """
    checker = _Checker(config)
    part = checker.call(root, config.data, ())
    if checker.problems:
        raise ConfigError(checker.problems)
    return Plan(part, config)


class _Checker:
    """Walks a config along annotations and collects the problems."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.problems: list[Problem] = []

    def wrong(self, path: ConfigPath, text: str, hint: str = "") -> None:
        marks = self.config.marks
        mark = next((marks[path[:n]] for n in range(len(path), -1, -1) if path[:n] in marks), None)
        self.problems.append(Problem(path, mark, text, hint))

    def call(self, target: Callable[..., Any], given: dict[str, Any], path: ConfigPath) -> Part:
        """``given`` as the arguments of ``target``."""
        signature = inspect.signature(target)
        hints = typing.get_type_hints(target.__init__ if inspect.isclass(target) else target)
        kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
        params = {name: p for name, p in signature.parameters.items() if p.kind not in kinds}
        arguments: dict[str, Any] = {}
        for key, value in given.items():
            if key == "type":
                continue
            if key not in params:
                near = difflib.get_close_matches(key, params, 1)
                hint = f"did you mean '{near[0]}'? " if near else ""
                hint += f"It takes: {', '.join(params) or 'nothing'}  ({source_of(target)})"
                self.wrong((*path, key), f"{target.__name__} has no argument '{key}'", hint)
                continue
            arguments[key] = self.fit(hints.get(key, Any), value, (*path, key))
        missing = [name for name, p in params.items() if p.default is p.empty and name not in given]
        if missing:
            self.wrong(
                path, f"{target.__name__} also needs {', '.join(map(repr, missing))}", source_of(target)
            )
        return Part(target, arguments, path)

    def fit(self, hint: Any, value: Value, path: ConfigPath) -> Any:
        """``value`` as the annotation ``hint`` wants it; a problem is noted where it can't be."""
        origin, args = get_origin(hint), get_args(hint)
        if hint is Any or isinstance(hint, typing.TypeVar):
            return self.part(value, (), path) if _names_part(value) else value
        if origin in (Union, types.UnionType):
            return self.union(args, value, path)
        if origin is Literal:
            return self.choice(args, value, path)
        if origin in (list, tuple):
            return self.sequence(origin, args, value, path)
        if origin is dict:
            if not isinstance(value, dict):
                return self.refuse("a mapping", value, path)
            return {key: self.fit(args[1], item, (*path, key)) for key, item in value.items()}
        return self.single(origin or hint, value, path)

    def refuse(self, expected: str, value: Value, path: ConfigPath) -> Value:
        shown = "a mapping" if isinstance(value, dict) else f"{value!r:.80}"
        self.wrong(path, f"expected {expected}, got {shown}")
        return value

    def single(self, hint: Any, value: Value, path: ConfigPath) -> Any:
        """One class: a plain type, a dataclass, or the base of the parts that may stand here."""
        if hint is type(None):
            return value if value is None else self.refuse("null", value, path)
        if hint is float and type(value) is int:
            return float(value)
        if hint in _PLAIN:
            return value if type(value) is hint else self.refuse(_name(hint), value, path)
        if _names_part(value):
            return self.part(value, (hint,), path)
        if isinstance(value, dict) and dataclasses.is_dataclass(hint) and not inspect.isabstract(hint):
            return self.call(hint, value, path)
        return self.refuse(f"{_article(_name(hint))} (a mapping with 'type')", value, path)

    def part(self, value: dict[str, Any], wanted: tuple[Any, ...], path: ConfigPath) -> Any:
        """A mapping with ``type``: looked up, checked against the slot, then its arguments."""
        try:
            target = lookup(value["type"])
        except RegistryError as error:
            text, _, hint = str(error).partition("; ")
            self.wrong((*path, "type"), text, hint)
            return value
        made = target if inspect.isclass(target) else typing.get_type_hints(target).get("return", object)
        if wanted and not any(_is_a(made, base) for base in wanted):
            expected = " or ".join(_article(_name(base)) for base in wanted)
            bases = [base for base in made.__mro__[1:] if base.__module__.startswith("omma")]
            kind = _article(bases[0].__name__) if bases else _article(made.__name__)
            self.wrong(
                (*path, "type"), f"expected {expected}, but {value['type']} is {kind}", source_of(target)
            )
            return value
        return self.call(target, value, path)

    def union(self, args: tuple[Any, ...], value: Value, path: ConfigPath) -> Any:
        if value is None and type(None) in args:
            return None
        options = [arg for arg in args if arg is not type(None)]
        if len(options) == 1:
            return self.fit(options[0], value, path)
        if _names_part(value):
            return self.part(value, tuple(arg for arg in options if inspect.isclass(arg)), path)
        before = self.problems
        for option in options:
            self.problems = []
            fitted = self.fit(option, value, path)
            if not self.problems:
                self.problems = before
                return fitted
        self.problems = before
        return self.refuse(
            " or ".join("null" if arg is type(None) else _name(arg) for arg in args), value, path
        )

    def choice(self, args: tuple[Any, ...], value: Value, path: ConfigPath) -> Any:
        if any(value == arg and type(value) is type(arg) for arg in args):
            return value
        near = difflib.get_close_matches(str(value), [str(arg) for arg in args], 1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        return self.refuse(f"one of {', '.join(map(repr, args))}{hint}", value, path)

    def sequence(self, origin: Any, args: tuple[Any, ...], value: Value, path: ConfigPath) -> Any:
        if not isinstance(value, list):
            return self.refuse("a list", value, path)
        fixed = origin is tuple and (not args or args[-1] is not Ellipsis)
        if fixed and len(args) != len(value):
            return self.refuse(f"{len(args)} values", value, path)
        hints = args if fixed else [args[0]] * len(value)
        return origin(self.fit(hint, item, (*path, i)) for i, (hint, item) in enumerate(zip(hints, value)))


def _names_part(value: Value) -> bool:
    return isinstance(value, dict) and isinstance(value.get("type"), str)


def _is_a(made: Any, base: Any) -> bool:
    base = get_origin(base) or base
    return not inspect.isclass(base) or (inspect.isclass(made) and issubclass(made, base))


def _name(hint: Any) -> str:
    return getattr(hint, "__name__", str(hint)) if get_origin(hint) is None else str(hint)


def _article(name: str) -> str:
    return f"an {name}" if name[0] in "AEIOU" else f"a {name}"
