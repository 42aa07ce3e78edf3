"""Cascade RPN (Vu et al., Cascade RPN: Delving into High-Quality Region Proposal Network, 2019)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from omma.layers import GuidedDeformConv2d, init_conv
from omma.losses import Loss
from omma.parallel import normalizer
from omma.registry import register
from omma.structures import Batch
from omma_detection.models.assigners import MaxIoUAssigner, RegionAssigner
from omma_detection.models.coders.delta import DeltaCoder, clip_boxes
from omma_detection.models.heads.dense import map_sizes
from omma_detection.models.heads.detections import Candidates, image_sizes
from omma_detection.models.heads.rpn_head import ProposalHead, best_proposals
from omma_detection.models.heads.taps import spanning_offsets
from omma_detection.models.heads.targets import draw, flatten_levels, match
from omma_detection.models.objects import pad_objects
from omma_detection.models.priors import AnchorGenerator
from omma_detection.models.samplers import BoxSampler

_POSITIONS_PER_LOSS = 200
"""The first stage's loss is divided by the number of all positions over this, as Guided Anchoring does it."""


class CascadeRPNOutputs(NamedTuple):
    """Raw maps per level."""

    first: list[Tensor]
    """(N, 4, H, W): deltas of the first stage, on the anchors."""
    refined: list[Tensor]
    """(N, H * W, 4) xyxy, pixels: the boxes of the first stage, the anchors of the second."""
    logits: list[Tensor]
    """(N, 1, H, W): objectness."""
    deltas: list[Tensor]
    """(N, 4, H, W): deltas of the second stage, on ``refined``."""


@register
class CascadeRPNHead(ProposalHead):
    """One anchor at every position is moved to its object, then scored and moved again by what is in it.

    The first stage learns from where positions lie in objects, the second from how much its anchors overlap
    them; its convolution reads the map at the anchor instead of around the position.

    Args:
        in_channels: channels of every level.
        channels: width of the hidden convolutions.
        dilation: of the first one.
        anchors: the priors, one per position.
        coders: box coders of the two stages.
        region_assigner: which positions are objects of the first stage.
        assigner: which refined anchors are objects of the second.
        sampler: which of those enter the second stage's losses.
        cls_loss: on objectness.
        box_loss: on the boxes of positives, in both stages.
        pre_nms_train: best anchors of each level that go into NMS in training.
        pre_nms_test: likewise in prediction.
        max_proposals: proposals per image.
        nms_iou: threshold of NMS within a level.

    Raises:
        ValueError: there is more than one anchor per position.
    """

    def __init__(
        self,
        *,
        in_channels: int = 256,
        channels: int = 256,
        dilation: int = 3,
        anchors: AnchorGenerator,
        coders: tuple[DeltaCoder, DeltaCoder],
        region_assigner: RegionAssigner,
        assigner: MaxIoUAssigner,
        sampler: BoxSampler,
        cls_loss: Loss,
        box_loss: Loss,
        pre_nms_train: int = 2000,
        pre_nms_test: int = 1000,
        max_proposals: int = 300,
        nms_iou: float = 0.8,
    ) -> None:
        super().__init__()
        if anchors.per_position != 1:
            raise ValueError(f"anchors: need one per position, got {anchors.per_position}")
        self.in_channels = in_channels
        self.strides = anchors.strides
        self.num_classes = 1
        self.anchors, self.coders = anchors, coders
        self.region_assigner, self.assigner, self.sampler = region_assigner, assigner, sampler
        self.cls_loss, self.box_loss = cls_loss, box_loss
        self.pre_nms_train, self.pre_nms_test = pre_nms_train, pre_nms_test
        self.max_proposals, self.nms_iou = max_proposals, nms_iou
        around = nn.Conv2d(in_channels, channels, 3, padding=dilation, dilation=dilation)
        on_anchors = GuidedDeformConv2d(channels, channels, 3, padding=1)
        self.steps = (_Stage(around, channels, scored=False), _Stage(on_anchors, channels, scored=True))
        self.stages = nn.ModuleList(self.steps)
        init_conv(self, std=0.01)

    def outputs(self, maps: Sequence[Tensor], batch: Batch) -> CascadeRPNOutputs:
        """As ``forward``, with the boxes of the first stage cut to the images."""
        return self(maps, image_sizes(batch, maps[0].device))

    def forward(self, maps: Sequence[Tensor], sizes: Tensor | None = None) -> CascadeRPNOutputs:
        """Levels (N, C, H_i, W_i) -> both stages' maps.

        ``sizes`` (N, 2) are the images' heights and widths, pixels; null: what the finest level covers.
        """
        if sizes is None:
            extent = [side * self.strides[0] for side in maps[0].shape[-2:]]
            sizes = torch.tensor(extent, device=maps[0].device).expand(len(maps[0]), 2)
        out = CascadeRPNOutputs([], [], [], [])
        first, second = self.steps
        for m, anchors, stride in zip(maps, self._grid(maps), self.strides):
            hidden = first.hidden(m)
            deltas = first.rpn_reg(hidden)
            boxes = self.coders[0].decode(anchors, flatten_levels([deltas.detach()], 4))
            boxes = clip_boxes(boxes, sizes)
            offsets = spanning_offsets(boxes, (m.shape[-2], m.shape[-1]), stride)
            hidden = second.hidden(hidden, offsets)
            out.first.append(deltas)
            out.refined.append(boxes)
            out.logits.append(second.rpn_cls(hidden))
            out.deltas.append(second.rpn_reg(hidden))
        return out

    def loss(self, outputs: CascadeRPNOutputs, batch: Batch) -> dict[str, Tensor]:
        """``s0.loss_rpn_reg``, ``s1.loss_rpn_cls`` and ``s1.loss_rpn_reg``."""
        covered = self.anchors.covered(map_sizes(outputs.first), image_sizes(batch, outputs.first[0].device))
        return self._first_loss(outputs, batch, covered) | self._second_loss(outputs, batch, covered)

    def _first_loss(self, outputs: CascadeRPNOutputs, batch: Batch, covered: Tensor) -> dict[str, Tensor]:
        objects = pad_objects(batch.samples, covered.device)
        assigned = self.region_assigner(self.anchors, map_sizes(outputs.first), objects, covered)
        image, position = assigned.positive.nonzero(as_tuple=True)
        anchors = torch.cat(self._grid(outputs.first))[position]
        boxes = self.coders[0].decode(anchors, flatten_levels(outputs.first, 4)[image, position])
        target = objects.of(assigned.objects)[0][image, position]
        count = normalizer(covered.numel() / _POSITIONS_PER_LOSS)
        return {"s0.loss_rpn_reg": self.box_loss(boxes, target, avg_factor=count)}

    def _second_loss(self, outputs: CascadeRPNOutputs, batch: Batch, covered: Tensor) -> dict[str, Tensor]:
        anchors = torch.cat(outputs.refined, dim=1)
        matched = match(anchors, covered, batch.samples, self.assigner)
        positive, used, count = draw(matched.assignments, self.sampler)
        count = normalizer(count)
        image, prior = positive.nonzero(as_tuple=True)
        logits, deltas = flatten_levels(outputs.logits, 1)[..., 0], flatten_levels(outputs.deltas, 4)
        boxes = self.coders[1].decode(anchors[image, prior], deltas[image, prior])
        return {
            "s1.loss_rpn_cls": self.cls_loss(logits[used], positive[used], avg_factor=count),
            "s1.loss_rpn_reg": self.box_loss(boxes, matched.boxes[image, prior], avg_factor=count),
        }

    @torch.no_grad()
    def propose(self, outputs: CascadeRPNOutputs, batch: Batch, *, training: bool) -> list[Candidates]:
        """Scored boxes of each image, in transformed pixels, by falling score."""
        levels = [
            (anchors, flatten_levels([cls], 1)[..., 0].float().sigmoid(), flatten_levels([reg], 4))
            for anchors, cls, reg in zip(outputs.refined, outputs.logits, outputs.deltas)
        ]
        return best_proposals(
            levels,
            batch,
            coder=self.coders[1],
            pre_nms=self.pre_nms_train if training else self.pre_nms_test,
            nms_iou=self.nms_iou,
            max_per_image=self.max_proposals,
        )

    def _grid(self, maps: Sequence[Tensor]) -> list[Tensor]:
        return self.anchors.grid(map_sizes(maps), maps[0].device)


class _Stage(nn.Module):
    """A convolution and what is read from it, with the names of OpenMMLab's checkpoints."""

    def __init__(self, conv: nn.Module, channels: int, *, scored: bool) -> None:
        super().__init__()
        self.rpn_conv = nn.ModuleDict({"conv": conv})
        self.rpn_reg = nn.Conv2d(channels, 4, 1)
        self.rpn_cls = nn.Conv2d(channels, 1, 1) if scored else nn.Identity()

    def hidden(self, *inputs: Tensor) -> Tensor:
        """(N, channels, H, W) from the level, and the offsets if the convolution takes them."""
        return self.rpn_conv["conv"](*inputs).relu()
