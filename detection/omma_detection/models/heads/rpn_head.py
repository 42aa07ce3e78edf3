"""Region proposal head (Ren et al., Faster R-CNN, 2015)."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from omma.layers import init_conv
from omma.losses import Loss
from omma.parallel import normalizer
from omma.registry import register
from omma.structures import Batch, Prediction
from omma_detection.models.assigners import MaxIoUAssigner
from omma_detection.models.coders.delta import DeltaCoder, clip_boxes
from omma_detection.models.heads.dense import DenseHead, conv_tower
from omma_detection.models.heads.detections import (
    Candidates,
    box_scales,
    filter_small,
    image_sizes,
    suppress,
)
from omma_detection.models.heads.targets import draw, flatten_levels, match
from omma_detection.models.priors import AnchorGenerator
from omma_detection.models.samplers import BoxSampler

RPNOutputs = tuple[list[Tensor], list[Tensor]]
"""Per level: objectness logits (N, A, H, W) and box deltas (N, 4 A, H, W)."""


class ProposalHead(DenseHead):
    """A dense head whose boxes, of no class, are the proposals of a second stage."""

    def outputs(self, maps: Sequence[Tensor], batch: Batch) -> Any:
        """What ``forward`` gives, for heads that need more of the batch than its levels (N, C, H_i, W_i)."""
        return self(maps)

    @abstractmethod
    def propose(self, outputs: Any, batch: Batch, *, training: bool) -> list[Candidates]:
        """Scored boxes of each image, in transformed pixels, by falling score.

        ``training`` says whether the limits of training hold or those of tests.
        """

    def predict(self, outputs: Any, batch: Batch) -> list[Prediction]:
        """Proposals in original pixels, all with label 0."""
        found = self.propose(outputs, batch, training=False)
        return [
            Prediction(boxes=f.boxes / scale, scores=f.scores, labels=torch.zeros_like(f.labels))
            for f, scale in zip(found, box_scales(batch, found[0].boxes.device))
        ]


@register
class RPNHead(ProposalHead):
    """3x3 convolutions, then objectness and box deltas for A anchors at every position.

    Args:
        in_channels: channels of every level.
        channels: width of the hidden convolutions.
        num_convs: how many.
        anchors: the priors.
        coder: box coder.
        assigner: which anchors are objects.
        sampler: which anchors enter the loss.
        cls_loss: on objectness.
        box_loss: on the deltas of positives.
        pre_nms_train: best anchors of each level that go into NMS in training.
        pre_nms_test: likewise in prediction.
        max_proposals: proposals per image.
        max_proposals_train: likewise in training; null: as many.
        nms_iou: threshold of NMS within a level.
        allowed_border: anchors that reach further out of the image, pixels, don't enter the loss; negative:
            all do.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        channels: int = 256,
        num_convs: int = 1,
        anchors: AnchorGenerator,
        coder: DeltaCoder,
        assigner: MaxIoUAssigner,
        sampler: BoxSampler,
        cls_loss: Loss,
        box_loss: Loss,
        pre_nms_train: int = 2000,
        pre_nms_test: int = 1000,
        max_proposals: int = 1000,
        max_proposals_train: int | None = None,
        nms_iou: float = 0.7,
        allowed_border: int = -1,
    ) -> None:
        super().__init__()
        if num_convs < 1:
            raise ValueError(f"num_convs must be at least 1, got {num_convs}")
        self.in_channels = in_channels
        self.strides = anchors.strides
        self.num_classes = 1
        self.anchors, self.coder, self.assigner, self.sampler = anchors, coder, assigner, sampler
        self.cls_loss, self.box_loss = cls_loss, box_loss
        self.pre_nms_train, self.pre_nms_test = pre_nms_train, pre_nms_test
        self.max_proposals, self.nms_iou = max_proposals, nms_iou
        self.max_proposals_train = max_proposals_train or max_proposals
        self.allowed_border = allowed_border
        if num_convs == 1:
            self.rpn_conv = nn.Conv2d(in_channels, channels, 3, padding=1)
        else:  # as the published parameters are called
            self.rpn_conv = conv_tower(in_channels, channels, num_convs, norm=None)
        self.rpn_cls = nn.Conv2d(channels, anchors.per_position, 1)
        self.rpn_reg = nn.Conv2d(channels, anchors.per_position * 4, 1)
        init_conv(self, std=0.01)

    def forward(self, maps: Sequence[Tensor]) -> RPNOutputs:
        """Levels (N, C, H_i, W_i) -> objectness and deltas per level."""
        hidden = [self.rpn_conv(m).relu() for m in maps]
        return [self.rpn_cls(h) for h in hidden], [self.rpn_reg(h) for h in hidden]

    def loss(self, outputs: RPNOutputs, batch: Batch) -> dict[str, Tensor]:
        """``loss_rpn_cls`` and ``loss_rpn_bbox`` over the sampled anchors."""
        anchors = torch.cat(self._grid(outputs[0]))
        logits = flatten_levels(outputs[0], 1)[..., 0]  # (N, P)
        deltas = flatten_levels(outputs[1], 4)  # (N, P, 4)
        matched = match(anchors, self._covered(outputs[0], batch), batch.samples, self.assigner)
        positive, used, count = draw(matched.assignments, self.sampler)
        count = normalizer(count)
        image, prior = positive.nonzero(as_tuple=True)
        target = self.coder.encode(anchors[prior], matched.boxes[image, prior])
        return {
            "loss_rpn_cls": self.cls_loss(logits[used], positive[used], avg_factor=count),
            "loss_rpn_bbox": self.box_loss(deltas[image, prior], target, avg_factor=count),
        }

    @torch.no_grad()
    def propose(self, outputs: RPNOutputs, batch: Batch, *, training: bool) -> list[Candidates]:
        """Scored boxes of each image, in transformed pixels, by falling score.

        ``training`` says which limits hold: ``pre_nms_train`` and ``max_proposals_train``, or those of tests.
        """
        levels = [
            (anchors, flatten_levels([cls], 1)[..., 0].float().sigmoid(), flatten_levels([reg], 4))
            for anchors, cls, reg in zip(self._grid(outputs[0]), *outputs)
        ]
        return best_proposals(
            levels,
            batch,
            coder=self.coder,
            pre_nms=self.pre_nms_train if training else self.pre_nms_test,
            nms_iou=self.nms_iou,
            max_per_image=self.max_proposals_train if training else self.max_proposals,
        )

    def _covered(self, maps: Sequence[Tensor], batch: Batch) -> Tensor:
        sizes = image_sizes(batch, maps[0].device)
        covered = self.anchors.covered([(m.shape[-2], m.shape[-1]) for m in maps], sizes)
        if self.allowed_border < 0:
            return covered
        return covered & inside_images(torch.cat(self._grid(maps)), sizes, self.allowed_border)

    def _grid(self, maps: Sequence[Tensor]) -> list[Tensor]:
        return self.anchors.grid([(m.shape[-2], m.shape[-1]) for m in maps], maps[0].device)


def inside_images(boxes: Tensor, sizes: Tensor, border: int) -> Tensor:
    """Which boxes (P, 4) stay within images of ``sizes`` (N, 2) and ``border`` pixels around: (N, P) bool."""
    limit = sizes[:, None, [1, 0]] + border  # (N, 1, 2)
    return (boxes[:, :2] >= -border).all(dim=-1) & (boxes[:, 2:] < limit).all(dim=-1)


def best_proposals(
    levels: Sequence[tuple[Tensor, Tensor, Tensor]],
    batch: Batch,
    *,
    coder: DeltaCoder,
    pre_nms: int,
    nms_iou: float,
    max_per_image: int,
) -> list[Candidates]:
    """The best boxes of each image after NMS within each level, by falling score.

    Args:
        levels: of each the anchors (P, 4), or each image's own (N, P, 4); scores (N, P), of which only those
            above 0 count; and deltas (N, P, 4).
        batch: the images, to which boxes are cut.
        coder: of the deltas.
        pre_nms: best anchors of each level that go into NMS.
        nms_iou: its threshold.
        max_per_image: proposals per image.
    """
    sizes = image_sizes(batch, levels[0][1].device)
    pool: list[Candidates] = []
    for level, (anchors, scores, deltas) in enumerate(levels):
        best, index = scores.topk(min(pre_nms, scores.shape[1]), dim=1)
        rows = index[..., None].expand(-1, -1, 4)
        references = anchors.expand_as(deltas).gather(1, rows)
        boxes = clip_boxes(coder.decode(references, deltas.gather(1, rows)), sizes)
        images = torch.arange(len(boxes), device=sizes.device)[:, None].expand_as(index)
        found = (boxes, best, torch.full_like(index, level), images)
        pool.append(Candidates(*(each[best > 0] for each in found)))
    together = filter_small(Candidates.cat(pool), 0)
    return suppress(together, len(batch), iou_threshold=nms_iou, max_per_image=max_per_image)
