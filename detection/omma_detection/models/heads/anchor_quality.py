"""Heads of one anchor per position that also say how good their boxes are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from omma.layers import NormKind, Scale, init_conv, prior_bias
from omma.structures import Batch, Prediction
from omma.structures.class_rows import ClassRows
from omma_detection.models.coders import DeltaCoder
from omma_detection.models.heads.dense import DenseHead, conv_tower, map_sizes
from omma_detection.models.heads.detections import Encoded, Selection, image_sizes
from omma_detection.models.heads.targets import flatten_levels
from omma_detection.models.priors import AnchorGenerator


class QualityOutputs(NamedTuple):
    """Raw maps per level."""

    logits: list[Tensor]
    """(N, C, H, W)"""
    deltas: list[Tensor]
    """(N, 4, H, W)"""
    quality: list[Tensor]
    """(N, 1, H, W) logits."""


class AnchorQualityHead(DenseHead):
    """Two towers, then class scores, deltas and a quality for the one anchor at every position.

    Args:
        in_channels: channels of every level.
        channels: width of the towers.
        num_convs: convolutions in each tower.
        num_classes: C.
        anchors: the priors.
        coder: box coder.
        quality: what OpenMMLab's checkpoints call the quality, ``centerness`` or ``iou``.
        norm: kind of norm in the towers.
        kernel_size: of the last convolutions.
        deform_first: the towers' first convolutions are deformable.
        selection: which boxes become predictions.

    Raises:
        ValueError: there is more than one anchor per position.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        channels: int,
        num_convs: int,
        num_classes: int,
        anchors: AnchorGenerator,
        coder: DeltaCoder,
        quality: str,
        norm: NormKind | None,
        kernel_size: int = 3,
        deform_first: bool = False,
        selection: Selection,
    ) -> None:
        super().__init__()
        if anchors.per_position != 1:
            raise ValueError(f"anchors must be one per position, got {anchors.per_position}")
        self.in_channels = in_channels
        self.strides = anchors.strides
        self.num_classes = num_classes
        self.anchors, self.coder, self.selection = anchors, coder, selection
        deform: dict[int, Literal[1, 2]] | None = {0: 1} if deform_first else None
        self.cls_convs = conv_tower(in_channels, channels, num_convs, norm=norm, deform=deform)
        self.reg_convs = conv_tower(in_channels, channels, num_convs, norm=norm, deform=deform)
        pad = kernel_size // 2
        self.atss_cls = nn.Conv2d(channels, num_classes, kernel_size, padding=pad)
        self.atss_reg = nn.Conv2d(channels, 4, kernel_size, padding=pad)
        self.quality_name = f"atss_{quality}"
        self.add_module(self.quality_name, nn.Conv2d(channels, 1, kernel_size, padding=pad))
        self.scales = nn.ModuleList(Scale() for _ in anchors.strides)
        init_conv(self, std=0.01)
        init_conv(self.atss_cls, std=0.01, bias=prior_bias(0.01))

    def class_rows(self) -> dict[str, ClassRows]:
        """Parameters whose rows belong to classes."""
        return {f"atss_cls.{name}": ClassRows() for name in ("weight", "bias")}

    def forward(self, maps: Sequence[Tensor]) -> QualityOutputs:
        """Levels (N, C_in, H_i, W_i) -> class logits, deltas and quality logits per level."""
        outputs = QualityOutputs([], [], [])
        quality = getattr(self, self.quality_name)
        for m, scale in zip(maps, self.scales):
            cls, reg = self.cls_convs(m), self.reg_convs(m)
            outputs.logits.append(self.atss_cls(cls))
            outputs.deltas.append(scale(self.atss_reg(reg)).float())
            outputs.quality.append(quality(reg))
        return outputs

    def predict(self, outputs: QualityOutputs, batch: Batch) -> list[Prediction]:
        """Boxes in original pixels, scored by class probability times quality."""
        sizes = image_sizes(batch, outputs.logits[0].device)
        levels = []
        for anchors, cls, reg, quality in zip(self.grid(outputs.logits), *outputs):
            scores = flatten_levels([cls], self.num_classes).float().sigmoid()
            boxes = Encoded(self.coder.decode, anchors, flatten_levels([reg], 4))
            good = flatten_levels([quality], 1)[..., 0].float().sigmoid()
            levels.append(self.selection.candidates(scores, boxes, sizes, good))
        return self.selection.predictions(levels, batch)

    def grid(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Anchors (H * W, 4) of each level."""
        return self.anchors.grid(map_sizes(maps), maps[0].device)

    def covered(self, maps: Sequence[Tensor], batch: Batch) -> Tensor:
        """(N, P) bool: anchors whose position lies in the image."""
        return self.anchors.covered(map_sizes(maps), image_sizes(batch, maps[0].device))

    def decode_all(self, outputs: QualityOutputs) -> tuple[Tensor, Tensor]:
        """Anchors (P, 4) and the boxes (N, P, 4) that are predicted from them."""
        anchors = torch.cat(self.grid(outputs.logits))
        return anchors, self.coder.decode(anchors, flatten_levels(outputs.deltas, 4))
