"""A composed config against the signatures of the classes it names; nothing is built here."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin

from omma.config.compose import Config
from omma.config.plan import Part, Plan
from omma.config.signature import (
    MAPPINGS,
    PLAIN,
    SEQUENCES,
    SignatureUnknown,
    article,
    is_made,
    is_union,
    kind_of,
    made_by,
    name_of,
    parameters,
    slot_classes,
    takes_fields,
)
from omma.config.source import BROKEN, ConfigError, ConfigPath, Problem, mark_of, scalar
from omma.registry import RegistryError, lookup, source_of


def check(config: Config, root: Callable[..., Any]) -> Plan:
    """The plan to build ``root`` from ``config``, after every value was checked.

    Annotations are understood as a config's author would expect: an int may stand for a float, a list for a
    tuple, a mapping with ``type`` for an object of the annotated class, a mapping without it for a dataclass.

    Raises:
        ConfigError: all unknown names, wrong types and missing arguments at once, with what ``config`` kept.
    """
    checker = _Checker(config)
    part = checker.call(root, config.data, ())
    if problems := [*config.problems, *checker.problems]:
        raise ConfigError(problems)
    return Plan(part, config)


class _Checker:
    """Walks a config along annotations and collects the problems."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.problems: list[Problem] = []

    def wrong(self, path: ConfigPath, text: str, hint: str = "") -> None:
        self.problems.append(Problem(path, mark_of(self.config.marks, path), text, hint))

    def refuse(self, expected: str, value: Any, path: ConfigPath, hint: str = "") -> Any:
        """``value`` isn't what was expected."""
        shown = "a mapping" if isinstance(value, dict) else "null" if value is None else f"{value!r:.80}"
        self.wrong(path, f"expected {expected}, got {shown}", hint)
        return value

    def call(self, target: Callable[..., Any], given: dict[str, Any], path: ConfigPath) -> Any:
        """``given`` as the arguments of ``target``."""
        name = name_of(target)
        try:
            params = parameters(target)
        except SignatureUnknown as error:
            self.wrong(path, str(error), source_of(target))
            return given
        arguments: dict[str, Any] = {}
        guessed: set[str] = set()
        for key, value in given.items():
            if key in params:
                arguments[key] = self.fit(params[key].hint, value, (*path, key))
            elif key != "type":
                near = difflib.get_close_matches(key, params, 1)
                guessed.update(near)
                hint = f"did you mean '{near[0]}'? " if near else ""
                hint += _deeper(key, given)
                hint += f"It takes: {', '.join(params) or 'nothing'}  ({source_of(target)})"
                self.wrong((*path, key), f"{name} has no argument '{key}'", hint)
        missing = [key for key, param in params.items() if param.required and key not in {*given, *guessed}]
        if missing:
            self.wrong(path, f"{name} also needs {', '.join(map(repr, missing))}", source_of(target))
        return Part(target, arguments, path)

    def fit(self, hint: Any, value: Any, path: ConfigPath) -> Any:
        """``value`` as the annotation ``hint`` wants it; a problem is noted where it can't be."""
        origin, args = get_origin(hint), get_args(hint)
        if value is BROKEN:
            return value
        if hint in (Any, object) or isinstance(hint, TypeVar):
            return self.anything(value, path)
        if is_union(hint):
            return self.union(hint, value, path)
        if origin is Literal:
            return self.choice(args, value, path)
        if (origin or hint) in SEQUENCES:
            return self.sequence(origin or hint, args, value, path)
        if (origin or hint) in MAPPINGS:
            return self.mapping(args, value, path)
        return self.single(origin or hint, value, path)

    def anything(self, value: Any, path: ConfigPath) -> Any:
        """No annotation to hold it against, but the parts in it are parts all the same."""
        if isinstance(value, list):
            return [self.fit(Any, item, (*path, i)) for i, item in enumerate(value)]
        if isinstance(value, dict):
            if isinstance(value.get("type"), str):
                return self.part(value, (), path)
            return {key: self.fit(Any, item, (*path, key)) for key, item in value.items()}
        return value

    def single(self, hint: Any, value: Any, path: ConfigPath) -> Any:
        """One class: a plain type, a dataclass, or the base of the parts that may stand here."""
        if hint is type(None):
            return value if value is None else self.refuse("null", value, path)
        if hint in PLAIN:
            return self.plain(hint, value, path)
        if hint is Path:
            return Path(value) if isinstance(value, str) else self.refuse("a path", value, path)
        if isinstance(value, dict) and takes_fields(hint) and "type" not in value:
            return self.call(hint, value, path)
        if not isinstance(value, dict):
            fields = "its arguments" if takes_fields(hint) else "'type'"
            return self.refuse(f"{article(name_of(hint))} (a mapping with {fields})", value, path)
        return self.part(value, (hint,), path)

    def plain(self, hint: type, value: Any, path: ConfigPath) -> Any:
        if hint is float and type(value) is int:
            try:
                return float(value)
            except OverflowError:
                return self.refuse("float", value, path)
        if type(value) is hint:
            return value
        quoted = hint is str and isinstance(value, int | float)
        return self.refuse(name_of(hint), value, path, "put it into quotes to make it text" if quoted else "")

    def part(self, value: dict[str, Any], wanted: tuple[type, ...], path: ConfigPath) -> Any:
        """A mapping with ``type``: looked up, checked against the slot, then its arguments."""
        expected = " or ".join(article(base.__name__) for base in wanted) or "a part"
        name, at = value.get("type"), (*path, "type")
        if name is BROKEN:
            return value
        if not isinstance(name, str):
            if "type" in value:
                return self.refuse(f"the name of {expected}", name, at)
            self.wrong(path, f"expected {expected}, got a mapping without 'type'", "add 'type: NAME'")
            return value
        try:
            target = lookup(name)
            made = made_by(target)
        except RegistryError as error:
            self.wrong(at, error.text, error.hint)
            return value
        except ImportError as error:
            self.wrong(
                at, f"the module of '{name}' can't be imported: {error}", "is everything it needs installed?"
            )
            return value
        except SignatureUnknown as error:
            self.wrong(at, str(error))
            return value
        if wanted and not any(is_made(made, base) for base in wanted):
            text = f"expected {expected}, but {name} is {article(kind_of(made))}"
            self.wrong(at, text, source_of(target))
            return value
        return self.call(target, value, path)

    def union(self, hint: Any, value: Any, path: ConfigPath) -> Any:
        """The option that ``value`` is meant for; where only one can be meant, its problems are told."""
        options = get_args(hint)
        if value is None and type(None) in options:
            return None
        if type(value) in options:
            return value
        if isinstance(value, dict) and "type" in value and (wanted := slot_classes(hint)):
            return self.part(value, wanted, path)
        real = [option for option in options if option is not type(None)]
        meant = real if len(real) == 1 else [option for option in real if _may_mean(option, value)]
        if len(meant) == 1:
            return self.fit(meant[0], value, path)
        before = self.problems
        for option in meant:
            self.problems = []
            fitted = self.fit(option, value, path)
            if not self.problems:
                self.problems = before
                return fitted
        self.problems = before
        return self.refuse(" or ".join(map(name_of, options)), value, path)

    def choice(self, args: tuple[Any, ...], value: Any, path: ConfigPath) -> Any:
        if any(value == arg and type(value) is type(arg) for arg in args):
            return value
        near = difflib.get_close_matches(str(value), [str(arg) for arg in args], 1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        return self.refuse(f"one of {', '.join(map(repr, args))}{hint}", value, path)

    def sequence(self, origin: Any, args: tuple[Any, ...], value: Any, path: ConfigPath) -> Any:
        if not isinstance(value, list):
            return self.refuse("a list", value, path)
        fixed = origin is tuple and args and args[-1] is not Ellipsis
        if fixed and len(args) != len(value):
            return self.refuse(f"{len(args)} values", value, path)
        hints = args if fixed else [args[0] if args else Any] * len(value)
        items = [self.fit(hint, item, (*path, i)) for i, (hint, item) in enumerate(zip(hints, value))]
        return tuple(items) if origin is tuple else items

    def mapping(self, args: tuple[Any, ...], value: Any, path: ConfigPath) -> Any:
        if not isinstance(value, dict):
            return self.refuse("a mapping", value, path)
        of_key, of_item = args or (str, Any)
        out: dict[Any, Any] = {}
        for key, item in value.items():
            # All keys of a config are text; only where the annotation asks for more is more read into them.
            name = (
                key
                if of_key is str
                else self.fit(of_key, scalar(key) if of_key is int else key, (*path, key))
            )
            out[name] = self.fit(of_item, item, (*path, key))
        return out


def _deeper(key: str, given: dict[str, Any]) -> str:
    """Where ``key`` belongs, if one of the parts among the arguments takes it: a wrapper's own part."""
    for name, value in given.items():
        kind = value.get("type") if isinstance(value, dict) else None
        try:
            takes = isinstance(kind, str) and key in parameters(lookup(kind))
        except (RegistryError, SignatureUnknown):
            continue
        if takes:
            return f"'{name}', the {kind} inside, takes it: write {name}: {{{key}: ...}}. "
    return ""


def _may_mean(option: Any, value: Any) -> bool:
    """Whether the author of ``value`` may have had ``option`` in mind, judged by its outer form."""
    base = get_origin(option) or option
    if isinstance(value, list):
        return base in SEQUENCES or option is Any
    if isinstance(value, dict):
        return base in MAPPINGS or option is Any or bool(slot_classes(option))
    return base in (*PLAIN, Literal, Path, Any)
