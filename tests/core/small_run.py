"""A world small enough to train in milliseconds, with every kind of randomness in it."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torchvision import tv_tensors

from omma.data.dataset import Dataset
from omma.experiment import Loader
from omma.metrics import Metric, MetricReport, Table
from omma.model import Model
from omma.optim import SGD, Cosine
from omma.runner import Runner, Train
from omma.structures import Batch, DataInfo, Meta


class Patches(Dataset):
    """Grey 8x8 images whose brightness is to be told, with noise drawn from all three generators."""

    def __init__(self, length: int = 22, *, noisy: bool = True) -> None:
        self.info = DataInfo(classes=("patch",))
        self.length = length
        self.noisy = noisy

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Any:
        image = torch.full((3, 8, 8), float(index * 10))
        if self.noisy:
            image = image + torch.rand(()) * 5 + np.random.rand() * 5 + random.random() * 5
        meta = Meta(index=index, id=index, path=f"patch-{index}.png", height=8, width=8)
        return {
            "image": tv_tensors.Image(image.to(torch.uint8)),
            "labels": torch.tensor([index]),
            "meta": meta,
        }

    def target(self, index: int) -> Any:
        return {"index": index, "id": index, "labels": torch.tensor([index])}

    @property
    def image_sizes(self) -> np.ndarray:
        return np.full((self.length, 2), 8, np.int32)

    def class_counts(self) -> np.ndarray:
        return np.ones((self.length, 1), np.uint16)


class Teller(Model):
    """Convolution, running statistics and dropout (neither if ``plain``), then a number per image."""

    task = "test"

    def __init__(self, *, plain: bool = False, drop: float = 0.3) -> None:
        super().__init__()
        self.backbone = nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.Identity() if plain else nn.BatchNorm2d(4), nn.ReLU()
        )
        self.drop = nn.Dropout(0.0 if plain else drop)
        self.head = nn.Linear(4, 1)
        self.poison_at: int | None = None
        self.calls = 0
        self.seen: list[tuple[str, int]] = []
        """Path and sum of each training image, in the order they came."""

    def forward(self, images: Any) -> torch.Tensor:
        x = torch.stack([image.as_subclass(torch.Tensor).float() / 255 for image in images])
        return self.head(self.drop(self.backbone(x)).mean((2, 3))).squeeze(1)

    def loss(self, batch: Batch) -> dict[str, torch.Tensor]:
        self.calls += 1
        self.seen += [(meta.path, int(image.sum())) for meta, image in zip(batch.metas, batch.images)]
        wanted = torch.stack([sample["labels"][0] for sample in batch.samples]) / 22
        error = self(batch.images) - wanted
        if self.calls == self.poison_at:
            error = error * float("nan")
        return {"loss_square": error.square().mean(), "loss_abs": 0.1 * error.abs().mean()}

    def predict(self, batch: Batch) -> Any:
        return [{"scores": value.view(1)} for value in self(batch.images)]


class Error(Metric):
    """Minus the mean error, so that higher is better."""

    def record(self, prediction: Any, target: Any) -> float:
        return abs(float(prediction["scores"][0]) - float(target["labels"][0]) / 22)

    def compute(self) -> dict[str, float]:
        return {
            "closeness": -sum(self.records.values()) / len(self.records),
            "images": float(len(self.records)),
        }

    def report(self) -> MetricReport:
        return MetricReport(
            tables=[Table("errors", ["image", "error"], [[k, v] for k, v in self.records.items()])]
        )


def make_run(out: Path, **settings: Any) -> Runner:
    """A run of 5 batches of 4 an epoch, with settings of ``Train`` and these words of its own:

    ``workers``, ``batch``, ``metrics``, ``hooks``, ``val``, ``dataset``, ``recipe``, ``plain``, ``drop``.
    """
    torch.manual_seed(0)
    parts = {"workers": 0, "batch": 4, "metrics": (Error(),), "hooks": (), "val": True} | settings
    names = ("workers", "batch", "metrics", "hooks", "val", "dataset", "recipe", "plain", "drop")
    train = Loader(
        dataset=parts.get("dataset") or Patches(), batch_size=parts["batch"], workers=parts["workers"]
    )
    words = {"log_every": 3, "device": "cpu"} | {k: v for k, v in settings.items() if k not in names}
    return Runner(
        model=Teller(plain=parts.get("plain", False), drop=parts.get("drop", 0.3)),
        train=train,
        val=replace(train, dataset=Patches(7, noisy=False), workers=0) if parts["val"] else None,
        optimizer=parts.get("recipe") or SGD(lr=0.05, weight_decay=1e-4),
        schedule=Cosine(),
        metrics=parts["metrics"],
        settings=Train(**words),
        hooks=parts["hooks"],
        out=out,
    )
