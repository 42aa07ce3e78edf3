"""What a class or function takes and makes: its parameters with resolved annotations."""

from __future__ import annotations

import dataclasses
import inspect
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Union, get_args, get_origin

PLAIN = (bool, int, float, str)
SEQUENCES = (list, tuple, Sequence, Iterable)
MAPPINGS = (dict, Mapping)


class SignatureUnknown(Exception):
    """A class or function whose signature or annotations can't be read: a mistake in its code."""


@dataclass(frozen=True)
class Parameter:
    """One argument that a config may give."""

    hint: Any
    default: Any
    required: bool


def parameters(target: Callable[..., Any]) -> dict[str, Parameter]:
    """The named arguments of ``target``, in order.

    Raises:
        SignatureUnknown: they can't be read.
    """
    by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    try:
        found = inspect.signature(target).parameters
        hints = _hints(target)
    except (ValueError, TypeError, NameError, AttributeError) as error:
        raise SignatureUnknown(f"the signature of {name_of(target)} can't be read: {error}") from error
    return {
        name: Parameter(hints.get(name, Any), param.default, param.default is param.empty)
        for name, param in found.items()
        if param.kind in by_name
    }


def made_by(target: Callable[..., Any]) -> Any:
    """The class that calling ``target`` gives: itself, or the return annotation of a function.

    Raises:
        SignatureUnknown: the annotation names something unknown.
    """
    if inspect.isclass(target):
        return target
    try:
        made = typing.get_type_hints(target).get("return", object)
    except (NameError, AttributeError, TypeError) as error:
        raise SignatureUnknown(f"the annotations of {name_of(target)} can't be read: {error}") from error
    return get_origin(made) or made


def takes_fields(hint: Any) -> bool:
    """Whether ``hint`` is a dataclass that a mapping without ``type`` stands for."""
    return inspect.isclass(hint) and dataclasses.is_dataclass(hint) and not inspect.isabstract(hint)


def is_union(hint: Any) -> bool:
    """``A | B``, ``Union[A, B]`` or ``Optional[A]``."""
    return get_origin(hint) in (Union, types.UnionType)


def slot_classes(hint: Any) -> tuple[type, ...]:
    """The classes of parts that may stand where ``hint`` (or a union) is annotated; plain types are none."""
    options = get_args(hint) if is_union(hint) else (hint,)
    classes = [get_origin(option) or option for option in options]
    no_part = (*PLAIN, *SEQUENCES, *MAPPINGS, type(None))
    return tuple(each for each in classes if inspect.isclass(each) and each not in no_part)


def is_made(made: Any, base: type) -> bool:
    """Whether an object of class ``made`` may stand in a slot of class ``base``."""
    if not inspect.isclass(made):
        return False
    try:
        return base is object or issubclass(made, base)
    except TypeError:  # a Protocol that isn't checkable at run time: only declared subclasses count
        return base in made.__mro__


def kind_of(made: Any) -> str:
    """What a class is, in a word that a config's author knows: its nearest base (``Neck``), or itself."""
    if not inspect.isclass(made):
        return name_of(made)
    outside = ("builtins", "abc", "typing", "torch")
    bases = [base for base in made.__mro__[1:] if base.__module__.split(".")[0] not in outside]
    return (bases[0] if bases else made).__name__


def name_of(hint: Any) -> str:
    """A class or annotation as its author wrote it, without modules."""
    if hint is type(None):
        return "null"
    if is_union(hint):
        return " | ".join(map(name_of, get_args(hint)))
    if hint is Ellipsis:
        return "..."
    origin, args = get_origin(hint), get_args(hint)
    if origin is typing.Literal:
        return "one of " + ", ".join(map(repr, args))
    if origin is not None and args:
        return f"{name_of(origin)}[{', '.join(map(name_of, args))}]"
    return getattr(hint, "__name__", str(hint))


def article(name: str) -> str:
    """``name`` with its indefinite article."""
    # FPN is said letter by letter: an eff-pee-en.
    vowels = set("AEIOUaeiou" if name[1:2].islower() else "AEFHILMNORSX")
    return f"{'an' if name[:1] in vowels else 'a'} {name}"


def _hints(target: Callable[..., Any]) -> dict[str, Any]:
    if inspect.isclass(target):
        # A dataclass's __init__ has the fields' annotations but not the modules they were written in.
        return typing.get_type_hints(target if dataclasses.is_dataclass(target) else target.__init__)
    return typing.get_type_hints(target)
