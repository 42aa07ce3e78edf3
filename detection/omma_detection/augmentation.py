"""Detections in several views of an image become one list."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from omma.augmentation import Merge, Mirror
from omma.ops import pairwise_iou
from omma.registry import register
from omma.structures import Meta, Prediction
from omma_detection.models.heads.detections import Candidates, SoftNMS, suppress


@register
class MergeDetections(Merge):
    """The detections of all views go through NMS once more.

    Where there are masks, the mask of a box that stays is the mean of what the views say, each weighted by
    its score: from each view counts the box of the same class that overlaps it most, from ``nms_iou`` on.

    Args:
        nms_iou: threshold of NMS within a class.
        max_per_image: predictions per image.
        soft: lower the scores of boxes that overlap a better one instead of dropping them.
    """

    def __init__(
        self, *, nms_iou: float = 0.5, max_per_image: int = 100, soft: SoftNMS | None = None
    ) -> None:
        if not 0 <= nms_iou <= 1 or max_per_image < 1:
            raise ValueError(
                f"expected nms_iou in 0..1 and max_per_image from 1 on, got {nms_iou} and {max_per_image}"
            )
        self.nms_iou, self.max_per_image, self.soft = nms_iou, max_per_image, soft

    def upright(self, seen: Prediction, mirror: Mirror, meta: Meta) -> Prediction:
        """Boxes and masks mirrored back within the original image."""
        x1, y1, x2, y2 = seen["boxes"].unbind(1)
        axes: list[int] = []
        if mirror in ("horizontal", "both"):
            x1, x2 = meta.width - x2, meta.width - x1
            axes.append(2)
        if mirror in ("vertical", "both"):
            y1, y2 = meta.height - y2, meta.height - y1
            axes.append(1)
        out: Prediction = {**seen, "boxes": torch.stack([x1, y1, x2, y2], dim=1)}
        if "masks" in seen:
            out["masks"] = seen["masks"].flip(axes)
        return out

    def __call__(self, seen: Sequence[Prediction]) -> Prediction:
        """The detections that stay, by falling score."""
        boxes, scores, labels = (
            torch.cat([view[key] for view in seen]) for key in ("boxes", "scores", "labels")
        )
        pool = Candidates(boxes, scores, labels, torch.zeros_like(labels))
        kept = suppress(
            pool, 1, iou_threshold=self.nms_iou, max_per_image=self.max_per_image, soft=self.soft
        )[0]
        out = Prediction(boxes=kept.boxes, scores=kept.scores, labels=kept.labels)
        if all("masks" in view for view in seen):
            out["masks"] = self._masks(kept, seen)
        return out

    def _masks(self, kept: Candidates, seen: Sequence[Prediction]) -> Tensor:
        height, width = seen[0]["masks"].shape[1:]
        total = kept.boxes.new_zeros(len(kept.boxes), height, width)
        weight = kept.boxes.new_zeros(len(kept.boxes))
        for view in seen:
            if not len(view["boxes"]):
                continue
            alike = kept.labels[:, None] == view["labels"]
            overlap, nearest = (pairwise_iou(kept.boxes, view["boxes"]) * alike).max(dim=1)
            own = view["scores"][nearest] * ((overlap >= self.nms_iou) & (overlap > 0))
            # One object at a time would be slow, all views at once would need much memory.
            total += own[:, None, None] * view["masks"][nearest]
            weight += own
        return total >= 0.5 * weight.clamp(min=torch.finfo(weight.dtype).tiny)[:, None, None]
