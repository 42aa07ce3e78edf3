"""From scored masks to the predictions of an image, without boxes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from omma.ops import masks_to_boxes, matrix_nms, pairwise_mask_iou
from omma.structures import Meta, Prediction


@dataclass(frozen=True, kw_only=True)
class MaskSelection:
    """Which of the masks that a head scores become predictions (Wang et al., SOLOv2, 2020)."""

    score_threshold: float = 0.1
    """Lowest class score."""
    mask_threshold: float = 0.5
    """Probability above which a pixel is in the mask."""
    pre_nms: int = 500
    """Best masks that go into matrix NMS."""
    method: Literal["linear", "gaussian"] = "gaussian"
    """How matrix NMS lowers scores."""
    sigma: float = 2.0
    """Of the gaussian method."""
    min_score: float = 0.05
    """Masks whose score falls below are dropped."""
    max_per_image: int = 100
    """Predictions per image."""

    def best(
        self, masks: Tensor, scores: Tensor, labels: Tensor, least_areas: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The masks of one image that are left, by falling score.

        A mask's score is its class score times the mean probability of its pixels.

        Args:
            masks: (K, h, w) probabilities.
            scores: (K,) of the classes.
            labels: (K,) int64.
            least_areas: (K,) pixels of these maps that a mask must have more of.

        Returns:
            Their index (R,) and scores (R,).
        """
        on = masks > self.mask_threshold
        area = on.sum(dim=(1, 2))
        kept = (area > least_areas).nonzero()[:, 0]
        sure = (masks[kept] * on[kept]).sum(dim=(1, 2)) / area[kept]
        score, order = (scores[kept] * sure).sort(descending=True, stable=True)
        score, kept = score[: self.pre_nms], kept[order[: self.pre_nms]]
        index, score = matrix_nms(
            pairwise_mask_iou(on[kept], on[kept]),
            score,
            labels[kept],
            method=self.method,
            sigma=self.sigma,
            min_score=self.min_score,
            max_keep=self.max_per_image,
        )
        return kept[index], score

    def prediction(
        self,
        masks: Tensor,
        scores: Tensor,
        labels: Tensor,
        *,
        stride: int,
        size: tuple[int, int],
        meta: Meta,
    ) -> Prediction:
        """Masks (R, h, w) of probabilities in original pixels, with the boxes around them.

        Args:
            masks: at a stride.
            scores: (R,)
            labels: (R,) int64.
            stride: input pixels per pixel of the masks.
            size: (H, W) of the image as transformed, before padding.
            meta: of the image.
        """
        whole = torch.zeros(0, meta.height, meta.width, dtype=torch.bool, device=masks.device)
        if len(masks):
            large = F.interpolate(masks[None], scale_factor=stride, mode="bilinear", align_corners=False)
            large = large[..., : size[0], : size[1]]
            original = (meta.height, meta.width)
            whole = F.interpolate(large, size=original, mode="bilinear", align_corners=False)[0]
            whole = whole > self.mask_threshold
        return Prediction(boxes=masks_to_boxes(whole), scores=scores, labels=labels, masks=whole)


DEFAULT_MASK_SELECTION = MaskSelection()
