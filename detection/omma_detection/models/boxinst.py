"""BoxInst (Tian et al., BoxInst: High-Performance Instance Segmentation with Box Annotations, 2020)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from omma.backbones import Backbone
from omma.layers import NormKind
from omma.losses import Loss
from omma.model import Preprocessor
from omma.necks import Neck
from omma.ops import box_centres, rgb_to_lab
from omma.ops.precision import at_least_float32
from omma.parallel import normalizer
from omma.registry import register
from omma.structures import Batch
from omma_detection.models.condinst import CondInst
from omma_detection.models.fcos import FCOSHead
from omma_detection.models.heads.dynamic_masks import MASK_STRIDE, DynamicMaskHead, MaskOutputs, Priors
from omma_detection.models.heads.targets import flatten_levels

_BAD_ROWS = 10
"""Rows at the bottom of an image that say nothing of colours: some of COCO's images end in a border."""


@register
class BoxInst(CondInst):
    """The network of CondInst, whose masks learn from boxes.

    Args:
        backbone: image to feature maps.
        neck: feature maps to pyramid.
        bbox_head: the point head; its ``kernel_channels`` are the weights that ``mask_head`` takes.
        mask_head: the features that masks are drawn on, and what masks learn from.
        preprocessor: images to network input.
    """

    mask_head: BoxInstMaskHead

    def __init__(
        self,
        *,
        backbone: Backbone,
        neck: Neck,
        bbox_head: FCOSHead,
        mask_head: BoxInstMaskHead,
        preprocessor: Preprocessor,
    ) -> None:
        super().__init__(
            backbone=backbone, neck=neck, bbox_head=bbox_head, mask_head=mask_head, preprocessor=preprocessor
        )

    def at_step(self, step: int) -> None:
        """Masks learn little from colours in the beginning."""
        self.mask_head.step = step


@register
class BoxInstMaskHead(DynamicMaskHead):
    """Masks that span their boxes, and whose neighbouring pixels of like colour are alike.

    Args:
        in_channels: channels of every level.
        channels: width of the layers that make the features.
        num_convs: convolutions after the levels are joined.
        levels: finest levels that are joined.
        stride: input pixels per position of the finest level.
        features: channels of the features that masks are drawn on.
        mask_channels: width of the network that draws masks.
        mask_layers: number of its layers.
        mask_loss: between the sides of a box and a mask's largest logits along each column and row.
        max_masks: points of each image that enter the loss: the best of each object, as many of each.
        dilation: distance of the eight neighbours of a pixel, in pixels of a mask.
        likeness: from which on two colours are alike, exp(-distance / 2) in CIELAB.
        warmup: steps over which the share of colours in the loss grows to 1.
        norm: kind of norm of the features' layers.
        threshold: probability above which a pixel is in the mask.
    """

    def __init__(
        self,
        *,
        in_channels: int = 256,
        channels: int = 128,
        num_convs: int = 4,
        levels: int = 3,
        stride: int = 8,
        features: int = 16,
        mask_channels: int = 16,
        mask_layers: int = 3,
        mask_loss: Loss,
        max_masks: int = 64,
        dilation: int = 2,
        likeness: float = 0.3,
        warmup: int = 10000,
        norm: NormKind = "bn",
        threshold: float = 0.5,
    ) -> None:
        super().__init__(
            in_channels=in_channels,
            channels=channels,
            num_convs=num_convs,
            levels=levels,
            stride=stride,
            features=features,
            mask_channels=mask_channels,
            mask_layers=mask_layers,
            mask_loss=mask_loss,
            norm=norm,
            threshold=threshold,
        )
        self.max_masks, self.dilation, self.likeness, self.warmup = max_masks, dilation, likeness, warmup
        self.step = 0

    def centres(self, batch: Batch) -> list[Tensor]:
        """The middle of the pixels that the boxes touch."""
        corners = [sample["boxes"].as_subclass(Tensor).float().floor() for sample in batch.samples]
        return [box_centres(each) for each in corners]

    def loss(self, outputs: MaskOutputs, priors: Priors, owners: Tensor, batch: Batch) -> dict[str, Tensor]:
        """``loss_mask_project`` and ``loss_mask_pairwise``."""
        image, prior = self._best(outputs, owners)
        logits = at_least_float32(self.logits(outputs, priors, image, prior))
        size = (logits.shape[1], logits.shape[2])
        filled = torch.cat(
            [
                box_masks(sample["boxes"].as_subclass(Tensor), size)[owners[i, prior[image == i]]]
                for i, sample in enumerate(batch.samples)
            ]
        )
        alike = like_neighbours(batch.images, size, dilation=self.dilation, likeness=self.likeness)
        pairs = alike[image] & filled[:, None]  # (R, 8, H, W)
        total = normalizer(len(logits))
        project = [
            self.mask_loss(logits.amax(dim=axis), filled.any(dim=axis), avg_factor=total) for axis in (1, 2)
        ]
        apart = (unlikeness(logits, self.dilation) * pairs).sum() / normalizer(pairs.sum())
        share = min(self.step / self.warmup, 1.0)
        return {"loss_mask_project": project[0] + project[1], "loss_mask_pairwise": share * apart}

    @torch.no_grad()
    def _best(self, outputs: MaskOutputs, owners: Tensor) -> tuple[Tensor, Tensor]:
        """Images and numbers (R,) of the points that learn masks, image by image."""
        image, prior = (owners >= 0).nonzero(as_tuple=True)
        logits = flatten_levels(outputs.points.logits, outputs.points.logits[0].shape[1])[image, prior]
        centerness = flatten_levels(outputs.points.centerness, 1)[image, prior, 0]
        score = logits.float().sigmoid().amax(dim=1) * centerness.float().sigmoid()
        order = score.argsort(descending=True)
        objects = image * (owners.max() + 1).clamp(min=1) + owners[image, prior]
        order = order[objects[order].argsort(stable=True)]
        _, inverse, counts = objects[order].unique_consecutive(return_inverse=True, return_counts=True)
        first = counts.cumsum(0) - counts
        rank = torch.arange(len(order), device=order.device) - first[inverse]
        found = image[order][first].bincount(minlength=len(owners))  # objects with points in each image
        quota = (self.max_masks // found.clamp(min=1)).clamp(min=1)
        kept = order[rank < quota[image[order]]]
        return image[kept], prior[kept]


def box_masks(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Boxes (G, 4) xyxy, filled, at ``MASK_STRIDE``: (G, *size) bool.

    As for masks that is the pixel in the middle of each cell; those that a box's sides touch are in it.
    """
    y, x = (torch.arange(n, device=boxes.device) * MASK_STRIDE + MASK_STRIDE // 2 for n in size)
    x1, y1, x2, y2 = boxes.floor()[..., None].unbind(1)  # (G, 1) each
    rows, columns = (y >= y1) & (y <= y2), (x >= x1) & (x <= x2)
    return rows[:, :, None] & columns[:, None]


@torch.no_grad()
def like_neighbours(
    images: Sequence[Tensor], size: tuple[int, int], *, dilation: int, likeness: float
) -> Tensor:
    """Whether each of a pixel's eight neighbours has a like colour, at ``MASK_STRIDE``: (N, 8, *size) bool.

    Neighbours outside of the image have none. The images are uint8 RGB, (3, H_i, W_i).
    """
    colours = torch.zeros(len(images), 3, *size, device=images[0].device)
    inside = torch.zeros(len(images), 1, *size, device=images[0].device)
    for colour, known, picture in zip(colours, inside, images):
        height, width = picture.shape[-2:]
        small = F.avg_pool2d(picture.float(), MASK_STRIDE, ceil_mode=True, count_include_pad=False)
        colour[:, : small.shape[1], : small.shape[2]] = rgb_to_lab(small.floor() / 255)
        rows = height - _BAD_ROWS * height // (size[0] * MASK_STRIDE)
        cells = [(n + MASK_STRIDE // 2 - 1) // MASK_STRIDE for n in (rows, width)]  # with their middle in it
        known[:, : cells[0], : cells[1]] = 1
    distance = (colours[:, :, None] - neighbours(colours, dilation)).norm(dim=1)
    return ((-distance / 2).exp() >= likeness) & (neighbours(inside, dilation)[:, 0] > 0)


def unlikeness(logits: Tensor, dilation: int) -> Tensor:
    """-log of the probability that a pixel and its neighbour are both in a mask or both not: (R, 8, H, W).

    ``logits`` are (R, H, W).
    """
    on, off = F.logsigmoid(logits)[:, None], F.logsigmoid(-logits)[:, None]
    both = on + neighbours(on, dilation)[:, 0]
    neither = off + neighbours(off, dilation)[:, 0]
    return -torch.logaddexp(both, neither)


def neighbours(maps: Tensor, dilation: int) -> Tensor:
    """The eight neighbours of each position of maps (N, C, H, W), zero outside of them: (N, C, 8, H, W)."""
    height, width = maps.shape[-2:]
    padded = F.pad(maps, (dilation,) * 4)
    steps = (0, dilation, 2 * dilation)
    starts = [(y, x) for y in steps for x in steps if (y, x) != (dilation, dilation)]
    return torch.stack([padded[..., y : y + height, x : x + width] for y, x in starts], dim=2)
