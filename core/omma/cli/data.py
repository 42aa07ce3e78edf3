"""Look at data before training on it, and generate data to try things with.

omma data check CONFIG [key=value ...]     counts per class, broken files, a sheet of samples
omma data browse CONFIG --out DIR          sheets of samples as the model gets them
omma data make-shapes OUT                  the shapes world: every kind of annotation, generated
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omma.errors import DataError, SetupError

if TYPE_CHECKING:
    from omma.data import Dataset

_PER_SHEET = 12


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommands of ``omma data``."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="check | browse | make-shapes")
    check = actions.add_parser("check", help="counts per class, broken files, a sheet of samples")
    check.add_argument("--all", action="store_true", help="read every image, not only a hundred")
    browse = actions.add_parser("browse", help="sheets of samples as the model gets them")
    browse.add_argument("--count", type=int, default=48, help="samples to draw (default: 48)")
    for action in (check, browse):
        action.add_argument("config", help="name of a config, or a path to a YAML file")
        action.add_argument("overrides", nargs="*", metavar="key=value", help="changes to the config")
        action.add_argument("--split", choices=("train", "val", "test"), default="train")
        action.add_argument("--out", type=Path, default=Path("runs/data"), help="folder for the sheets")
    shapes = actions.add_parser("make-shapes", help="generate the shapes world")
    shapes.add_argument("out", type=Path, help="folder to write")
    shapes.add_argument("--train", type=int, default=400, help="training images (default: 400)")
    shapes.add_argument("--val", type=int, default=100, help="validation images (default: 100)")
    shapes.add_argument("--clips", type=int, default=0, help="clips for action recognition (default: 0)")
    shapes.add_argument("--size", type=int, default=192, help="side of an image, pixels (default: 192)")
    shapes.add_argument("--seed", type=int, default=0)


def run(args: argparse.Namespace) -> int:
    """Run the subcommand. Returns 0, or 2 where ``check`` found broken images."""
    return {"check": _check, "browse": _browse, "make-shapes": _make_shapes}[args.action](args)


def _make_shapes(args: argparse.Namespace) -> int:
    from omma.data.shapes import make_shapes

    make_shapes(args.out, train=args.train, val=args.val, size=args.size, seed=args.seed, clips=args.clips)
    print(f"the shapes world is in {args.out}")
    return 0


def _check(args: argparse.Namespace) -> int:
    dataset, task = _load(args)
    print(f"{args.split}: {len(dataset)} images")
    _print_classes(dataset)
    for line in getattr(getattr(dataset, "report", None), "lines", list)():
        print(f"left out: {line}")
    indices = _spread(len(dataset), len(dataset) if args.all else 100)
    broken = [problem for i in indices if (problem := _read_problem(dataset, i))]
    print(f"{len(indices)} images read, {len(broken)} broken")
    for problem in broken[:20]:
        print(f"broken: {problem}")
    print(
        f"samples      {_sheet(dataset, task, _spread(len(dataset), _PER_SHEET), args.out / f'{args.split}.png')}"
    )
    return 2 if broken else 0


def _browse(args: argparse.Namespace) -> int:
    if args.count < 1:
        raise SetupError(f"--count must be positive, got {args.count}")
    dataset, task = _load(args)
    indices = _spread(len(dataset), args.count)
    for first in range(0, len(indices), _PER_SHEET):
        path = args.out / f"{args.split}_{first // _PER_SHEET:03d}.png"
        print(_sheet(dataset, task, indices[first : first + _PER_SHEET], path))
    return 0


def _load(args: argparse.Namespace) -> tuple[Dataset, Any]:
    from omma.config import Config, check
    from omma.experiment import Experiment
    from omma.registry import lookup
    from omma.task import find_task

    config = Config.load(args.config, args.overrides)
    plan = check(config, Experiment)
    if args.split not in plan["data"]:
        raise SetupError(f"{args.config} has no data.{args.split}")
    model: Any = lookup(str(config.get("model.type")))
    return plan["data"][args.split]["dataset"].build(), find_task(model.task)


def _print_classes(dataset: Dataset) -> None:
    from rich.console import Console
    from rich.table import Table

    counts = dataset.class_counts()
    table = Table("class", "objects", "images with it")
    for label, name in enumerate(dataset.info.classes):
        table.add_row(name, str(counts[:, label].sum()), str((counts[:, label] > 0).sum()))
    table.add_row("without any object", "", str((counts.sum(axis=1) == 0).sum()))
    Console().print(table)
    unseen = [name for label, name in enumerate(dataset.info.classes) if not counts[:, label].any()]
    if unseen:
        print(f"warning: no objects of: {', '.join(unseen)}")


def _read_problem(dataset: Dataset, index: int) -> str | None:
    try:
        dataset[index]
    except DataError as error:
        return str(error)
    return None


def _spread(length: int, count: int) -> list[int]:
    """At most ``count`` positions, evenly over the data set."""
    count = min(length, count)
    return [i * length // count for i in range(count)]


def _sheet(dataset: Dataset, task: Any, indices: list[int], path: Path) -> Path:
    from omma.visualization import contact_sheet, write_rgb

    pictures = []
    for index in indices:
        try:
            pictures.append(task.draw_sample(dataset[index], dataset.info))
        except DataError:
            continue
    if not pictures:
        raise DataError("none of the samples can be drawn: no image can be read")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SetupError(
            f"{path.parent}: can't be written: {error.strerror}; name another folder with --out"
        ) from None
    write_rgb(path, contact_sheet(pictures, columns=4, width=1280))
    return path
