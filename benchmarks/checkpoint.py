"""What saving costs the training loop, and how soon a resumed run has its loader.

Claims: one save per 200 steps of a model with 160 MB of weights (and as much of momentum) costs the loop
under 2%; on 100,000 images a loader that goes on in the middle of an epoch is ready within 2 s.

The cost is the time that the loop stands still for the copy, and what steps take longer while a thread
writes: steps with a write under way stand among those without, so that whatever slows the machine slows both.

    python benchmarks/checkpoint.py
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torchvision import tv_tensors

from omma.data.dataset import Dataset
from omma.data.loader import make_train_loader
from omma.experiment import Loader
from omma.hooks import Hook
from omma.model import Model
from omma.optim import SGD, Cosine
from omma.runner import Runner, Train
from omma.structures import DataInfo, Meta

SAVES, EVERY, INTERVAL = 5, 40, 200
"""Saves measured, steps between them here, and steps between them in the claim."""
WIDTH, DEPTH = 2000, 10  # 40 M parameters


class Blank(Dataset):
    """Grey images of one size."""

    def __init__(self, length: int) -> None:
        self.info = DataInfo(classes=("a",))
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Any:
        meta = Meta(index=index, id=index, path=f"{index}.jpg", height=8, width=8)
        return {
            "image": tv_tensors.Image(torch.full((3, 8, 8), index % 256, dtype=torch.uint8)),
            "meta": meta,
        }

    def target(self, index: int) -> Any:
        return {"index": index}

    @property
    def image_sizes(self) -> Any:
        return torch.full((self.length, 2), 8).numpy()

    def class_counts(self) -> Any:
        return torch.ones(self.length, 1, dtype=torch.int32).numpy()


class Wide(Model):
    """Linear layers: 160 MB of weights."""

    task = "detection"

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(*[nn.Linear(WIDTH, WIDTH) for _ in range(DEPTH)])

    def forward(self, images: Any) -> torch.Tensor:
        x = torch.stack([image.as_subclass(torch.Tensor).float().mean() / 255 for image in images])
        return self.backbone(x[:, None].expand(-1, WIDTH))

    def loss(self, batch: Any) -> dict[str, torch.Tensor]:
        return {"loss": self(batch.images).square().mean()}

    def predict(self, batch: Any) -> Any:
        return []


class Timing(Hook):
    """Sorts step times by whether a checkpoint was being written, and times the copies."""

    def __init__(self) -> None:
        self.quiet: list[float] = []
        self.writing: list[float] = []
        self.last = 0.0

    def after_step(self, run: Runner, losses: Any, scalars: Any) -> None:
        now = time.perf_counter()
        taken = now - self.last
        if run.step % EVERY != 1:  # that step began with the copy
            (self.writing if run._saving else self.quiet).append(taken)
        self.last = now


def saving() -> float:
    """Print a table; returns the share of the loop that saving costs."""
    timing = Timing()
    copies: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        runner = Runner(
            model=Wide(),
            train=Loader(dataset=Blank(4096), batch_size=16, workers=0),
            optimizer=SGD(lr=1e-6),
            schedule=Cosine(),
            settings=Train(steps=SAVES * EVERY, save_every=EVERY, keep=1, device="cpu", log_every=10**6),
            hooks=(timing,),
            out=Path(folder),
        )
        begin = runner._begin_save

        def timed(*, best: bool = False) -> None:
            start = time.perf_counter()
            begin(best=best)
            copies.append(time.perf_counter() - start)

        runner._begin_save = timed
        runner.train()
    quiet = statistics.median(timing.quiet)
    slower = sum(step - quiet for step in timing.writing) / (SAVES - 1)
    cost = (statistics.median(copies) + max(slower, 0.0)) / (INTERVAL * quiet)
    print(f"{'a step, ms':44} {1000 * quiet:8.1f}")
    print(f"{'the loop stands still for a copy, ms':44} {1000 * statistics.median(copies):8.1f}")
    print(f"{'steps are slower while a thread writes, ms':44} {1000 * slower:8.1f}")
    print(f"{f'  share of {INTERVAL} steps':44} {cost:8.3f}   < 0.02")
    return cost


def resuming() -> float:
    """Print and return the seconds until the first batch of a loader in the middle of an epoch."""
    loader = Loader(dataset=Blank(100_000), batch_size=16, workers=2)
    begin = time.perf_counter()
    next(iter(make_train_loader(loader, seed=0, start=3 * 6250 + 3000)))
    seconds = time.perf_counter() - begin
    print(f"{'first batch after a resume, 100,000 images, s':44} {seconds:8.2f}   < 2")
    return seconds


def main() -> None:
    """Run both."""
    torch.set_num_threads(1)
    saving()
    resuming()


if __name__ == "__main__":
    main()
