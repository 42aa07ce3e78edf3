"""The contract of heads that say class and box of a region."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from omma.losses import Loss
from omma.structures import Batch
from omma_detection.models.coders.delta import clip_boxes
from omma_detection.models.heads.detections import Candidates, SoftNMS, box_scales, image_sizes, suppress

BoxOutputs = tuple[Tensor, ...]
"""Class logits (R, C + 1), background last, then what the head regresses, (R, ...) each."""


class RegionBoxHead(nn.Module, ABC):
    """Class logits and a box of R regions, trained and read.

    Args:
        in_channels: channels of a region's features.
        roi_size: their height and width.
        num_classes: C, without background.
        score_threshold: lowest score of a prediction.
        nms_iou: threshold of NMS within a class.
        soft_nms: lower the scores of overlapping boxes instead of dropping the boxes.
        max_per_image: predictions per image.

    Raises:
        ValueError: there is no class.
    """

    loss_cls: Loss

    def __init__(
        self,
        *,
        in_channels: int,
        roi_size: int,
        num_classes: int,
        score_threshold: float,
        nms_iou: float,
        soft_nms: SoftNMS | None,
        max_per_image: int,
    ) -> None:
        super().__init__()
        if num_classes < 1:
            raise ValueError(f"num_classes must be at least 1, got {num_classes}")
        self.in_channels, self.roi_size, self.num_classes = in_channels, roi_size, num_classes
        self.score_threshold, self.nms_iou, self.soft_nms = score_threshold, nms_iou, soft_nms
        self.max_per_image = max_per_image

    @abstractmethod
    def loss(self, outputs: BoxOutputs, rois: Tensor, boxes: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Losses over R sampled regions.

        Args:
            outputs: of ``forward``.
            rois: (R, 5).
            boxes: (R, 4) box of each region's object; anything for background.
            labels: (R,) class of each region's object; C for background.
        """

    @abstractmethod
    def boxes(self, outputs: BoxOutputs, rois: Tensor, sizes: Tensor) -> tuple[Tensor, Tensor | None]:
        """The boxes of regions, (R, C, 4) or (R, 1, 4), clipped to their images' ``sizes`` (N, 2); pixels.

        The second tensor, (R,) or null, is a factor for the scores.
        """

    def scores(self, logits: Tensor) -> Tensor:
        """Class logits (R, ...) -> probabilities (R, C)."""
        return logits.float().softmax(dim=1)[:, : self.num_classes]

    @torch.no_grad()
    def refine(self, outputs: BoxOutputs, rois: Tensor, labels: Tensor, sizes: Tensor) -> Tensor:
        """The box (R, 4) that each region has as an object of the class ``labels`` (R,).

        Of regions of background, label C, it is that of their best class.
        """
        best = self.scores(outputs[0]).argmax(dim=1)
        labels = torch.where(labels == self.num_classes, best, labels)
        boxes, _ = self.boxes(outputs, rois, sizes)
        return boxes[torch.arange(len(rois), device=rois.device), labels if boxes.shape[1] > 1 else 0]

    def predict(self, outputs: BoxOutputs, rois: Tensor, batch: Batch) -> list[Candidates]:
        """The detections of each image in original pixels."""
        scores, image = self.scores(outputs[0]), rois[:, 0].long()
        boxes, factor = self.boxes(outputs, rois, image_sizes(batch, rois.device))
        boxes = boxes / box_scales(batch, rois.device)[image][:, None]
        region, label = (scores > self.score_threshold).nonzero(as_tuple=True)
        chosen = boxes[region, label if boxes.shape[1] > 1 else 0]
        values = scores[region, label]
        if factor is not None:
            values = values * factor[region]
        found = Candidates(chosen, values, label, image[region])
        return suppress(
            found,
            len(batch),
            iou_threshold=self.nms_iou,
            max_per_image=self.max_per_image,
            soft=self.soft_nms,
        )


def clip_to_images(boxes: Tensor, rois: Tensor, sizes: Tensor) -> Tensor:
    """Boxes (R, ..., 4) of rois (R, 5) cut to their images' heights and widths (N, 2)."""
    return clip_boxes(boxes, sizes[rois[:, 0].long()])
