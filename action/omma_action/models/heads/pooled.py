"""The heads of networks on clips: average over time and space, then classify."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from omma.registry import register
from omma_action.models.heads.class_head import ClassHead


@register
class I3DHead(ClassHead):
    """Averages the last map, (B, C', T, H, W), or takes it as it is, (B, C').

    Args:
        num_classes, in_channels, dropout, init_std, loss, label_smoothing, average: as ``ClassHead``.
    """

    def forward(self, maps: Sequence[Tensor], clips: int) -> Tensor:
        """Scores (B, C)."""
        return self.fc_cls(self.dropout(mean_of(maps[-1])))


def mean_of(x: Tensor) -> Tensor:
    """(B, C', ...) over all axes but the first two."""
    return x.flatten(2).mean(dim=2) if x.ndim > 2 else x
