"""Small stages of chains: boxes that are known beforehand, and a model that tells what it was shown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from omma.inference import Seen, open_source
from omma.model import Model
from omma.registry import register
from omma.structures import Batch, DataInfo, Prediction, Skeleton

CONFIG = """
model: {type: ToyLooker}
data:
  num_classes: 1
  classes: [dog]
  val:
    dataset: {type: ToyScenes, file: absent.json, transforms: []}
optimizer: {type: SGD, lr: 0.1}
schedule: {type: Constant}
metrics: [{type: ToyMetric}]
train: {steps: 1}
"""
SKELETON = Skeleton(names=("top_left", "bottom_right"), bones=(("top_left", "bottom_right"),))


@register
class ToyLooker(Model):
    """The corners of the one box in each sample are its key points."""

    task = "pose"
    sees = "object"

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(1, 1)
        self.skeleton = SKELETON
        self.sizes: list[int] = []

    def forward(self, images: Any) -> Any:
        return images

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        return {}

    def predict(self, batch: Batch) -> list[Prediction]:
        self.sizes.append(len(batch))
        return [self._one(sample) for sample in batch.samples]

    def nothing(self) -> Prediction:
        none = torch.zeros(0, 2)
        places = torch.zeros(0, 2, 2)
        return {**super().nothing(), "keypoints": places, "keypoint_scores": none, "areas": none[:, 0]}

    def _one(self, sample: Any) -> Prediction:
        assert len(sample["boxes"]) == 1
        return Prediction(
            boxes=sample["boxes"],
            scores=sample["box_scores"],
            labels=sample["labels"],
            keypoints=sample["boxes"].reshape(1, 2, 2),
            keypoint_scores=torch.ones(1, 2),
            areas=torch.full((1,), 100.0),
        )


class Known:
    """Finds in each image the boxes that it is given: rows of x1, y1, x2, y2, score and label."""

    def __init__(self, *rows: Sequence[Sequence[float]], classes: Sequence[str] = ("cat", "dog")) -> None:
        self.info = DataInfo(tuple(classes))
        self.rows = rows
        self.read = 0

    def __call__(self, source: Any) -> Iterator[Seen]:
        for rows, frame in zip(self.rows, open_source(source)):
            self.read += 1
            yield Seen(frame, found(rows), self.info)


def found(rows: Sequence[Sequence[float]]) -> Prediction:
    table = torch.tensor(rows, dtype=torch.float32).reshape(-1, 6)
    return Prediction(boxes=table[:, :4], scores=table[:, 4], labels=table[:, 5].long())


def write_config(folder: Path, changes: Mapping[str, str] | None = None) -> Path:
    text = CONFIG
    for old, new in (changes or {}).items():
        assert old in text
        text = text.replace(old, new)
    (folder / "looker.yaml").write_text(text)
    return folder / "looker.yaml"
