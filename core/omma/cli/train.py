"""Train a model from a config.

Any value of the config can be changed behind its name: omma train CONFIG optimizer.lr=0.01 train.epochs=3.
Several processes or machines: torchrun --nproc-per-node N -m omma train CONFIG ...
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omma.errors import SetupError

if TYPE_CHECKING:
    from omma.config import Config
    from omma.experiment import Data, Experiment, Loader
    from omma.hooks import Hook
    from omma.model import Model
    from omma.runner import Runner, Train, TrainResult

_LATEST = Path("latest checkpoint")
_SILENT = 3.0
"""Seconds that something may take before it is told what it is."""
_TRIAL = "fast-dev-run-"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``omma train``."""
    parser.add_argument("config", help="name of a config, or a path to a YAML file")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="changes to the config")
    parser.add_argument("--out", type=Path, help="run folder (default: runs/CONFIG/DATE-TIME)")
    parser.add_argument(
        "--resume",
        nargs="?",
        type=_path_or_override,
        const=_LATEST,
        metavar="PATH",
        help="go on from a checkpoint folder; without PATH from the newest whole one in --out, "
        "or in the newest run of this config",
    )
    parser.add_argument("--weights", help="weights to start from")
    parser.add_argument(
        "--fast-dev-run",
        action="store_true",
        help="two steps, two evaluation batches and one checkpoint, in a folder of their own",
    )
    parser.add_argument(
        "--overfit",
        type=int,
        metavar="N",
        help="train and evaluate on the first N training images, both with the transforms of data.val: "
        "a model that can't learn these by heart has a bug",
    )
    parser.add_argument(
        "--import",
        dest="modules",
        action="append",
        default=[],
        metavar="MODULE",
        help="import a module that registers parts (again for more); the working folder is searched too",
    )


def _path_or_override(text: str) -> Path | str:
    """What follows ``--resume``: a path, or as text the first of the changes to the config."""
    key, sep, _ = text.partition("=")
    # The key of an override is no path; os.path.exists bears an override that is too long for one.
    return text if sep and Path(key).name == key and not os.path.exists(text) else Path(text)


def run(args: argparse.Namespace) -> int:
    """Train. Returns 0, or 128 + the number of the signal that stopped it."""
    from omma.config import Config, check
    from omma.experiment import Experiment
    from omma.parallel import end_processes, pick_device, start_processes
    from omma.runner.rng import seed_all

    if isinstance(args.resume, str):
        args.overrides, args.resume = [args.resume, *args.overrides], _LATEST
    _import(args.modules)
    config = Config.load(args.config, args.overrides)
    plan = check(config, Experiment)
    settings: Train = plan["train"].build()
    start_processes(pick_device(settings.device), settings.patience())
    try:
        out = _run_folder(args)
        seed_all(settings.seed)
        experiment: Experiment = plan.build()
        return _train(experiment, config, args, out)
    finally:
        end_processes()


def _train(experiment: Experiment, config: Config, args: argparse.Namespace, out: Path) -> int:
    from omma.runner import Runner
    from omma.task import find_task

    data, settings = experiment.data, experiment.train
    check_classes(data)
    check_heads(experiment.model, data.num_classes)
    check_annotations({"data.train": data.train, "data.val": data.val})
    if data.train is None:
        raise SetupError("there is nothing to train on: the config has no data.train")
    train, val = data.train, data.val
    if args.overfit:
        train, val = overfitted(train, val, args.overfit)
    if args.fast_dev_run:
        settings = shortened(settings)
    if args.weights:
        from omma.checkpoint import load_weights

        report = load_weights(experiment.model, args.weights, classes=train.dataset.info.classes)
        _say("\n".join(report.lines()))
    runner = Runner(
        model=experiment.model,
        train=train,
        val=val,
        optimizer=experiment.optimizer,
        schedule=experiment.schedule,
        metrics=experiment.metrics,
        settings=settings,
        hooks=all_hooks(experiment.hooks),
        out=out,
        task=find_task(experiment.model.task),
        config=config,
        eval_batches=2 if args.fast_dev_run else None,
    )
    if args.resume:
        path = runner.resume(None if args.resume == _LATEST else args.resume)
        _say(
            f"going on from {path}" if path else f"no whole checkpoint in {out}: starting from the beginning"
        )
    result = runner.train()
    _tell_end(runner, result)
    return 128 + result.signal if result.signal else 0


def check_classes(data: Data) -> None:
    """See that every data set has as many classes, and key points, as the heads were built for.

    Raises:
        SetupError: it has not, or evaluation would judge by other classes than were trained.
    """
    loaders = {
        name: loader for name in ("train", "val", "test") if (loader := getattr(data, name)) is not None
    }
    for name, loader in loaders.items():
        classes = loader.dataset.info.classes
        if len(classes) != data.num_classes:
            raise SetupError(
                f"data.num_classes is {data.num_classes}, but data.{name} has {len(classes)} classes: "
                f"{', '.join(classes)}\n  data.classes: {data.classes}\n  "
                f"set data.num_classes={len(classes)}, or name the classes to use in data.classes"
            )
        skeleton = loader.dataset.info.skeleton
        if skeleton is not None and len(skeleton) != data.num_keypoints:
            raise SetupError(
                f"data.num_keypoints is {data.num_keypoints}, but data.{name} has {len(skeleton)}: "
                f"{', '.join(skeleton.names)}\n  set data.num_keypoints={len(skeleton)}, or name another "
                "data.skeleton"
            )
    if "train" in loaders:
        trained = loaders["train"].dataset.info.classes
        for name, loader in loaders.items():
            if loader.dataset.info.classes != trained:
                raise SetupError(
                    f"data.train and data.{name} number their classes differently:\n  data.train: "
                    f"{', '.join(trained)}\n  data.{name}: {', '.join(loader.dataset.info.classes)}\n  "
                    "name the classes in data.classes, which orders them alike"
                )


def check_annotations(loaders: Mapping[str, Loader | None]) -> None:
    """See that nothing is wrong with any annotation, which a data set may not have looked at yet.

    Raises:
        DataError: something is.
    """
    from omma.data.summary import require_usable
    from omma.parallel import from_main

    def look() -> None:
        notice = threading.Timer(_SILENT, _say, ["looking at all annotations before the first step ..."])
        notice.start()
        try:
            for name, loader in loaders.items():
                if loader is not None:
                    require_usable(loader.dataset, name)
        finally:
            notice.cancel()

    from_main(look)


def check_heads(model: Model, num_classes: int) -> None:
    """See that every head was built for the classes of the data.

    Raises:
        SetupError: one was built for another number of them.
    """
    from omma.checkpoint.classes import class_rows

    parameters = dict(model.named_parameters())
    for name, rows in class_rows(model).items():
        if len(parameters[name]) != rows.total(num_classes):
            raise SetupError(
                f"data.num_classes is {num_classes}, but model.{name} has {len(parameters[name])} rows, not "
                f"the {rows.total(num_classes)} of so many classes\n  "
                'let the head follow the data: num_classes: "${data.num_classes}"'
            )


def all_hooks(configured: dict[str, Hook | None]) -> list[Hook]:
    """The hooks that every run has, changed (or with null taken away) and added to by the config's."""
    from omma.hooks import Environment, EvaluationArtifacts, JsonLog, Progress, TensorBoard

    hooks: dict[str, Any] = {
        "environment": Environment(),
        "progress": Progress(),
        "log": JsonLog(),
        "tensorboard": TensorBoard(),
        # Last: its report reads what the others wrote.
        "evaluation": EvaluationArtifacts(),
    }
    hooks |= configured
    return [hook for hook in hooks.values() if hook is not None]


def shortened(settings: Train) -> Train:
    """``settings`` for a run of two steps, one evaluation and one checkpoint."""
    from dataclasses import replace

    length = replace(settings, epochs=None, steps=2, eval_each_epoch_from=None)
    return replace(length, eval_every=2, save_every=2, log_every=1, early_stop=None)


def overfitted(train: Any, val: Any, count: int) -> tuple[Any, Any]:
    """Loaders of the first ``count`` training images, with the transforms of ``val`` where it has some."""
    from dataclasses import replace

    from omma.data.dataset import Subset

    dataset = train.dataset
    if val is not None:
        dataset = dataset.behind(val.dataset.transforms)
    few = Subset(dataset=dataset, first=count)
    size = min(train.batch_size, len(few))
    return (
        replace(train, dataset=few, sampler=None, batch_size=size),
        replace(val or train, dataset=few, sampler=None),
    )


def _run_folder(args: argparse.Namespace) -> Path:
    """The folder of this run, made and found writable; the same on all processes."""
    from omma.parallel import from_main

    return from_main(lambda: _make_run_folder(args))


def _make_run_folder(args: argparse.Namespace) -> Path:
    home = Path("runs") / Path(args.config).stem
    stamp = time.strftime("%Y%m%d-%H%M%S")
    out: Path = args.out or home / stamp
    if args.resume and not args.out:
        out = _newest_run(home) if args.resume == _LATEST else args.resume.absolute().parent.parent
    if args.fast_dev_run:
        own = home if not args.out and not args.resume else out
        out = own / f"{_TRIAL}{stamp}"
    try:
        if not args.resume and out.exists() and any(out.iterdir()):
            raise SetupError(
                f"the run folder {out} is not empty; go on with --resume, or choose another --out "
                "(nothing was overwritten)"
            )
        out.mkdir(parents=True, exist_ok=True)
        probe = out / f".probe-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise SetupError(
            f"can't write into the run folder {out}: {error.strerror}; choose another --out"
        ) from error
    return out


def _newest_run(home: Path) -> Path:
    runs = [path.parent for path in home.glob("*/checkpoints") if any(path.glob("step_*"))]
    runs = [run for run in runs if not run.name.startswith(_TRIAL)]
    if not runs:
        raise SetupError(
            f"--resume finds no run with a checkpoint in {home}; name one with --out or --resume PATH"
        )
    return max(runs, key=lambda path: (path / "checkpoints").stat().st_mtime)


def _import(modules: list[str]) -> None:
    if modules and os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    for module in modules:
        try:
            importlib.import_module(module)
        except ModuleNotFoundError as error:
            raise SetupError(f"--import {module}: {error}") from error


def _tell_end(runner: Runner, result: TrainResult) -> None:
    reasons = {
        "finished": "finished",
        "early": "stopped early: no better evaluation any more",
        "time": "stopped at train.max_time; --resume goes on",
        "signal": "stopped by a signal; --resume goes on",
    }
    _say(f"\n{reasons[result.reason]} after {result.step} of {runner.total_steps} steps")
    checkpoints = runner.out / "checkpoints"
    last = checkpoints / f"step_{result.step:06d}"
    for name, path in {
        "best checkpoint": checkpoints / "best",
        "last checkpoint": last,
        "report": runner.out / "report.html",
        "log": runner.out / "log.jsonl",
    }.items():
        if path.exists():
            _say(f"{name:16} {path}")


def _say(text: str) -> None:
    from omma.parallel import is_main

    if is_main():
        print(text)
