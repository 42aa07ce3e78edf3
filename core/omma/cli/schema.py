"""Write a JSON Schema of all configs, for completion and checks in an editor.

An editor with a YAML language server takes it from a first line in the config:

    # yaml-language-server: $schema=omma.schema.json
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from omma.errors import SetupError


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``omma schema``."""
    parser.add_argument("--out", type=Path, metavar="FILE", help="file to write; printed if not given")


def run(args: argparse.Namespace) -> int:
    """Make the schema of everything that is registered."""
    from omma.config.schema import json_schema
    from omma.experiment import Experiment

    text = json.dumps(json_schema(Experiment), indent=1)
    if args.out is None:
        print(text)
        return 0
    try:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise SetupError(f"{args.out} can't be written: {error.strerror}") from error
    print(args.out)
    return 0
