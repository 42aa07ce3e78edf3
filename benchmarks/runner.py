"""What the runner adds to a bare PyTorch loop.

Claim: a step of ``Runner`` with its usual hooks takes at most 1.02 of a step of a bare loop (load, forward,
backward, clip, update) over the same model and data. Both run in one process, a step of the one after a step
of the other, so that whatever slows the machine slows both.

    python benchmarks/runner.py
"""

from __future__ import annotations

import itertools
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torchvision import tv_tensors

from omma.data.dataset import Dataset
from omma.data.loader import make_train_loader
from omma.experiment import Loader
from omma.hooks import Hook, JsonLog, Progress, TensorBoard
from omma.model import Model, Preprocessor
from omma.optim import SGD, MultiStep, Warmup
from omma.runner import Runner, Train
from omma.structures import DataInfo, Meta

STEPS, WARM, BATCH, SIDE = 220, 20, 2, 160


class Noise(Dataset):
    """Images of noise with three boxes each, made on the fly."""

    def __init__(self) -> None:
        self.info = DataInfo(classes=("a", "b"))
        self.image = torch.randint(0, 256, (3, SIDE, SIDE), dtype=torch.uint8)

    def __len__(self) -> int:
        return 64

    def __getitem__(self, index: int) -> Any:
        corners = torch.rand(3, 2) * SIDE / 2
        boxes = tv_tensors.BoundingBoxes(
            torch.cat([corners, corners + SIDE / 3], 1), format="XYXY", canvas_size=(SIDE, SIDE)
        )
        meta = Meta(index=index, id=index, path=f"{index}.jpg", height=SIDE, width=SIDE)
        return {
            "image": tv_tensors.Image(self.image.roll(index, 1)),
            "boxes": boxes,
            "labels": torch.randint(0, 2, (3,)),
            "meta": meta,
        }

    def target(self, index: int) -> Any:
        return {"index": index}

    @property
    def image_sizes(self) -> np.ndarray:
        return np.full((len(self), 2), SIDE, np.int32)

    def class_counts(self) -> np.ndarray:
        return np.ones((len(self), 2), np.uint16)


class SmallDetector(Model):
    """Sixteen convolutions with batch norm and a dense head: boxes and classes at each cell."""

    task = "detection"

    def __init__(self) -> None:
        super().__init__()
        self.preprocessor = Preprocessor()
        widths = (3, 24, 32, 64, 96)
        blocks = [self.block(a, b, 2) for a, b in itertools.pairwise(widths)]
        deep = [self.block(96, 96, 1) for _ in range(12)]
        self.backbone = nn.Sequential(*blocks, *deep)
        self.head = nn.Conv2d(96, 6, 1)

    @staticmethod
    def block(inside: int, outside: int, stride: int) -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(inside, outside, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outside),
            nn.ReLU(inplace=True),
        )

    def forward(self, images: Any) -> torch.Tensor:
        return self.head(self.backbone(self.preprocessor(images)))

    def loss(self, batch: Any) -> dict[str, torch.Tensor]:
        raw = self(batch.images)
        boxes = torch.stack([sample["boxes"].as_subclass(torch.Tensor).mean(0) for sample in batch.samples])
        labels = torch.stack([sample["labels"].float().mean() for sample in batch.samples])
        return {
            "loss_box": (raw[:, :4].mean((2, 3)) - boxes / SIDE).abs().mean(),
            "loss_class": nn.functional.binary_cross_entropy_with_logits(raw[:, 4].mean((1, 2)), labels),
        }

    def predict(self, batch: Any) -> Any:
        return []


class BareLoop(Hook):
    """After each step of the runner, times it and then a step of the bare loop."""

    def __init__(self, batches: Any) -> None:
        self.batches = batches
        self.model = SmallDetector()
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.01, momentum=0.9)
        self.ours: list[float] = []
        self.bare: list[float] = []
        self.last: float | None = None

    def after_step(self, run: Runner, losses: Any, scalars: Any) -> None:
        now = time.perf_counter()
        if self.last is not None:
            self.ours.append(now - self.last)
        self.step()
        self.last = time.perf_counter()
        self.bare.append(self.last - now)

    def step(self) -> None:
        batch = next(self.batches)
        self.model.train()
        loss = torch.stack(list(self.model.loss(batch).values())).sum()
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 35.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)


def main() -> None:
    """Print the medians and their ratio."""
    torch.set_num_threads(1)
    loader = Loader(dataset=Noise(), batch_size=BATCH, workers=0)
    bare = BareLoop(iter(make_train_loader(loader, seed=1)))
    with tempfile.TemporaryDirectory() as folder:
        Runner(
            model=SmallDetector(),
            train=loader,
            optimizer=SGD(lr=0.01),
            schedule=MultiStep(milestones=(0.7, 0.9), warmup=Warmup(steps=100)),
            settings=Train(steps=STEPS, clip_norm=35.0, save_every=10**9, device="cpu"),
            hooks=(Progress(), JsonLog(), TensorBoard(), bare),
            out=Path(folder),
        ).train()
    ours, plain = bare.ours[WARM:], bare.bare[WARM:]
    print(f"\n{'runner, ms a step':28} {1000 * statistics.median(ours):8.2f}")
    print(f"{'bare loop, ms a step':28} {1000 * statistics.median(plain):8.2f}")
    print(
        f"{'  ratio of the medians':28} {statistics.median(ours) / statistics.median(plain):8.3f}   <= 1.02"
    )


if __name__ == "__main__":
    main()
