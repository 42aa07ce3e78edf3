"""Masks that are sums of prototypes (Bolya et al., YOLACT, 2019), and what both learn from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from omma.layers import init_conv
from omma.losses import Loss
from omma.parallel import normalizer
from omma.registry import register
from omma.structures import Batch, Sample
from omma.structures.class_rows import ClassRows
from omma_detection.models.heads.region import bitmaps

Size = tuple[int, int]
"""(H, W)"""


@dataclass(frozen=True)
class Positives:
    """The positive anchors of one image."""

    coefficients: Tensor
    """(R, M)"""
    objects: Tensor
    """(R,) int64: the object of each."""
    boxes: Tensor
    """(R, 4) its box, xyxy."""

    def some(self, most: int) -> Positives:
        """At most so many, drawn at random."""
        if len(self.objects) <= most:
            return self
        drawn = torch.randperm(len(self.objects), device=self.objects.device)[:most]
        return Positives(self.coefficients[drawn], self.objects[drawn], self.boxes[drawn])


@register
class YOLACTProtonet(nn.Module):
    """Prototypes at twice the size of the finest level, and an aid to training that says where classes are.

    Row c of the aid, ``segm_branch``, learns class c. In files of OpenMMLab it is the row before, and class 0
    in the last one; predictions don't hang on it.

    Args:
        in_channels: channels of the level.
        channels: width of the layers.
        num_prototypes: M.
        num_classes: C.
        mask_loss_weight: factor of the mask loss.
        segm_loss: on the logits of classes at every position of the level.
        max_masks: masks of an image that are trained on; of more, some drawn at random.
        mask_threshold: probability above which a pixel is in the mask.
    """

    def __init__(
        self,
        *,
        in_channels: int = 256,
        channels: int = 256,
        num_prototypes: int = 32,
        num_classes: int,
        mask_loss_weight: float = 6.125,
        segm_loss: Loss,
        max_masks: int = 100,
        mask_threshold: float = 0.5,
    ) -> None:
        super().__init__()
        self.num_prototypes, self.num_classes = num_prototypes, num_classes
        self.mask_loss_weight, self.segm_loss = mask_loss_weight, segm_loss
        self.max_masks, self.mask_threshold = max_masks, mask_threshold
        self.protonet = nn.Sequential(
            *(layer for width in (in_channels, channels, channels) for layer in _conv(width, channels, 3)),
            nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False),
            nn.ReLU(inplace=True),
            *_conv(channels, channels, 3),
            *_conv(channels, num_prototypes, 1),
        )
        self.segm_branch = nn.ModuleDict({"segm_conv": nn.Conv2d(in_channels, num_classes, 1)})
        init_conv(self, kind="xavier")

    def class_rows(self) -> dict[str, ClassRows]:
        """Parameters whose rows belong to classes."""
        return {f"segm_branch.segm_conv.{name}": ClassRows() for name in ("weight", "bias")}

    def forward(self, m: Tensor) -> Tensor:
        """The finest level (N, C_in, H, W) -> prototypes (N, M, 2 H, 2 W)."""
        return self.protonet(m)

    def masks(self, prototypes: Tensor, coefficients: Tensor) -> Tensor:
        """Mask logits (H, W, R) of the prototypes (M, H, W) of an image under coefficients (R, M)."""
        return torch.einsum("mhw,rm->hwr", prototypes, coefficients)

    def losses(self, m: Tensor, found: Sequence[Positives], batch: Batch, padded: Size) -> dict[str, Tensor]:
        """``loss_mask`` and ``loss_segm`` of the finest level of images padded to (H, W)."""
        prototypes, segm = self(m), self.segm_branch["segm_conv"](m)
        totals, count, areas = [], 0, torch.zeros_like(segm)
        for i, (sample, positives) in enumerate(zip(batch.samples, found)):
            own = positives.some(self.max_masks)
            count += len(own.objects)
            totals.append(self._mask_loss(prototypes[i], own, sample, padded))
            small = resized(bitmaps(sample), padded, (segm.shape[2], segm.shape[3]))
            labels = sample["labels"][:, None, None].expand_as(small)
            areas[i].scatter_reduce_(0, labels, small.to(segm.dtype), "amax")
        return {
            "loss_mask": self.mask_loss_weight * torch.stack(totals).sum() / normalizer(count),
            "loss_segm": self.segm_loss(segm, areas, avg_factor=segm[:, 0].numel()),
        }

    def _mask_loss(self, prototypes: Tensor, own: Positives, sample: Sample, padded: Size) -> Tensor:
        """Sum over masks of the mean cross-entropy in their objects' boxes, over the share that a box has."""
        logits = self.masks(prototypes, own.coefficients).permute(2, 0, 1).float()
        size = (logits.shape[1], logits.shape[2])
        targets = resized(bitmaps(sample), padded, size)[own.objects].to(logits.dtype)
        entropy = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
        share = (own.boxes[:, 2:] - own.boxes[:, :2]).prod(dim=1) / (padded[0] * padded[1])
        return (crop(entropy, own.boxes, padded).mean(dim=(1, 2)) / share).sum()


def crop(masks: Tensor, boxes: Tensor, padded: Size) -> Tensor:
    """Masks (R, H, W) of images padded to a size, zero more than a pixel away from the boxes (R, 4) there."""
    height, width = masks.shape[-2:]
    low, high = (boxes * boxes.new_tensor([width / padded[1], height / padded[0]] * 2)).split(2, dim=1)
    x, y = (torch.arange(n, device=masks.device) for n in (width, height))
    columns = (x >= low[:, :1] - 1) & (x < high[:, :1] + 1)
    rows = (y >= low[:, 1:] - 1) & (y < high[:, 1:] + 1)
    return masks * (rows[:, :, None] & columns[:, None])


def resized(masks: Tensor, padded: Size, size: Size) -> Tensor:
    """Masks (G, h, w) padded to (H, W) and bilinearly brought to ``size``: (G, *size) bool."""
    if not len(masks):
        return masks.new_zeros(0, *size, dtype=torch.bool)
    whole = F.pad(masks, (0, padded[1] - masks.shape[2], 0, padded[0] - masks.shape[1])).float()
    return F.interpolate(whole[None], size=size, mode="bilinear", align_corners=False)[0] > 0.5


def _conv(in_channels: int, channels: int, kernel: int) -> tuple[nn.Module, nn.Module]:
    return nn.Conv2d(in_channels, channels, kernel, padding=kernel // 2), nn.ReLU(inplace=True)
