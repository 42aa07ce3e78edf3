"""Mask of a region (He et al., Mask R-CNN, 2017)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from omma.layers import Carafe, NormKind, init_conv
from omma.losses import Loss
from omma.ops import roi_align
from omma.parallel import normalizer
from omma.registry import register
from omma.structures import Batch, Prediction
from omma.structures.class_rows import ClassRows
from omma_detection.models.heads.dense import conv_tower
from omma_detection.models.heads.roi_extractor import boxes_to_rois

_LEAST_SIDE = 1e-4
"""Pixels; a box that was clipped to a line covers no pixel centre."""


@register
class MaskHead(nn.Module):
    """Four convolutions, an upsampling and one mask per class.

    Args:
        in_channels: channels of a region's features.
        channels: width of the convolutions.
        num_convs: number of convolutions.
        num_classes: C.
        loss: on the logits of the object's class.
        norm: kind of norm in the convolutions.
        upsample: how the grid is doubled: a transposed convolution and ReLU, or CARAFE.
        threshold: probability from which a pixel is in the mask.
    """

    def __init__(
        self,
        *,
        in_channels: int = 256,
        channels: int = 256,
        num_convs: int = 4,
        num_classes: int,
        loss: Loss,
        norm: NormKind | None = None,
        upsample: Literal["deconv", "carafe"] = "deconv",
        threshold: float = 0.5,
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.num_classes = num_classes
        self.mask_loss = loss
        self.threshold = threshold
        self.convs = conv_tower(in_channels, channels, num_convs, norm=norm)
        self.conv_logits = nn.Conv2d(channels, num_classes, 1)
        if upsample == "deconv":
            self.upsample = nn.ConvTranspose2d(channels, channels, 2, stride=2)
        init_conv(self, kind="kaiming")
        if upsample == "carafe":
            self.upsample = Carafe(channels)

    def class_rows(self) -> dict[str, ClassRows]:
        """Parameters whose rows belong to classes."""
        return {f"conv_logits.{name}": ClassRows() for name in ("weight", "bias")}

    def forward(self, features: Tensor) -> Tensor:
        """Features (R, C_in, S, S) -> mask logits (R, C, 2 S, 2 S)."""
        for conv in self.convs:
            features = conv(features)
        doubled = self.upsample(features)
        return self.conv_logits(doubled if isinstance(self.upsample, Carafe) else doubled.relu())

    def loss(self, logits: Tensor, labels: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """``loss_mask`` of logits (R, C, M, M) against 0/1 targets (R, M, M) of the labelled classes (R,)."""
        chosen = logits[torch.arange(len(labels), device=labels.device), labels]
        count = normalizer(targets.numel())
        return {"loss_mask": self.mask_loss(chosen, targets, avg_factor=count)}


def crop_masks(masks: Tensor, boxes: Tensor, index: Tensor, size: int) -> Tensor:
    """The part of masks (G, H, W) in each box (R, 4), as 0/1 of (R, size, size).

    ``index`` (R,) says which mask each box is cut from.
    """
    if not len(boxes):
        return boxes.new_zeros(0, size, size)
    rois = torch.cat([index[:, None].to(boxes.dtype), boxes], dim=1)
    cut = roi_align(masks[:, None].to(boxes.dtype), rois, size=size, scale=1.0)[:, 0]
    return (cut >= 0.5).to(boxes.dtype)


def scaled_rois(predictions: Sequence[Prediction], batch: Batch) -> Tensor:
    """The boxes of predictions in the pixels of the transformed images, (R, 5) rows of (image, xyxy)."""
    scales = [p["boxes"].new_tensor(meta.scale * 2) for p, meta in zip(predictions, batch.metas)]
    return boxes_to_rois([p["boxes"] * scale for p, scale in zip(predictions, scales)])


def paste_predictions(
    probabilities: Tensor, predictions: Sequence[Prediction], batch: Batch, threshold: float
) -> None:
    """Give predictions the masks that their regions have, (R, C, M, M) in 0..1, of their classes.

    With C of 1 that is the mask of any class.
    """
    labels = torch.cat([p["labels"] for p in predictions])
    row = torch.arange(len(labels), device=labels.device)
    chosen = probabilities[row, labels if probabilities.shape[1] > 1 else 0]
    split = chosen.split([len(p["labels"]) for p in predictions])
    for prediction, masks, meta in zip(predictions, split, batch.metas):
        prediction["masks"] = paste_masks(masks, prediction["boxes"], (meta.height, meta.width), threshold)


def paste_masks(probabilities: Tensor, boxes: Tensor, size: tuple[int, int], threshold: float) -> Tensor:
    """Region masks (R, M, M) laid into an image of ``size`` (H, W): (R, H, W) bool.

    Each pixel centre takes the bilinear value at its place in the box (R, 4), zero outside.
    """
    height, width = size
    out = torch.zeros(len(boxes), height, width, dtype=torch.bool, device=boxes.device)
    x = torch.arange(width, device=boxes.device) + 0.5
    y = torch.arange(height, device=boxes.device) + 0.5
    # In chunks: the float images of a hundred large masks would not fit where the boolean ones do.
    per_chunk = max(1, 2**26 // max(height * width, 1))
    for start in range(0, len(boxes), per_chunk):
        part = slice(start, start + per_chunk)
        x1, y1, x2, y2 = boxes[part, :, None].unbind(1)  # (K, 1) each
        grid_x = (x - x1) / (x2 - x1).clamp(min=_LEAST_SIDE) * 2 - 1  # (K, W)
        grid_y = (y - y1) / (y2 - y1).clamp(min=_LEAST_SIDE) * 2 - 1  # (K, H)
        shape = (len(grid_x), height, width)
        grid = torch.stack([grid_x[:, None].expand(shape), grid_y[:, :, None].expand(shape)], dim=-1)
        values = F.grid_sample(probabilities[part, None], grid, align_corners=False)[:, 0]
        out[part] = values >= threshold
    return out
