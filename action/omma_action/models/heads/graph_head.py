"""What tells the class from features of joints."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from omma.registry import register
from omma.structures.class_rows import ClassRows
from omma_action.models.heads.class_head import ClassHead, linear


@register
class GraphHead(ClassHead):
    """Averages over frames, joints and persons, then classifies (Yan et al., ST-GCN, AAAI 2018).

    The classifier is called ``fc``.

    Args:
        num_classes, in_channels, dropout, init_std, loss, label_smoothing, average: as ``ClassHead``.
    """

    def add_classifier(self) -> None:
        """Makes the layer with rows per class."""
        self.fc = linear(self.in_channels, self.num_classes, std=self.init_std)

    def class_rows(self) -> dict[str, ClassRows]:
        """Parameters whose rows belong to classes."""
        return {"fc.weight": ClassRows(), "fc.bias": ClassRows()}

    def forward(self, maps: Sequence[Tensor], clips: int) -> Tensor:
        """Scores (B, C) of features (B, M, C', T', K)."""
        return self.fc(self.dropout(maps[-1].mean(dim=(3, 4)).mean(dim=1)))
