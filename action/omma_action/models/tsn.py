"""Temporal segment networks (Wang et al., 2016): frames by themselves, one opinion of all of them."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from omma.registry import register
from omma_action.models.heads.class_head import ClassHead


@register
class TSNHead(ClassHead):
    """Averages over positions and frames, then classifies.

    Args:
        num_classes, in_channels, dropout, init_std, loss, label_smoothing, average: as ``ClassHead``.
    """

    def forward(self, maps: Sequence[Tensor], clips: int) -> Tensor:
        """Scores (B, C)."""
        pooled = maps[-1].flatten(2).mean(dim=2)  # (B * T, C')
        return self.fc_cls(self.dropout(pooled.unflatten(0, (clips, -1)).mean(dim=1)))
