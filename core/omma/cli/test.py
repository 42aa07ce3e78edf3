"""Evaluate weights on a config's test data, or on data.val where it has no test data.

WEIGHTS is a checkpoint folder or a weights file; the word none evaluates random weights.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from omma.errors import SetupError, WeightsError

if TYPE_CHECKING:
    import torch

    from omma.config import Config
    from omma.data.dataset import Dataset
    from omma.experiment import Loader
    from omma.metrics import Table
    from omma.model import Model
    from omma.runner.evaluate import EvalResult


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``omma test``."""
    parser.add_argument("config", help="name of a config, or a path to a YAML file")
    parser.add_argument("weights", help="checkpoint folder or weights file, or none")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="changes to the config")
    parser.add_argument("--out", type=Path, help="also write numbers, charts, pictures and report.html here")
    parser.add_argument(
        "--tta", action="store_true", help="merge predictions on several views, see test_augmentation"
    )
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")


def run(args: argparse.Namespace) -> int:
    """Evaluate, print the numbers and the class tables."""
    from omma.augmentation import AugmentedModel, through_views, views_of
    from omma.cli.predict import make_folder
    from omma.cli.train import check_annotations
    from omma.config import Config, check
    from omma.data.summary import skipped
    from omma.experiment import Experiment
    from omma.parallel import end_processes, is_main, pick_device, start_processes, watched
    from omma.runner import Train, evaluate

    device = pick_device(args.device)
    config = Config.load(args.config, args.overrides)
    if config.get("model.backbone.weights") is not None:
        config = Config.load(args.config, [*args.overrides, "model.backbone.weights=null"])
    plan = check(config, Experiment)
    name = next((name for name in ("test", "val") if name in plan["data"]), None)
    if name is None or "metrics" not in plan:
        raise SetupError(
            "there is nothing to evaluate: the config has no data.test or data.val, or no metrics"
        )
    if args.out:
        # Before the work, not after it.
        make_folder(args.out)
    settings: Train = plan["train"].build() if "train" in plan else Train(steps=1)
    start_processes(device, settings.patience())
    try:
        views = views_of(plan, plan["data"][name]) if args.tta else None
        source = plan["data"][name] if views is None else through_views(plan["data"][name], views)
        loader: Loader = source.build()
        check_annotations({f"data.{name}": loader})
        model = _model(plan["model"].build(), args.weights, loader.dataset.info.classes, config)
        model = (model if views is None else AugmentedModel(model, views)).to(device)
        with watched(settings.patience(), advice="nothing was written; start it again"):
            result = evaluate(
                model,
                loader,
                plan["metrics"].build(),
                device,
                precision=settings.precision,
                step=_step(args.weights),
                progress=_progress,
            )
        if is_main():
            _print(result.values, [table for report in result.reports for table in report.tables])
            print("".join(f"warning: {line}\n" for line in skipped(loader.dataset)), end="")
        if is_main() and args.out:
            _write(args.out, result, config, model, loader.dataset, device)
    finally:
        end_processes()
    return 0


def _write(
    out: Path, result: EvalResult, config: Config, model: Model, dataset: Dataset, device: torch.device
) -> None:
    """The same files as an evaluation during training leaves, and the report."""
    from omma.hooks import EvaluationArtifacts
    from omma.hooks.environment import environment
    from omma.task import find_task
    from omma.visualization import write_findings, write_report

    folder = out / "eval" / f"step_{result.step:06d}"
    write_findings(folder, step=result.step, values=result.values, reports=result.reports)
    (out / "config.yaml").write_text(config.to_yaml(), encoding="utf-8")
    origin = {"command": sys.argv, **environment()}
    (out / "environment.json").write_text(json.dumps(origin, indent=2) + "\n", encoding="utf-8")
    EvaluationArtifacts().draw(
        folder, result, model=model, dataset=dataset, task=find_task(model.task), device=device
    )
    print(f"\nresults  {folder}\nreport   {write_report(out)}")


def _model(model: Model, weights: str, classes: Sequence[str], config: Config) -> Model:
    """The model with its weights, which must be of the classes that are evaluated."""
    if weights == "none":
        return model
    from omma.inference.predictor import load_whole, stored_classes

    stored = stored_classes(weights)
    if stored and tuple(stored) != tuple(classes):
        raise WeightsError(
            f"{weights}: was trained for the classes {', '.join(stored)}, but {config.name} evaluates "
            f"{', '.join(classes)}; set data.classes to the classes of the weights"
        )
    load_whole(model, weights)
    return model


def _step(weights: str) -> int:
    """Training steps behind a checkpoint folder; 0 for other weights."""
    try:
        meta = json.loads((Path(weights) / "meta.json").read_text(encoding="utf-8"))
        return int(meta["step"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0


def _progress(done: int, total: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{done}/{total} batches", end="\n" if done == total else "", file=sys.stderr, flush=True)


def _print(values: dict[str, float], tables: Sequence[Table]) -> None:
    from rich.console import Console

    from omma.visualization.terminal import number, rich_table

    console = Console()
    if not console.is_terminal:
        # A log file has no edge to cut the columns at.
        console.width = 200
    for table in tables:
        console.print(rich_table(table))
    width = max(map(len, values), default=0)
    for name, value in values.items():
        print(f"{name:{width}}  {number(value, digits=4)}")
