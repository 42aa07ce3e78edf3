"""PointRend (Kirillov et al., PointRend: Image Segmentation as Rendering, 2019)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from omma.layers import ConvNormAct, PointLayer, draw_points, init_conv
from omma.losses import Loss
from omma.ops import point_sample
from omma.parallel import normalizer
from omma.registry import register
from omma.structures import Batch, Prediction
from omma.structures.class_rows import ClassRows
from omma_detection.models.assigners import MaxIoUAssigner
from omma_detection.models.heads.mask_head import MaskHead, paste_predictions, scaled_rois
from omma_detection.models.heads.region import Regions, bitmaps, mask_targets, positive_rois
from omma_detection.models.heads.region_box_head import RegionBoxHead
from omma_detection.models.heads.roi_extractor import RoIExtractor
from omma_detection.models.heads.roi_head import RoIHead
from omma_detection.models.samplers import BoxSampler


@register
class PointRendRoIHead(RoIHead):
    """Coarse masks, whose uncertain points are decided one by one from fine features.

    Args:
        assigner: which proposals are objects.
        sampler: which proposals enter the losses.
        bbox_roi_extractor: features for the box head.
        bbox_head: class and box.
        mask_roi_extractor: features for the coarse masks; its level has the points' fine features too.
        mask_head: coarse masks.
        point_head: points.
        num_points: of each positive in training.
        oversample: candidates for each of them.
        uncertain_share: share of the points that are the most uncertain candidates; others are random.
        steps: doublings of the mask's size in prediction.
        step_points: points decided in each.
    """

    mask_head: MaskHead
    mask_roi_extractor: PointRoIExtractor

    def __init__(
        self,
        *,
        assigner: MaxIoUAssigner,
        sampler: BoxSampler,
        bbox_roi_extractor: RoIExtractor,
        bbox_head: RegionBoxHead,
        mask_roi_extractor: PointRoIExtractor,
        mask_head: CoarseMaskHead,
        point_head: MaskPointHead,
        num_points: int = 196,
        oversample: int = 3,
        uncertain_share: float = 0.75,
        steps: int = 5,
        step_points: int = 784,
    ) -> None:
        super().__init__(
            assigner=assigner,
            sampler=sampler,
            bbox_roi_extractor=bbox_roi_extractor,
            bbox_head=bbox_head,
            mask_roi_extractor=mask_roi_extractor,
            mask_head=mask_head,
        )
        self.point_head = point_head
        self.num_points, self.oversample, self.uncertain_share = num_points, oversample, uncertain_share
        self.steps, self.step_points = steps, step_points

    def mask_loss(
        self, maps: Sequence[Tensor], regions: Sequence[Regions], batch: Batch
    ) -> dict[str, Tensor]:
        """``loss_mask`` of the coarse masks and ``loss_point``."""
        rois = positive_rois(regions)
        logits = self.mask_outputs(maps, rois)
        labels, targets = mask_targets(regions, batch, logits.shape[-1])
        losses = self.mask_head.loss(logits, labels, targets)
        points = self._uncertain_points(logits.detach().float(), labels)  # (P, K, 2)
        found = self._points(maps, rois, points, logits)
        rows = torch.arange(len(labels), device=labels.device)
        split = [len(r.objects) for r in regions]
        wanted = [
            point_sample(
                bitmaps(sample)[r.objects][:, None].float(), _in_image(own, at, bitmaps(sample).shape[-2:], 1)
            )[:, 0]
            for sample, r, own, at in zip(
                batch.samples, regions, rois[:, 1:].split(split), points.split(split)
            )
        ]
        target = torch.cat(wanted)
        count = normalizer(target.numel())
        chosen = found[rows, labels]
        return losses | {"loss_point": self.point_head.point_loss(chosen, target, avg_factor=count)}

    def add_masks(self, maps: Sequence[Tensor], predictions: list[Prediction], batch: Batch) -> None:
        """Give each prediction its masks."""
        rois = scaled_rois(predictions, batch)
        coarse = self.mask_outputs(maps, rois)
        labels = torch.cat([p["labels"] for p in predictions])
        rows = torch.arange(len(labels), device=labels.device)
        # Of the other classes only the coarse masks are looked at, so one mask is refined for each region.
        fine = coarse[rows, labels].float()[:, None]  # (R, 1, M, M)
        for step in range(self.steps):
            fine = F.interpolate(fine, scale_factor=2, mode="bilinear", align_corners=False)
            side = fine.shape[-1]
            if self.step_points >= 4 * side**2 and step < self.steps - 1:
                continue
            flat = fine.flatten(1)
            index = (-flat.abs()).topk(min(self.step_points, side**2), dim=1).indices
            points = torch.stack([index % side, index.div(side, rounding_mode="floor")], dim=2)
            found = self._points(maps, rois, (points + 0.5) / side, coarse)[rows, labels]
            fine = flat.scatter(1, index, found.float()).view_as(fine)
        paste_predictions(fine.sigmoid(), predictions, batch, self.mask_head.threshold)

    def _points(self, maps: Sequence[Tensor], rois: Tensor, points: Tensor, coarse: Tensor) -> Tensor:
        """Logits (R, C, K) at points (R, K, 2) of rois (R, 5), 0..1 across each."""
        fine = self.mask_roi_extractor.at(maps, rois, points)
        return self.point_head(fine, point_sample(coarse, points))

    def _uncertain_points(self, logits: Tensor, labels: Tensor) -> Tensor:
        """(R, K, 2) in 0..1: where masks (R, C, M, M) are least sure, and some at random."""
        own = logits[torch.arange(len(logits), device=logits.device), labels][:, None]
        return draw_points(
            lambda candidates: -point_sample(own, candidates)[:, 0].abs(),
            len(logits),
            num_points=self.num_points,
            oversample=self.oversample,
            uncertain_share=self.uncertain_share,
            device=logits.device,
        )


def _in_image(boxes: Tensor, points: Tensor, size: Sequence[int], stride: int) -> Tensor:
    """Points (R, K, 2) across boxes (R, 4), pixels, as points across a map of ``size`` (H, W) and stride."""
    pixels = boxes[:, None, :2] + points * (boxes[:, None, 2:] - boxes[:, None, :2])
    return pixels / (pixels.new_tensor([size[1], size[0]]) * stride)


@register
class PointRoIExtractor(RoIExtractor):
    """Features at single points of regions, from one level.

    Args:
        strides: input pixels per feature pixel of the level.
        size: height and width of the regular grid of points that ``forward`` samples.
    """

    def __init__(self, *, strides: tuple[int] = (4,), size: int = 14) -> None:
        super().__init__(strides=strides, size=size)

    def forward(self, maps: Sequence[Tensor], rois: Tensor, *, enlarge: float = 1.0) -> Tensor:
        """Levels and rois (R, 5) -> (R, C, size, size)."""
        step = (torch.arange(self.size, device=rois.device) + 0.5) / self.size
        y, x = torch.meshgrid(step, step, indexing="ij")
        points = torch.stack([x, y], dim=-1).view(1, -1, 2)
        points = ((points - 0.5) * enlarge + 0.5).expand(len(rois), -1, -1)
        return self.at(maps, rois, points).unflatten(2, (self.size, self.size))

    def at(self, maps: Sequence[Tensor], rois: Tensor, points: Tensor) -> Tensor:
        """Features (R, C, K) at points (R, K, 2) of rois (R, 5), 0..1 across each."""
        level, images = maps[0], rois[:, 0].long()
        places = _in_image(rois[:, 1:], points, level.shape[-2:], self.strides[0])
        out = level.new_zeros(len(rois), level.shape[1], points.shape[1])
        for i in range(len(level)):
            own = (images == i).nonzero()[:, 0]
            flat = places[own].view(1, -1, 2)
            values = point_sample(level[i : i + 1], flat)[0].unflatten(1, (len(own), points.shape[1]))
            out = out.index_copy(0, own, values.transpose(0, 1))
        return out


@register
class CoarseMaskHead(MaskHead):
    """A small mask per class from fully connected layers.

    Args:
        in_channels: channels of a region's features.
        roi_size: their height and width; masks have half of it.
        fc_channels: widths of the layers.
        num_classes: C.
        loss: on the logits of the object's class.
        threshold: probability from which a pixel is in the mask.
    """

    def __init__(
        self,
        *,
        in_channels: int = 256,
        roi_size: int = 14,
        fc_channels: tuple[int, ...] = (1024, 1024),
        num_classes: int,
        loss: Loss,
        threshold: float = 0.5,
    ) -> None:
        nn.Module.__init__(self)
        self.in_channels, self.num_classes, self.side = in_channels, num_classes, roi_size // 2
        self.mask_loss, self.threshold = loss, threshold
        self.downsample_conv = ConvNormAct(in_channels, in_channels, 2, stride=2)
        widths = (in_channels * self.side**2, *fc_channels)
        self.fcs = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))
        self.fc_logits = nn.Linear(widths[-1], num_classes * self.side**2)
        init_conv(self, kind="xavier")
        init_conv(self.fc_logits, std=0.001)

    def class_rows(self) -> dict[str, ClassRows]:
        """Parameters whose rows belong to classes."""
        rows = ClassRows(per_class=self.side**2)
        return {f"fc_logits.{name}": rows for name in ("weight", "bias")}

    def forward(self, features: Tensor) -> Tensor:
        """Features (R, C_in, S, S) -> mask logits (R, C, S / 2, S / 2)."""
        x = self.downsample_conv(features).flatten(1)
        for layer in self.fcs:
            x = layer(x).relu()
        return self.fc_logits(x).unflatten(1, (self.num_classes, self.side, self.side))


@register
class MaskPointHead(nn.Module):
    """Whether a point is in the mask of each class, from its features and the coarse masks there.

    Args:
        in_channels: of the features.
        channels: width of the layers.
        num_layers: number of layers; each sees the coarse masks again.
        num_classes: C.
        loss: on the logits of the object's class.
    """

    def __init__(
        self,
        *,
        in_channels: int = 256,
        channels: int = 256,
        num_layers: int = 3,
        num_classes: int,
        loss: Loss,
    ) -> None:
        super().__init__()
        widths = (in_channels, *(channels,) * num_layers)
        self.fcs = nn.ModuleList(PointLayer(a + num_classes, b) for a, b in pairwise(widths))
        self.fc_logits = nn.Conv1d(widths[-1] + num_classes, num_classes, 1)
        self.point_loss = loss
        for layer in self.modules():
            if isinstance(layer, nn.Conv1d):
                nn.init.normal_(layer.weight, std=0.001)
        nn.init.zeros_(self.fc_logits.bias)  # pyright: ignore[reportArgumentType]

    def forward(self, features: Tensor, coarse: Tensor) -> Tensor:
        """Features (R, C_in, K) and coarse logits (R, C, K) -> logits (R, C, K)."""
        x = features
        for layer in self.fcs:
            x = layer(torch.cat([x, coarse], dim=1))
        return self.fc_logits(torch.cat([x, coarse], dim=1))
