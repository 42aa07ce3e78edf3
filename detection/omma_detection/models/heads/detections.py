"""From scored candidate boxes to the predictions of each image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from omma.ops import batched_nms, soft_nms
from omma.registry import register
from omma.structures import Batch, Prediction
from omma_detection.models.coders.delta import clip_boxes


@dataclass(frozen=True)
class Candidates:
    """Scored boxes of a whole batch in one flat list."""

    boxes: Tensor
    """(K, 4) xyxy."""
    scores: Tensor
    """(K,)"""
    labels: Tensor
    """(K,) int64."""
    images: Tensor
    """(K,) int64: position of the image in the batch."""
    places: Tensor | None = None
    """(K,) int64: number of the prior that each comes from, for heads that go on from there."""

    def __getitem__(self, index: Tensor) -> Candidates:
        places = None if self.places is None else self.places[index]
        return Candidates(
            self.boxes[index], self.scores[index], self.labels[index], self.images[index], places
        )

    @classmethod
    def cat(cls, parts: Sequence[Candidates]) -> Candidates:
        """All parts in one list."""
        fields = (
            [p.boxes for p in parts],
            [p.scores for p in parts],
            [p.labels for p in parts],
            [p.images for p in parts],
        )
        places = [p.places for p in parts if p.places is not None]
        together = torch.cat(places) if len(places) == len(parts) else None
        boxes, scores, labels, images = (torch.cat(field) for field in fields)
        return cls(boxes, scores, labels, images, together)


@dataclass(frozen=True)
class Encoded:
    """Boxes (N, P, 4) that are decoded only where they are read: few of all get so far."""

    decode: Callable[[Tensor, Tensor], Tensor]
    """From priors (K, ...) and values (K, ...) to boxes (K, 4) xyxy, in transformed pixels."""
    priors: Tensor
    """(P, ...)"""
    values: Tensor
    """(N, P, ...)"""

    def __getitem__(self, index: tuple[Tensor, Tensor]) -> Tensor:
        image, position = index
        return self.decode(self.priors[position], self.values[image, position])


@register
@dataclass(frozen=True, kw_only=True)
class SoftNMS:
    """Lowers the scores of boxes that overlap a better one (Bodla et al., Soft-NMS, 2017)."""

    method: Literal["linear", "gaussian"] = "linear"
    """Factor 1 - IoU from the threshold on, or exp(-IoU^2 / sigma) everywhere."""
    sigma: float = 0.5
    """Of the Gaussian."""
    min_score: float = 1e-3
    """Boxes whose score falls below are dropped."""

    def __call__(self, boxes: Candidates, *, iou_threshold: float, max_keep: int) -> Candidates:
        """The ``max_keep`` best boxes of one image with their lowered scores, by falling score."""
        kept, scores = soft_nms(
            boxes.boxes,
            boxes.scores,
            boxes.labels,
            method=self.method,
            iou_threshold=iou_threshold,
            sigma=self.sigma,
            min_score=self.min_score,
            max_keep=max_keep,
        )
        return replace(boxes[kept], scores=scores)


def suppress(
    candidates: Candidates,
    num_images: int,
    *,
    iou_threshold: float,
    max_per_image: int,
    soft: SoftNMS | None = None,
) -> list[Candidates]:
    """The best boxes of each image after NMS within each (image, label), by falling score."""
    out = []
    # NMS looks at all pairs: one call for N images would take N times as long and as much memory.
    for image in range(num_images):
        own = candidates[(candidates.images == image).nonzero()[:, 0]]
        if soft is not None:
            out.append(soft(own, iou_threshold=iou_threshold, max_keep=max_per_image))
            continue
        keep = batched_nms(
            own.boxes, own.scores, own.labels, iou_threshold=iou_threshold, max_keep=max_per_image
        )
        out.append(own[keep])
    return out


def image_sizes(batch: Batch, device: torch.device) -> Tensor:
    """(N, 2) heights and widths of the images as transformed, before padding."""
    return torch.tensor(batch.sizes, device=device)


def box_scales(batch: Batch, device: torch.device) -> Tensor:
    """(N, 4) factors from original pixels to transformed ones for (x1, y1, x2, y2)."""
    return torch.tensor([meta.scale * 2 for meta in batch.metas], dtype=torch.float32, device=device)


def filter_small(candidates: Candidates, min_size: float) -> Candidates:
    """Only boxes whose width and height exceed ``min_size`` pixels."""
    size = candidates.boxes[:, 2:] - candidates.boxes[:, :2]
    return candidates[(size > min_size).all(dim=1)]


def top_candidates(scores: Tensor, threshold: float, count: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The ``count`` best (position, class) pairs of each image above a threshold.

    Args:
        scores: (N, P, C).

    Returns:
        Image, position, class and score of each pair found, (K,) each.
    """
    flat = scores.flatten(1)
    best, index = flat.topk(min(count, flat.shape[1]), dim=1)
    image, rank = (best > threshold).nonzero(as_tuple=True)
    chosen = index[image, rank]
    return image, chosen // scores.shape[2], chosen % scores.shape[2], best[image, rank]


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Which of the boxes that a dense head scores become predictions."""

    score_threshold: float = 0.05
    """Lowest class score."""
    pre_nms: int = 1000
    """Best (position, class) pairs of each level that go into NMS."""
    nms_iou: float = 0.6
    """Threshold of NMS within a class."""
    max_per_image: int = 100
    """Predictions per image."""
    clip: bool = True
    """Cut the boxes to the image."""
    soft: SoftNMS | None = None
    """Lower the scores of boxes that overlap a better one instead of dropping them."""

    def candidates(
        self,
        scores: Tensor,
        boxes: Tensor | Encoded,
        sizes: Tensor,
        quality: Tensor | None = None,
        first: int = 0,
    ) -> Candidates:
        """The best pairs of one level.

        Args:
            scores: (N, P, C) in 0..1.
            boxes: (N, P, 4) xyxy, in transformed pixels.
            sizes: (N, 2) heights and widths of the images.
            quality: (N, P), what the scores of the chosen pairs are multiplied by.
            first: number of the level's first prior, from which ``places`` count.
        """
        image, position, label, score = top_candidates(scores, self.score_threshold, self.pre_nms)
        found = boxes[image, position]
        if self.clip:
            found = clip_boxes(found, sizes[image])
        if quality is not None:
            score = score * quality[image, position]
        return Candidates(found, score, label, image, position + first)

    def candidates_at_best(self, scores: Tensor, boxes: Tensor | Encoded, sizes: Tensor) -> Candidates:
        """All pairs above the threshold at the ``pre_nms`` best positions; arguments as ``candidates``."""
        best = scores.amax(dim=2).topk(min(self.pre_nms, scores.shape[1]), dim=1).indices
        scores = scores.gather(1, best[..., None].expand(-1, -1, scores.shape[2]))
        image, rank, label = (scores > self.score_threshold).nonzero(as_tuple=True)
        found = boxes[image, best[image, rank]]
        if self.clip:
            found = clip_boxes(found, sizes[image])
        return Candidates(found, scores[image, rank, label], label, image)

    def pool(self, levels: Sequence[Candidates], batch: Batch) -> Candidates:
        """Candidates of all levels in transformed pixels -> those with area, in original pixels."""
        pool = Candidates.cat(levels)
        scale = box_scales(batch, pool.boxes.device)[pool.images]
        return filter_small(replace(pool, boxes=pool.boxes / scale), 0)

    def best(self, pool: Candidates, num_images: int) -> list[Candidates]:
        """What NMS within each class leaves of each image's boxes."""
        return suppress(
            pool, num_images, iou_threshold=self.nms_iou, max_per_image=self.max_per_image, soft=self.soft
        )

    def found(self, levels: Sequence[Candidates], batch: Batch) -> list[Candidates]:
        """Candidates of all levels in transformed pixels -> each image's best boxes in original pixels."""
        return self.best(self.pool(levels, batch), len(batch))

    def predictions(self, levels: Sequence[Candidates], batch: Batch) -> list[Prediction]:
        """As ``found``, as predictions."""
        found = self.found(levels, batch)
        return [Prediction(boxes=f.boxes, scores=f.scores, labels=f.labels) for f in found]


DEFAULT_SELECTION = Selection()
