"""Say what a name in a config stands for: what it is, what it takes, and where it is written.

Without a name, list all that there are. The sections of a config, such as Data and Train, have no ``type``
but are explained too.
"""

from __future__ import annotations

import argparse
import inspect
from collections.abc import Callable
from typing import Any, get_args

from omma.config.signature import article, kind_of, made_by, name_of, parameters, takes_fields
from omma.registry import lookup, names, places, source_of


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``omma explain``."""
    parser.add_argument("name", nargs="?", metavar="NAME", help="a registered name, such as ResNet")


def run(args: argparse.Namespace) -> int:
    """Print one name's description, or the list of names."""
    if args.name:
        print(explain(args.name, _sections().get(args.name) or lookup(args.name)))
        return 0
    known = places()
    width = max(map(len, known))
    for name in names():
        print(f"{name:{width}}  {known[name].module if name in known else ''}".rstrip())
    return 0


def _sections() -> dict[str, Callable[..., Any]]:
    """What a config's mappings without a ``type`` stand for, from its root on."""
    from omma.experiment import Experiment

    found: dict[str, Callable[..., Any]] = {}
    waiting: list[Any] = [Experiment]
    while waiting:
        hint = waiting.pop()
        if takes_fields(hint) and hint.__name__ not in found:
            found[hint.__name__] = hint
            waiting += [param.hint for param in parameters(hint).values()]
        waiting += get_args(hint)
    return found


def explain(name: str, target: Callable[..., Any]) -> str:
    """Kind, source, signature and docstring of a class or function."""
    made = made_by(target)
    if not inspect.isclass(target):
        what = f"{name} is a function that makes {article(name_of(made))}"
    else:
        what = f"{name} is {article(kind)}" if (kind := kind_of(made)) != name else name
    lines = [what, source_of(target), "", *_signature(name, target)]
    if text := inspect.getdoc(target):
        lines += ["", text]
    if inspect.isclass(target):
        bases = [base.__name__ for base in target.__mro__[1:-1] if base.__module__.partition(".")[0] != "abc"]
        lines += ["", f"bases: {' > '.join(bases)}"] if bases else []
    return "\n".join(lines)


def _signature(name: str, target: Callable[..., Any]) -> list[str]:
    params = parameters(target)
    if not params:
        return [f"{name}()"]
    lines = [f"{name}("]
    for key, param in params.items():
        hint = f"    {key}: {name_of(param.hint)}"
        lines.append(f"{hint}," if param.required else f"{hint} = {param.default!r},")
    return [*lines, ")"]
