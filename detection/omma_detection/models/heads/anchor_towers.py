"""The network of RetinaNet's head and what it predicts, whatever it learns from."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from omma.layers import NormKind, init_conv, prior_bias
from omma.structures import Batch, Prediction
from omma.structures.class_rows import ClassRows
from omma_detection.models.coders import DeltaCoder, SideCoder
from omma_detection.models.heads.dense import DenseHead, map_sizes, shared_towers
from omma_detection.models.heads.detections import Encoded, Selection, image_sizes
from omma_detection.models.heads.targets import flatten_levels
from omma_detection.models.priors import AnchorGenerator

AnchorOutputs = tuple[list[Tensor], list[Tensor]]
"""Per level: class logits (N, A * C, H, W) and box deltas (N, A * 4, H, W)."""


class AnchorTowers(DenseHead):
    """Two towers of convolutions, then class scores and deltas for A anchors at every position.

    Args:
        in_channels: channels of every level.
        channels: width of the towers.
        num_convs: convolutions in each tower.
        num_classes: C.
        anchors: the priors.
        coder: box coder.
        norm: kind of norm in the towers.
        norm_per_level: norms of their own for each level, around the same convolutions.
        selection: which boxes become predictions.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        channels: int,
        num_convs: int,
        num_classes: int,
        anchors: AnchorGenerator,
        coder: DeltaCoder | SideCoder,
        norm: NormKind | None,
        norm_per_level: bool = False,
        selection: Selection,
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.strides = anchors.strides
        self.num_classes = num_classes
        self.anchors, self.coder, self.selection = anchors, coder, selection
        self.norm_per_level = norm_per_level
        towers = len(anchors.strides) if norm_per_level else 1
        cls_towers, reg_towers = (
            shared_towers(in_channels, channels, num_convs, norm=norm, towers=towers) for _ in range(2)
        )
        self.cls_convs = cls_towers if norm_per_level else cls_towers[0]
        self.reg_convs = reg_towers if norm_per_level else reg_towers[0]
        self.retina_cls = nn.Conv2d(channels, anchors.per_position * num_classes, 3, padding=1)
        self.retina_reg = nn.Conv2d(channels, anchors.per_position * 4, 3, padding=1)
        init_conv(self, std=0.01)
        init_conv(self.retina_cls, std=0.01, bias=prior_bias(0.01))

    def class_rows(self) -> dict[str, ClassRows]:
        """Parameters whose rows belong to classes."""
        rows = ClassRows(repeats=self.anchors.per_position)
        return {f"retina_cls.{name}": rows for name in ("weight", "bias")}

    def forward(self, maps: Sequence[Tensor]) -> AnchorOutputs:
        """Levels (N, C_in, H_i, W_i) -> class logits and deltas per level."""
        logits = [self.retina_cls(tower(m)) for m, tower in zip(maps, self._towers(self.cls_convs))]
        return logits, [self.retina_reg(tower(m)) for m, tower in zip(maps, self._towers(self.reg_convs))]

    def _towers(self, towers: nn.Module) -> list[nn.Module]:
        """The tower of each level."""
        return list(towers.children()) if self.norm_per_level else [towers] * len(self.strides)

    def predict(self, outputs: AnchorOutputs, batch: Batch) -> list[Prediction]:
        """Boxes in original pixels."""
        sizes = image_sizes(batch, outputs[0][0].device)
        levels = []
        for anchors, cls, reg in zip(self.grid(outputs[0]), *outputs):
            scores = flatten_levels([cls], self.num_classes).float().sigmoid()
            boxes = Encoded(self.coder.decode, anchors, flatten_levels([reg], 4))
            levels.append(self.selection.candidates(scores, boxes, sizes))
        return self.selection.predictions(levels, batch)

    def covered(self, maps: Sequence[Tensor], batch: Batch) -> Tensor:
        """(N, P) bool: anchors whose position lies in the image."""
        return self.anchors.covered(map_sizes(maps), image_sizes(batch, maps[0].device))

    def grid(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Anchors (H * W * A, 4) of each level."""
        return self.anchors.grid(map_sizes(maps), maps[0].device)
