"""What the heads share that see an image as grids of cells (Wang et al., SOLO, 2019; SOLOv2, 2020)."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from omma.losses import Loss
from omma.ops import mask_centres
from omma.parallel import normalizer
from omma.structures import Batch, Prediction
from omma.structures.class_rows import ClassRows
from omma_detection.models.assigners import CellAssignment, CenterCellAssigner
from omma_detection.models.heads.dense import DenseHead
from omma_detection.models.heads.mask_selection import MaskSelection
from omma_detection.models.heads.region import bitmaps
from omma_detection.models.heads.targets import flatten_levels
from omma_detection.models.objects import Objects, pad_objects

MASK_STRIDE = 4
"""Input pixels per pixel of the masks that are predicted."""


@dataclass(frozen=True)
class Labelled:
    """The objects of a batch and their cells."""

    objects: Objects
    cells: CellAssignment


class CellHead(DenseHead):
    """Cells that say which class of object has its centre in them, and which mask that object has.

    Args:
        in_channels: channels of every level.
        strides: of the levels that come in.
        num_classes: C.
        assigner: the grids, and which cells are objects.
        cls_loss: over all cells, labels with C as background.
        mask_loss: on the masks of cells with an object.
        selection: which masks become predictions.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        strides: tuple[int, ...],
        num_classes: int,
        assigner: CenterCellAssigner,
        cls_loss: Loss,
        mask_loss: Loss,
        selection: MaskSelection,
    ) -> None:
        super().__init__()
        if len(assigner.grids) != len(strides) or len(strides) < 3:
            raise ValueError(f"{len(assigner.grids)} grids for {len(strides)} strides; need three or more")
        if strides[0] != MASK_STRIDE:
            raise ValueError(f"the first stride must be {MASK_STRIDE}, got {strides[0]}")
        self.in_channels, self.strides, self.num_classes = in_channels, strides, num_classes
        self.assigner, self.cls_loss, self.mask_loss = assigner, cls_loss, mask_loss
        self.selection = selection
        self.level_strides = (strides[1], *strides[1:-1], strides[-2])
        """Of the maps of ``level_maps``."""

    def class_rows(self) -> dict[str, ClassRows]:
        """Parameters whose rows belong to classes."""
        return {f"conv_cls.{name}": ClassRows() for name in ("weight", "bias")}

    def assign(self, batch: Batch, padded: tuple[int, int], device: torch.device) -> Labelled:
        """The objects of a batch whose images were padded to (H, W), and the cells that have them."""
        objects = pad_objects(batch.samples, device)
        centres = torch.full_like(objects.boxes[..., :2], torch.nan)
        for row, sample in zip(centres, batch.samples):
            masks = bitmaps(sample)
            row[: len(masks)] = mask_centres(masks)
        return Labelled(objects, self.assigner(objects.boxes, centres, padded))

    def class_loss(self, logits: Sequence[Tensor], labelled: Labelled) -> Tensor:
        """``loss_cls`` of logits (N, C, S_i, S_i) for each grid, averaged over cells with an object."""
        owners = labelled.cells.owners
        labels = torch.where(owners >= 0, labelled.objects.of(owners)[1], self.num_classes)
        flat = flatten_levels(logits, self.num_classes).flatten(0, 1)
        return self.cls_loss(flat, labels.flatten(), avg_factor=normalizer((owners >= 0).sum() + 1))

    @abstractmethod
    def masks_at(self, outputs: Any, image: int, cells: Tensor) -> Tensor:
        """Probabilities (K, H, W) at ``MASK_STRIDE`` of the masks of an image's cells (K,), which rise."""

    def masks_of_scored(self, outputs: Any, scores: Sequence[Tensor], batch: Batch) -> list[Prediction]:
        """Predictions in original pixels, of scores in 0..1 for each grid (N, C, S_i, S_i)."""
        flat = flatten_levels(scores, self.num_classes)
        sides = torch.tensor(self.assigner.grids, device=flat.device).square()
        least = torch.tensor(self.level_strides, device=flat.device).repeat_interleave(sides)
        predictions = []
        for i, (own, size, meta) in enumerate(zip(flat, batch.sizes, batch.metas)):
            cell, label = (own > self.selection.score_threshold).nonzero(as_tuple=True)
            masks = self.masks_at(outputs, i, cell)
            kept, score = self.selection.best(masks, own[cell, label], label, least[cell])
            predictions.append(
                self.selection.prediction(
                    masks[kept], score, label[kept], stride=MASK_STRIDE, size=size, meta=meta
                )
            )
        return predictions


def level_maps(maps: Sequence[Tensor]) -> list[Tensor]:
    """The levels, the finest at the size of the second and the coarsest at that of the one before it."""
    sizes = [maps[1].shape[-2:], *(m.shape[-2:] for m in maps[1:-1]), maps[-2].shape[-2:]]
    return [
        m if m.shape[-2:] == size else F.interpolate(m, size=size, mode="bilinear", align_corners=False)
        for m, size in zip(maps, sizes)
    ]


def coordinates(maps: Tensor) -> Tensor:
    """(N, 2, H, W): x and y of each position of maps (N, C, H, W), from -1 to 1 across them."""
    y, x = (torch.linspace(-1, 1, n, device=maps.device, dtype=maps.dtype) for n in maps.shape[-2:])
    grid = torch.stack(torch.meshgrid(x, y, indexing="xy"))
    return grid.expand(len(maps), -1, -1, -1)


def peaks(scores: Tensor) -> Tensor:
    """Scores (N, C, S, S), zero where a cell above, to the left or between both scores more."""
    best = F.max_pool2d(scores, 2, stride=1, padding=1)[..., :-1, :-1]
    return scores * (best == scores)


def shrink(masks: Tensor, stride: int, size: tuple[int, int]) -> Tensor:
    """Masks (G, H, W) at a stride, padded to ``size``: (G, *size) bool.

    As bilinear interpolation has it, that is half or more of the four pixels in the middle of each cell.
    """
    height, width = (n * stride for n in size)
    padded = F.pad(masks, (0, width - masks.shape[2], 0, height - masks.shape[1]))
    middle = (stride // 2 - 1, stride // 2)
    return torch.stack([padded[:, y::stride, x::stride] for y in middle for x in middle]).sum(dim=0) >= 2
