"""Temporal relation network (Zhou et al., 2017): what several frames, in their order, tell together."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import torch
from torch import Tensor, nn

from omma.losses import BinaryCrossEntropyLoss, CrossEntropyLoss
from omma.registry import register
from omma.structures.class_rows import ClassRows
from omma_action.models.heads.class_head import Average, ClassHead, linear

_DRAWN = 3
"""Relations of so many frames that are looked at in training, at most."""
_HIDDEN = 256


@register
class TRNHead(ClassHead):
    """Narrows the features of each frame (``fc_cls``) and sums up opinions on 2, 3 ... T frames.

    Args:
        num_classes, in_channels, dropout, init_std, loss, label_smoothing, average: as ``ClassHead``.
        frames: T of a clip.
        hidden: channels that the features are narrowed to.

    Raises:
        ValueError: fewer than two frames.
    """

    def __init__(
        self,
        *,
        num_classes: int,
        in_channels: int,
        frames: int = 8,
        hidden: int = 256,
        dropout: float = 0.8,
        init_std: float = 0.001,
        loss: CrossEntropyLoss | BinaryCrossEntropyLoss | None = None,
        label_smoothing: float = 0.0,
        average: Average = "prob",
    ) -> None:
        if frames < 2:
            raise ValueError(f"relations need at least 2 frames, got {frames}")
        self.frames, self.hidden = frames, hidden
        super().__init__(
            num_classes=num_classes,
            in_channels=in_channels,
            dropout=dropout,
            init_std=init_std,
            loss=loss,
            label_smoothing=label_smoothing,
            average=average,
        )

    def add_classifier(self) -> None:
        """Makes the narrowing layer and the relations."""
        self.fc_cls = linear(self.in_channels, self.hidden, std=self.init_std)
        self.consensus = Relations(self.hidden, self.frames, self.num_classes)

    def class_rows(self) -> dict[str, ClassRows]:
        """Parameters whose rows belong to classes."""
        last = [f"consensus.fc_fusion_scales.{i}.3" for i in range(self.frames - 1)]
        return {f"{name}.{part}": ClassRows() for name in last for part in ("weight", "bias")}

    def forward(self, maps: Sequence[Tensor], clips: int) -> Tensor:
        """Scores (B, C)."""
        pooled = self.dropout(maps[-1].flatten(2).mean(dim=2))  # (B * T, C')
        return self.consensus(self.fc_cls(pooled).unflatten(0, (clips, self.frames)))


class Relations(nn.Module):
    """(B, T, C') to scores (B, C): the sum over scales, all T frames first and pairs last.

    In training each scale sees a few of its combinations of frames, drawn anew. In evaluation it sees all of
    them, weighed so that they count as much: the mean of what draws would give, and the same each time.
    """

    def __init__(self, features: int, frames: int, classes: int) -> None:
        super().__init__()
        self.scales = tuple(range(frames, 1, -1))
        self.fc_fusion_scales = nn.ModuleList(
            nn.Sequential(
                nn.ReLU(), nn.Linear(scale * features, _HIDDEN), nn.ReLU(), nn.Linear(_HIDDEN, classes)
            )
            for scale in self.scales
        )
        for scale in self.scales:
            table = torch.tensor(list(combinations(range(frames), scale)))
            self.register_buffer(f"relations{scale}", table, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, C') -> (B, C)."""
        scores = x.new_zeros(())
        for scale, layers in zip(self.scales, self.fc_fusion_scales):
            table = self.get_buffer(f"relations{scale}")  # (R, scale)
            count = min(_DRAWN, len(table))
            if self.training:
                table = table[torch.randperm(len(table), device=table.device)[:count]]
            opinions = layers(x[:, table].flatten(2))  # (B, R, C)
            scores = scores + count * opinions.mean(dim=1)
        return scores
