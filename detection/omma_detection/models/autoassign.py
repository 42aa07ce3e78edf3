"""AutoAssign (Zhu et al., AutoAssign: Differentiable Label Assignment for Dense Object Detection, 2020)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from omma.backbones import Backbone
from omma.layers import NormKind, init_conv, prior_bias
from omma.losses import Loss
from omma.model import Preprocessor
from omma.necks import Neck
from omma.ops import box_centres, elementwise_iou
from omma.parallel import normalizer
from omma.registry import register
from omma.structures import Batch
from omma.structures.class_rows import ClassRows
from omma_detection.models.coders import distances_to_boxes
from omma_detection.models.heads.detections import DEFAULT_SELECTION, Selection
from omma_detection.models.heads.point_towers import PointOutputs, PointTowers
from omma_detection.models.heads.targets import flatten_levels
from omma_detection.models.objects import Objects, pad_objects, points_inside
from omma_detection.models.priors import PointGenerator
from omma_detection.models.single_stage import SingleStageDetector

_EPS = 1e-12
_LOWEST_LOG = -100.0
_SHARPNESS = 3.0
"""How much more than others the points count that already find an object."""


@register
class AutoAssign(SingleStageDetector):
    """FCOS whose points are positive and negative in shares that are learned.

    Args:
        backbone: image to feature maps.
        neck: feature maps to pyramid.
        bbox_head: the point head.
        preprocessor: images to network input.
    """

    def __init__(
        self, *, backbone: Backbone, neck: Neck, bbox_head: AutoAssignHead, preprocessor: Preprocessor
    ) -> None:
        super().__init__(backbone=backbone, neck=neck, bbox_head=bbox_head, preprocessor=preprocessor)


@register
class AutoAssignHead(PointTowers):
    """FCOS's head with an objectness in place of centre-ness, and a learned prior of where objects are found.

    Args:
        in_channels: channels of every level.
        channels: width of the towers.
        num_convs: convolutions in each tower.
        num_classes: C.
        points: the priors.
        box_loss: between boxes; exp(-loss) is how well a point finds an object.
        positive_weight: of the loss of objects that aren't found.
        negative_weight: of that of points that find what isn't there.
        center_weight: of that which keeps the prior from leaving objects.
        norm: kind of norm in the towers.
        selection: which boxes become predictions.
    """

    def __init__(
        self,
        *,
        in_channels: int = 256,
        channels: int = 256,
        num_convs: int = 4,
        num_classes: int,
        points: PointGenerator,
        box_loss: Loss,
        positive_weight: float = 0.25,
        negative_weight: float = 0.75,
        center_weight: float = 0.75,
        norm: NormKind | None = "gn",
        selection: Selection = DEFAULT_SELECTION,
    ) -> None:
        super().__init__(
            in_channels=in_channels,
            channels=channels,
            num_convs=num_convs,
            num_classes=num_classes,
            points=points,
            norm=norm,
            conv_bias=True,
            deform_last=False,
            centerness_on_reg=True,
            norm_on_bbox=True,
            selection=selection,
        )
        self.box_loss = box_loss
        self.positive_weight, self.negative_weight = positive_weight, negative_weight
        self.center_weight = center_weight
        self.center_prior = CenterPrior(num_classes)
        init_conv(self.conv_cls, std=0.01, bias=prior_bias(0.02))
        init_conv(self.conv_reg, std=0.01, bias=4.0)

    def class_rows(self) -> dict[str, ClassRows]:
        """Parameters whose rows belong to classes."""
        priors = {f"center_prior.{name}": ClassRows() for name in ("mean", "sigma")}
        return {**super().class_rows(), **priors}

    def loss(self, outputs: PointOutputs, batch: Batch) -> dict[str, Tensor]:
        """``loss_pos``, ``loss_neg`` and ``loss_center``."""
        grid = self.grid(outputs.logits)
        points, strides = torch.cat(grid), self.point_strides(grid)
        objects = pad_objects(batch.samples, points.device)
        inside = (points_inside(points, objects.boxes) > 0) & objects.real[..., None]  # (N, G, P)
        prior = self.center_prior(points, strides, objects) * inside
        boxes = distances_to_boxes(points, flatten_levels(outputs.distances, 4))[:, None]  # (N, 1, P, 4)
        score = flatten_levels(outputs.logits, self.num_classes).float().sigmoid()
        score = score * flatten_levels(outputs.centerness, 1).float().sigmoid()  # (N, P, C)
        center = objects.real.sum(dim=1) / prior.sum(dim=(1, 2)).clamp(min=_EPS)
        return {
            "loss_pos": self._positive(score, boxes, prior, objects),
            "loss_neg": self._negative(score, boxes, prior, inside, objects),
            "loss_center": self.center_weight * center.mean(),
        }

    def _positive(self, score: Tensor, boxes: Tensor, prior: Tensor, objects: Objects) -> Tensor:
        """Of each object that no point in it finds, however far from its centre."""
        index = objects.labels[:, None].expand(-1, score.shape[1], -1)
        found = score.gather(2, index).transpose(1, 2)  # (N, G, P)
        boxes, wanted = torch.broadcast_tensors(boxes, objects.boxes[:, :, None])
        loss = self.box_loss.elements(boxes.flatten(0, 2), wanted.flatten(0, 2)).view_as(found)
        found = found * (-self.box_loss.loss_weight * loss).exp()
        weight = (_SHARPNESS * found).exp() * prior
        weight = weight / weight.sum(dim=2, keepdim=True).clamp(min=_EPS)
        likelihood = (found * weight).sum(dim=2)
        least = torch.finfo(likelihood.dtype).tiny
        missed = -torch.where(likelihood > 0, likelihood.clamp(min=least).log(), _LOWEST_LOG)
        count = objects.real.sum()
        return self.positive_weight * (missed * objects.real).sum() / normalizer(count)

    def _negative(
        self, score: Tensor, boxes: Tensor, prior: Tensor, inside: Tensor, objects: Objects
    ) -> Tensor:
        """Of each point and class, the less the better the point's box is for an object of the class."""
        with torch.no_grad():
            iou = elementwise_iou(boxes, objects.boxes[:, :, None]) * objects.real[..., None]
            best = iou.amax(dim=1, keepdim=True).expand_as(iou)
            gain = 1 / (1 - best).clamp(min=_EPS)
            low = gain.masked_fill(~inside, torch.inf).amin(dim=2, keepdim=True)
            high = gain.masked_fill(~inside, -torch.inf).amax(dim=2, keepdim=True)
            share = (gain - low + _EPS) / (high - low + _EPS)
            # Of several objects of a class around a point the last counts, as in the reference.
            same = objects.labels[:, :, None] == objects.labels[:, None]
            later = (same.triu(1).float() @ inside.float()) > 0
            share = torch.where(inside & ~later, share, 0)
            index = objects.labels[..., None].expand_as(share)
            by_class = torch.zeros_like(score.transpose(1, 2)).scatter_add(1, index, share)
        wrong = score * (1 - by_class.transpose(1, 2))
        loss = wrong.square() * -torch.log1p(-wrong.clamp(max=1 - 1e-7))
        return self.negative_weight * loss.sum() / normalizer(prior.detach().sum())


class CenterPrior(nn.Module):
    """For each class a normal distribution, in strides, of where around its centre an object is found.

    Args:
        num_classes: C.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.mean = nn.Parameter(torch.zeros(num_classes, 2))
        self.sigma = nn.Parameter(torch.ones(num_classes, 2))

    def forward(self, points: Tensor, strides: Tensor, objects: Objects) -> Tensor:
        """(N, G, P) in 0..1 for points (P, 2) xy, pixels, and their strides (P,)."""
        centres = box_centres(objects.boxes)
        shift = (points - centres[:, :, None]) / strides[:, None] - self.mean[objects.labels][:, :, None]
        return (-shift.square() / (2 * self.sigma[objects.labels][:, :, None].square())).exp().prod(dim=-1)
