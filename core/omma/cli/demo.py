"""Make a small data set, train a small model of the task on it, and show what came out.

Nothing is downloaded: the images are generated scenes of shapes.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from omma.errors import SetupError


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``omma demo``."""
    parser.add_argument("--task", default="detection", help="task package to show (default: detection)")
    parser.add_argument("--out", type=Path, default=Path("runs/demo"), help="folder for data and run")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="changes to the demo's config")


def run(args: argparse.Namespace) -> int:
    """Generate, train, evaluate, predict; print the paths last."""
    from omma.cli.main import main
    from omma.data.shapes import make_shapes
    from omma.task import find_task

    task = find_task(args.task)
    if (demo := task.demo) is None:
        raise SetupError(f"{task.name} has no demo")
    data, out = args.out / f"shapes-{task.name}", _next_free(args.out / task.name)
    print(f"making the shapes world in {data}")
    make_shapes(data, train=demo.train, val=demo.val, size=demo.size, clips=demo.clips)
    shown = str(data / demo.shown)
    best = out / "checkpoints" / "best"
    settings = [f"data.root={data}", *args.overrides]
    boxes = [] if demo.boxes is None else ["--boxes-file", str(data / demo.boxes)]
    commands = [["train", demo.config, *settings, "--out", str(out)]]
    if demo.baseline:
        # Behind the other training, which wants its folder empty.
        commands.append(["train", demo.baseline, *settings, "--out", str(out / "baseline")])
    for command in (
        *commands,
        ["predict", demo.config, str(best), shown, *settings, "--out", str(out / "predictions"), *boxes],
    ):
        if code := main(command):
            return code
    print(f"\nreport       {out / 'report.html'}")
    if demo.baseline:
        print(f"baseline     {out / 'baseline' / 'report.html'}")
    print(f"pictures     {out / 'predictions'}")
    print(f"checkpoint   {best}")
    return 0


def _next_free(folder: Path) -> Path:
    """``folder-1``, ``folder-2``, ...: a demo never writes into an earlier one."""
    for number in range(1, 10_000):
        candidate = folder.with_name(f"{folder.name}-{number}")
        if not candidate.exists():
            return candidate
    raise SetupError(f"{folder.parent} holds too many demo runs; remove some")
