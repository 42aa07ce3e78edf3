"""What an evaluation leaves in the run folder: numbers, charts, the worst images, the report."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from omma.data.collate import collate
from omma.data.dataset import Dataset
from omma.errors import OmmaError
from omma.hooks.base import Hook
from omma.model import Model
from omma.registry import register
from omma.runner.precision import Precision, autocast
from omma.runner.rng import untouched_rng
from omma.structures import Prediction
from omma.structures.select import above
from omma.task import Task
from omma.visualization import contact_sheet, read_rgb, write_findings, write_report, write_rgb

if TYPE_CHECKING:
    from omma.runner.evaluate import EvalResult
    from omma.runner.runner import Runner


@register
class EvaluationArtifacts(Hook):
    """Writes each evaluation into ``eval/step_N/`` of the run folder, and at the end ``report.html``.

    An evaluation's folder holds ``results.json``, the tables as CSV, the curves and the confusion matrix as
    SVG, and pictures: ``worst/``, prediction beside ground truth, and ``samples/``, predictions on images
    spread over the data set. For the pictures, the model predicts these few images once more; under fsdp,
    where all processes would have to take part, there are none.

    Args:
        worst: number of worst images to draw.
        samples: number of other images to draw.
        score_threshold: predictions under it are not drawn.

    Raises:
        ValueError: a number below zero, or a threshold outside 0..1.
    """

    def __init__(self, *, worst: int = 8, samples: int = 8, score_threshold: float = 0.3) -> None:
        if worst < 0 or samples < 0 or not 0 <= score_threshold <= 1:
            raise ValueError(
                "expected worst and samples from 0 on and score_threshold in 0..1, "
                f"got {worst}, {samples} and {score_threshold}"
            )
        self.worst = worst
        self.samples = samples
        self.score_threshold = score_threshold

    def after_eval(self, run: Runner, result: EvalResult) -> None:
        """See ``Hook``."""
        folder = run.out / "eval" / f"step_{result.step:06d}"
        write_findings(folder, step=result.step, values=result.values, reports=result.reports)
        if run.val_loader is None or run.task is None or run.mode == "fsdp":
            return
        weights = run.ema.swapped(run.model) if run.ema else nullcontext()
        with untouched_rng(run.device), weights:
            self.draw(
                folder,
                result,
                model=run.model,
                dataset=run.val_loader.dataset,
                task=run.task,
                device=run.device,
                precision=run.settings.precision,
            )

    def on_end(self, run: Runner, error: BaseException | None) -> None:
        """See ``Hook``."""
        try:
            if run.out.is_dir():
                write_report(run.out)
        except OmmaError:
            # What ended the run is what its user must read.
            if error is None:
                raise

    def draw(
        self,
        folder: Path,
        result: EvalResult,
        *,
        model: Model,
        dataset: Dataset,
        task: Task,
        device: torch.device,
        precision: Precision = "fp32",
    ) -> None:
        """Draw the worst images of ``result`` and samples of ``dataset`` into ``folder``.

        Raises:
            DataError: an image can't be read.
            SetupError: the folder can't be written to.
        """
        worst = worst_positions(result)[: self.worst]
        spread = (
            np.linspace(0, len(dataset) - 1, min(self.samples, len(dataset))).round().astype(int).tolist()
        )
        predicted = self._predict(model, dataset, {*worst, *spread}, device, precision)
        for rank, position in enumerate(p for p in worst if p in predicted):
            picture = beside_truth(dataset, position, predicted[position], task)
            write_rgb(folder / "worst" / f"{rank:02d}_{position:06d}.jpg", picture)
        for rank, position in enumerate(p for p in spread if p in predicted):
            picture = task.draw(ground(dataset, position, task), predicted[position], dataset.info)
            write_rgb(folder / "samples" / f"{rank:02d}_{position:06d}.jpg", picture)

    def _predict(
        self,
        model: Model,
        dataset: Dataset,
        positions: Iterable[int],
        device: torch.device,
        precision: Precision,
    ) -> dict[int, Prediction]:
        was_training = model.training
        model.eval()
        try:
            with torch.inference_mode(), autocast(precision, device):
                samples = {position: dataset[position] for position in positions}
                return {
                    position: above(model.predict(collate([sample]).to(device))[0], self.score_threshold)
                    for position, sample in samples.items()
                    # In place of an image that can't be read a data set may give another.
                    if sample["meta"].path == dataset.target(position)["path"]
                }
        finally:
            model.train(was_training)


def worst_positions(result: EvalResult) -> list[int]:
    """Positions in the data set by falling badness: of all metrics' rankings in turn, each once."""
    rankings = [ranking.entries for report in result.reports for ranking in report.rankings]
    longest = max(map(len, rankings), default=0)
    turns = (entries[i][0] for i in range(longest) for entries in rankings if i < len(entries))
    return list(dict.fromkeys(turns))


def beside_truth(dataset: Dataset, position: int, prediction: Prediction, task: Task) -> np.ndarray:
    """Prediction on the left and ground truth on the right, (H, W, 3) uint8 RGB."""
    predicted = task.draw(ground(dataset, position, task), prediction, dataset.info)
    truth = task.draw_sample(dataset[position], dataset.info)
    width = 2 * min(max(predicted.shape[1], truth.shape[1]), 1000) + 18
    return contact_sheet([predicted, truth], columns=2, width=width)


def ground(dataset: Dataset, position: int, task: Task) -> np.ndarray:
    """What a prediction is drawn on, (H, W, 3) uint8 RGB: the image, or the frames of a clip on one sheet."""
    sample = dataset[position]
    if "image" in sample:
        return read_rgb(dataset.target(position)["path"])
    return task.draw_sample(sample, dataset.info)
