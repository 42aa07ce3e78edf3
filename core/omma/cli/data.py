"""Check, look at and generate data sets.

omma data check CONFIG             counts, what was dropped, unreadable images, a sheet of samples
omma data browse CONFIG --out DIR  sheets of samples as the model gets them, transforms included
omma data make-shapes OUT          a generated data set, for trying things out
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omma.errors import DataError, SetupError

if TYPE_CHECKING:
    import numpy as np

    from omma.data import Dataset
    from omma.task import Task

_COLUMNS, _WIDTH = 4, 1600
_PER_SHEET = 16
_SHOWN = 20


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``omma data``."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    check = actions.add_parser("check", help="count what a config's data set holds and try its images")
    _config_arguments(check)
    check.add_argument("--images", type=_count, default=200, metavar="N", help="images to try (default: 200)")
    check.add_argument("--all", action="store_true", help="try every image")
    check.add_argument("--out", type=Path, default=Path("runs/data"), help="folder for the sheet of samples")
    browse = actions.add_parser("browse", help="draw samples as the model gets them")
    _config_arguments(browse)
    browse.add_argument("--out", type=Path, required=True, help="folder for the sheets")
    browse.add_argument("--count", type=_count, default=32, metavar="N", help="samples to draw (default: 32)")
    browse.add_argument("--seed", type=int, default=0, help="of the random transforms (default: 0)")
    shapes = actions.add_parser("make-shapes", help="generate scenes of shapes with all kinds of annotations")
    shapes.add_argument("out", type=Path, help="new folder")
    shapes.add_argument("--train", type=int, default=400, metavar="N", help="training images (default: 400)")
    shapes.add_argument("--val", type=int, default=100, metavar="N", help="validation images (default: 100)")
    shapes.add_argument("--test", type=int, default=0, metavar="N", help="test images (default: 0)")
    shapes.add_argument("--size", type=int, default=192, help="side of the images in pixels (default: 192)")
    shapes.add_argument("--clips", type=int, default=0, metavar="N", help="training clips (default: 0)")
    shapes.add_argument("--seed", type=int, default=0, help="other seeds give other scenes (default: 0)")


def _config_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", help="name of a config, or a path to a YAML file")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="changes to the config")
    parser.add_argument("--split", choices=("train", "val", "test"), default="train", help="default: train")


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a number from 1 on, got '{text}'")
    return int(text)


def run(args: argparse.Namespace) -> int:
    """Do what ``args.action`` says. Returns 0, or 2 if ``check`` met images that can't be used."""
    if args.action == "make-shapes":
        return _make_shapes(args)
    dataset, task = _load(args)
    return _check(dataset, task, args) if args.action == "check" else _browse(dataset, task, args)


def _load(args: argparse.Namespace) -> tuple[Dataset, Task]:
    """The data set of a split and the task that draws it; the model isn't built."""
    from omma.config import Config, check
    from omma.experiment import Experiment
    from omma.task import find_task

    plan = check(Config.load(args.config, args.overrides), Experiment)
    if args.split not in plan["data"]:
        raise SetupError(f"{args.config} has no data.{args.split}; choose another --split")
    dataset = plan["data"][args.split]["dataset"].build()
    return dataset, find_task(plan["model"].value.target.task)


def _check(dataset: Dataset, task: Task, args: argparse.Namespace) -> int:
    import numpy as np

    from omma.data.summary import spread, summarise, unreadable
    from omma.visualization import contact_sheet, write_rgb

    print("\n".join(summarise(dataset).lines()))
    tried = spread(len(dataset), len(dataset) if args.all else args.images)
    tried = sorted({*tried, *np.flatnonzero(~dataset.usable()).tolist()})
    problems = unreadable(dataset, tried)
    print(f"\n{len(problems)} of {len(tried)} images tried can't be used" + (":" if problems else ""))
    print("".join(f"  {problem}\n" for problem in problems[:_SHOWN]), end="")
    if len(problems) > _SHOWN:
        print(f"  ... and {len(problems) - _SHOWN} more")
    pictures = list(_pictures(dataset, task, spread(len(dataset), _PER_SHEET), seed=0))
    if pictures:
        sheet = args.out / f"{Path(args.config).stem}_{args.split}.png"
        write_rgb(sheet, contact_sheet(pictures, columns=_COLUMNS, width=_WIDTH))
        print(f"sample sheet       {sheet}")
    return 2 if problems else 0


def _browse(dataset: Dataset, task: Task, args: argparse.Namespace) -> int:
    from omma.data.summary import spread
    from omma.visualization import contact_sheet, write_rgb

    indices = spread(len(dataset), args.count)
    for number, first in enumerate(range(0, len(indices), _PER_SHEET), start=1):
        pictures = list(_pictures(dataset, task, indices[first : first + _PER_SHEET], seed=args.seed))
        if pictures:
            path = args.out / f"{args.split}_{number:03d}.png"
            write_rgb(path, contact_sheet(pictures, columns=_COLUMNS, width=_WIDTH))
            print(path)
    return 0


def _pictures(dataset: Any, task: Task, indices: Iterable[int], *, seed: int) -> Iterator[np.ndarray]:
    """Drawn samples with their numbers; those that can't be read are told of and left out."""
    from omma.data.loader import seeded
    from omma.visualization import draw_title

    for index in indices:
        try:
            with seeded(seed, 0, index):
                sample = dataset[index]
        except DataError as error:
            print(f"not drawn: {error}")
            continue
        meta = sample["meta"]
        yield draw_title(task.draw_sample(sample, dataset.info), f"{meta.index}  {Path(meta.path).name}")


def _make_shapes(args: argparse.Namespace) -> int:
    from omma.data.shapes import make_shapes

    counts = {"train": args.train, "val": args.val, "test": args.test, "clips": args.clips}
    try:
        make_shapes(args.out, **counts, size=args.size, seed=args.seed)
    except ValueError as error:
        raise SetupError(f"make-shapes: {error}") from None
    print(args.out)
    return 0
