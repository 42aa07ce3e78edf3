"""Predictions over a data set, judged by metrics."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import cast

import torch
from torch import Tensor

from omma.data.dataset import Dataset
from omma.data.loader import LoaderSettings, make_eval_loader
from omma.errors import OmmaError
from omma.metrics import Metric, MetricReport
from omma.model import Model
from omma.parallel import from_main, gather, here, rank, world
from omma.runner.precision import Precision, autocast
from omma.structures import Batch, Prediction


class Interrupted(Exception):
    """An evaluation was told to stop; it has no result."""


@dataclass(frozen=True)
class EvalResult:
    """What one evaluation found."""

    step: int
    """Training steps made before it."""
    values: dict[str, float]
    """Metric name -> number, the same on every process."""
    reports: list[MetricReport] = field(default_factory=list)
    """One per metric, on process 0."""


def evaluate(
    model: Model,
    loader: LoaderSettings,
    metrics: Sequence[Metric],
    device: torch.device,
    *,
    precision: Precision = "fp32",
    step: int = 0,
    max_batches: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> EvalResult:
    """Run ``model.predict`` over a loader's data set and compute ``metrics``.

    Args:
        model: on ``device``; its training mode is restored at the end.
        loader: the config's ``Loader``; each process takes its share of the images.
        metrics: are started anew. Afterwards they hold the records of all images on process 0.
        device: where the model is.
        precision: of the forward passes.
        step: is put into the result.
        max_batches: judge no more than these batches of each process.
        progress: called with batches done and batches in all.
        should_stop: asked before each batch.

    Raises:
        Interrupted: ``should_stop`` said so.
        DataError: an image can't be read.
    """
    dataset = loader.dataset
    batches = make_eval_loader(loader, rank=rank(), world=world())
    total = len(batches) if max_batches is None else min(len(batches), max_batches)
    for metric in metrics:
        metric.start(dataset.info)
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode(), autocast(precision, device):
            for done, batch in enumerate(islice(iter(batches), total), start=1):
                if should_stop is not None and should_stop():
                    raise Interrupted
                here.at("evaluation")
                _judge(model, batch, dataset, metrics, device)
                if progress is not None:
                    progress(done, total)
        if rank() == 0 and max_batches is None and (unseen := dataset.unseen()):
            for metric in metrics:
                metric.update([Prediction()] * len(unseen), unseen)
    finally:
        model.train(was_training)
    return _result(metrics, step)


def _judge(
    model: Model, batch: Batch, dataset: Dataset, metrics: Sequence[Metric], device: torch.device
) -> None:
    targets = [dataset.target(meta.index) for meta in batch.metas]
    predictions = [_on_cpu(prediction) for prediction in model.predict(batch.to(device, non_blocking=True))]
    for metric in metrics:
        metric.update(predictions, targets)


def _on_cpu(prediction: Prediction) -> Prediction:
    moved = {key: value.cpu() if isinstance(value, Tensor) else value for key, value in prediction.items()}
    return cast(Prediction, moved)


def _result(metrics: Sequence[Metric], step: int) -> EvalResult:
    here.at("metrics")
    for metric in metrics:
        merged = {index: record for records in gather(metric.records) for index, record in records.items()}
        if merged:
            metric.records = dict(sorted(merged.items()))

    def compute() -> dict[str, float]:
        values: dict[str, float] = {}
        for metric in metrics:
            for name, value in metric.compute().items():
                if name in values:
                    raise OmmaError(f"two metrics are called '{name}'; drop one of them from 'metrics'")
                values[name] = float(value)
        return values

    values = from_main(compute)
    return EvalResult(step, values, [metric.report() for metric in metrics] if rank() == 0 else [])
