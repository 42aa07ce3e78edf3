"""The contract of heads that tell the class of a clip."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from omma.losses import BinaryCrossEntropyLoss, CrossEntropyLoss, Loss
from omma.structures.class_rows import ClassRows

Average = Literal["prob", "score"]
"""What is averaged over the views of a clip: probabilities, or the scores that they come from."""


class ClassHead(nn.Module, ABC):
    """From feature maps to a score for each class.

    Args:
        num_classes: C.
        in_channels: channels of the backbone's (or neck's) last map.
        dropout: share of the features that are dropped in training.
        init_std: deviation of the classifier's initial weights.
        loss: softmax cross-entropy, where a clip has one class; binary, where it may have several.
        label_smoothing: share of each label that is spread over all classes (Szegedy et al., 2015).
        average: over the views of a clip.

    Raises:
        ValueError: there is no class, or a share is out of 0..1.
    """

    classifier: ClassVar[str] = "fc_cls"
    """Name of the layer with rows per class."""

    def __init__(
        self,
        *,
        num_classes: int,
        in_channels: int,
        dropout: float = 0.5,
        init_std: float = 0.01,
        loss: CrossEntropyLoss | BinaryCrossEntropyLoss | None = None,
        label_smoothing: float = 0.0,
        average: Average = "prob",
    ) -> None:
        super().__init__()
        if num_classes < 1:
            raise ValueError(f"num_classes must be at least 1, got {num_classes}")
        if not 0 <= dropout < 1 or not 0 <= label_smoothing < 1:
            raise ValueError(
                f"dropout and label_smoothing must be in 0..1, got {dropout} and {label_smoothing}"
            )
        self.num_classes, self.in_channels, self.init_std = num_classes, in_channels, init_std
        self.average, self.label_smoothing = average, label_smoothing
        self.loss_cls: Loss = CrossEntropyLoss() if loss is None else loss
        self.multi_label = isinstance(loss, BinaryCrossEntropyLoss)
        self.dropout = nn.Dropout(dropout)
        self.add_classifier()

    def add_classifier(self) -> None:
        """Makes the classifier."""
        self.fc_cls = linear(self.in_channels, self.num_classes, std=self.init_std)

    def class_rows(self) -> dict[str, ClassRows]:
        """Parameters whose rows belong to classes."""
        return {f"{self.classifier}.{name}": ClassRows() for name in ("weight", "bias")}

    @abstractmethod
    def forward(self, maps: Sequence[Tensor], clips: int) -> Tensor:
        """Scores (B, C), before any softmax.

        Args:
            maps: of the backbone or neck. Of a backbone for images they are (B * T, C', H', W').
            clips: B, views of all clips together.
        """

    def check_maps(self, channels: Sequence[int]) -> None:
        """Whether the head fits maps of these ``channels``.

        Raises:
            ValueError: the last one has others.
        """
        if not channels or channels[-1] != self.in_channels:
            raise ValueError(
                f"in_channels of the head says {self.in_channels}, but the maps have {list(channels)}"
            )

    def loss(self, scores: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """``loss_cls`` of scores (B, C) and the share of each class in each clip (B, C)."""
        return {"loss_cls": self.loss_cls(scores, targets)}

    def targets(self, labels: Sequence[Tensor]) -> Tensor:
        """Labels (n_i,) of each clip as shares of the classes (B, C), smoothed.

        Where a clip has one class, its row sums up to one; of several labels each has the same share.
        """
        counts = torch.stack([F.one_hot(label, self.num_classes).sum(0) for label in labels])
        rows = counts.clamp(max=1).float()
        if not self.multi_label:
            rows = rows / rows.sum(dim=1, keepdim=True).clamp(min=1)
        return rows * (1 - self.label_smoothing) + self.label_smoothing / self.num_classes

    def combine(self, scores: Tensor) -> Tensor:
        """Probabilities (N, C), float32, from the scores (N, V, C) of V views."""
        scores = scores.float()
        if self.average == "score":
            scores = scores.mean(dim=1, keepdim=True)
        return (scores.sigmoid() if self.multi_label else scores.softmax(dim=-1)).mean(dim=1)


def linear(in_features: int, out_features: int, *, std: float, bias: bool = True) -> nn.Linear:
    """A linear layer whose weights start at normal ``std`` and whose biases start at zero."""
    layer = nn.Linear(in_features, out_features, bias=bias)
    nn.init.normal_(layer.weight, std=std)
    if bias:
        nn.init.zeros_(layer.bias)
    return layer
