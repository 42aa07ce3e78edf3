"""Print versions and devices, for a bug report."""

from __future__ import annotations

import argparse
import json


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``omma env``."""
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Print the same facts that a run writes into its ``environment.json``."""
    from omma.hooks.environment import environment

    facts = environment()
    if args.json:
        print(json.dumps(facts, indent=2))
        return 0
    operators = facts.pop("ops")
    for name, value in {**facts.pop("versions"), **facts}.items():
        shown = ", ".join(value) if isinstance(value, list) else value
        print(f"{name:18} {shown if shown not in (None, '') else '-'}")
    print(f"\n{'operator':24} {'kernel':12} of")
    for name, kernels in operators.items():
        print(f"{name:24} {kernels['taken']:12} {', '.join(kernels['are'])}")
    return 0
