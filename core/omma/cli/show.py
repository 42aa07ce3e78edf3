"""Print a composed config with the file and line that each value comes from.

What is printed is itself a config: bases, overrides and references are worked in. With --check it is also
held against the signatures of the classes it names, as every command does before it builds anything.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from omma.config import Config, Mark, check, config_root, mark_of, yaml_lines

_COLUMN = 64


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``omma show``."""
    parser.add_argument("config", metavar="CONFIG", help="name or path of a config")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="values to set on top of the files")
    parser.add_argument("--check", action="store_true", help="check every value too (imports torch)")
    parser.add_argument("--plain", action="store_true", help="leave the origins out")


def run(args: argparse.Namespace) -> int:
    """Compose, check if asked to, and print."""
    config = Config.load(args.config, args.overrides, keep_problems=args.check)
    if args.check:
        from omma.experiment import Experiment

        check(config, Experiment)
    print(config.to_yaml() if args.plain else with_origins(config), end="")
    return 0


def with_origins(config: Config) -> str:
    """The config as YAML, each value followed by ``# file:line``, aligned."""
    lines = yaml_lines(config.data)
    # One very long value must not push the origins of all the others off the screen.
    column = min(_COLUMN, max(len(text) for _, text in lines))
    out = []
    for path, text in lines:
        mark = None if text.endswith(":") else mark_of(config.marks, path)
        out.append(f"{text:{column}}  # {_origin(mark)}" if mark else text)
    return "\n".join(out) + "\n"


def _origin(mark: Mark) -> str:
    if not mark.line:
        return mark.file.partition(" '")[0]
    file = Path(mark.file).absolute()
    root = config_root()
    if file.is_relative_to(root):
        return f"{file.relative_to(root)}:{mark.line}"
    return str(mark)
