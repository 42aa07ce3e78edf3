"""Entry of the ``omma`` command: finds the subcommand, runs it, prints errors the short way.

A subcommand is a module with ``arguments(parser)`` and ``run(args) -> int``. Only the module that is asked
for is imported, so ``omma --help`` imports no torch.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import warnings
from collections.abc import Sequence

from omma.errors import OmmaError

COMMANDS = {
    "train": "train a model from a config",
    "test": "evaluate weights on a config's test data",
    "predict": "run a model on images, folders or videos",
    "demo": "make data, train a small model on it and show the result",
    "data": "check, look at and generate data sets",
    "show": "print a composed config with the origin of each value",
    "diff": "compare two composed configs",
    "explain": "print what a registered name is and takes",
    "schema": "write a JSON Schema of all configs for editors",
    "env": "print versions and devices for a bug report",
}


def parser() -> argparse.ArgumentParser:
    """The top-level parser: one subcommand and the options that all of them share."""
    top = argparse.ArgumentParser(
        prog="omma",
        description="Detection, segmentation, pose and action recognition on one core.",
        epilog="commands:\n" + "\n".join(f"  {name:9} {text}" for name, text in COMMANDS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="store_true", help="print the version and exit")
    top.add_argument("command", nargs="?", choices=COMMANDS, metavar="COMMAND", help="what to do; see below")
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``omma ARGV``. Returns the exit code: 0 done, 1 failed, 2 the input is wrong, 130 interrupted."""
    argv = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in argv
    argv = [word for word in argv if word != "--debug"]
    top = parser()
    if not argv or argv[0] not in COMMANDS:
        args = top.parse_args(argv)
        if args.version:
            from omma import __version__

            print(f"omma {__version__}")
        else:
            top.print_help()
        return 0
    name, rest = argv[0], argv[1:]
    module = importlib.import_module(f"omma.cli.{name}")
    sub = argparse.ArgumentParser(
        prog=f"omma {name}", description=module.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    module.arguments(sub)
    sub.add_argument("--debug", action="store_true", help="show the traceback of an error")
    shown = warnings.formatwarning
    if not debug:
        warnings.formatwarning = lambda message, *_, **__: f"warning: {message}\n"
    try:
        code = module.run(_parse(sub, rest))
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # whoever reads our output (head, a pager) has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OmmaError as error:
        if debug:
            raise
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    finally:
        warnings.formatwarning = shown


def _parse(sub: argparse.ArgumentParser, words: Sequence[str]) -> argparse.Namespace:
    """Options may stand before, between and after overrides: ``train CONFIG --out runs/a train.epochs=3``."""
    try:
        return sub.parse_intermixed_args(words)
    except TypeError:  # argparse can't mix them for a command that has commands of its own
        return sub.parse_args(words)


if __name__ == "__main__":
    sys.exit(main())
