"""CenterNet (Zhou et al., Objects as Points, 2019)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from omma.backbones import Backbone
from omma.layers import init_conv, prior_bias
from omma.losses import Loss
from omma.model import Canvas, Preprocessor
from omma.necks import Neck
from omma.ops import box_centres
from omma.parallel import normalizer
from omma.registry import register
from omma.structures import Batch, Prediction
from omma.structures.class_rows import ClassRows
from omma_detection.models.coders.delta import clip_boxes
from omma_detection.models.heads.detections import box_scales, image_sizes
from omma_detection.models.heads.gaussian import at_places, gaussian_radius, mark, peaks, place_positions
from omma_detection.models.heads.placed import PlacedHead
from omma_detection.models.objects import pad_objects
from omma_detection.models.single_stage import PlacedDetector


@register
class CenterNet(PlacedDetector):
    """One fine map, on which objects are peaks.

    Args:
        backbone: image to feature map.
        neck: feature map to a finer one.
        bbox_head: the head.
        preprocessor: images to network input.
    """

    def __init__(
        self, *, backbone: Backbone, neck: Neck, bbox_head: CenterNetHead, preprocessor: Preprocessor
    ) -> None:
        super().__init__(backbone=backbone, neck=neck, bbox_head=bbox_head, preprocessor=preprocessor)


class CenterNetOutputs(NamedTuple):
    """Raw maps."""

    heat: Tensor
    """(N, C, H, W) probabilities."""
    size: Tensor
    """(N, 2, H, W) widths and heights, positions of the map."""
    offset: Tensor
    """(N, 2, H, W) (x, y) of the centre from its position."""


@register
class CenterNetHead(PlacedHead):
    """A heat map of centres for each class, and the size and exact place of what is there.

    Args:
        in_channels: channels of the map.
        channels: width of the hidden convolutions.
        num_classes: C.
        stride: input pixels per position.
        heat_loss: on the heat maps.
        size_loss: on the sizes at centres.
        offset_loss: on the offsets there.
        least_overlap: IoU of boxes whose centres are nearly right, which says how wide a peak is.
        max_per_image: predictions per image.
    """

    def __init__(
        self,
        *,
        in_channels: int = 64,
        channels: int = 64,
        num_classes: int,
        stride: int = 4,
        heat_loss: Loss,
        size_loss: Loss,
        offset_loss: Loss,
        least_overlap: float = 0.3,
        max_per_image: int = 100,
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.strides = (stride,)
        self.num_classes = num_classes
        self.heat_loss, self.size_loss, self.offset_loss = heat_loss, size_loss, offset_loss
        self.least_overlap, self.max_per_image = least_overlap, max_per_image
        self.heatmap_head = _branch(in_channels, channels, num_classes)
        self.wh_head = _branch(in_channels, channels, 2)
        self.offset_head = _branch(in_channels, channels, 2)
        nn.init.constant_(self.heatmap_head[-1].get_parameter("bias"), prior_bias(0.1))
        init_conv(self.wh_head, std=0.001)
        init_conv(self.offset_head, std=0.001)

    def class_rows(self) -> dict[str, ClassRows]:
        """Parameters whose rows belong to classes."""
        return {f"heatmap_head.2.{name}": ClassRows() for name in ("weight", "bias")}

    def forward(self, maps: Sequence[Tensor]) -> CenterNetOutputs:
        """One map (N, C_in, H, W) -> heat, sizes and offsets."""
        x = maps[0]
        return CenterNetOutputs(
            self.heatmap_head(x).float().sigmoid(), self.wh_head(x).float(), self.offset_head(x).float()
        )

    def loss(
        self, outputs: CenterNetOutputs, batch: Batch, canvas: Canvas | None = None
    ) -> dict[str, Tensor]:
        """``loss_center_heatmap``, ``loss_wh`` and ``loss_offset``."""
        objects = pad_objects(batch.samples, outputs.heat.device)
        frame = self.frame(outputs.heat, canvas)
        boxes = torch.cat([frame.positions(objects.boxes[..., i : i + 2]) for i in (0, 2)], dim=2)
        centres, sizes = box_centres(boxes), boxes[..., 2:] - boxes[..., :2]
        radii = gaussian_radius(sizes, self.least_overlap)
        height, width = outputs.heat.shape[2:]
        marks = mark(centres, radii, objects, self.num_classes, (height, width))
        count = normalizer(torch.as_tensor(len(marks.image), device=boxes.device))
        size = sizes[marks.image, marks.owner]
        return {
            "loss_center_heatmap": self.heat_loss(outputs.heat, marks.heat, avg_factor=count),
            "loss_wh": self.size_loss(marks.read(outputs.size), size, avg_factor=2 * count),
            "loss_offset": self.offset_loss(marks.read(outputs.offset), marks.offset, avg_factor=2 * count),
        }

    def predict(
        self, outputs: CenterNetOutputs, batch: Batch, canvas: Canvas | None = None
    ) -> list[Prediction]:
        """Boxes in original pixels, one at each peak; nothing is suppressed."""
        score, label, place = peaks(outputs.heat, self.max_per_image)
        size = at_places(outputs.size, place)  # (N, K, 2)
        centre = place_positions(place, outputs.heat.shape[3]) + at_places(outputs.offset, place)
        frame = self.frame(outputs.heat, canvas)
        boxes = torch.cat([frame.pixels(centre - size / 2), frame.pixels(centre + size / 2)], dim=2)
        boxes = clip_boxes(boxes, image_sizes(batch, boxes.device)) / box_scales(batch, boxes.device)[:, None]
        return [Prediction(boxes=b, scores=s, labels=c) for b, s, c in zip(boxes, score, label)]


def _branch(in_channels: int, channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, channels, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(channels, out_channels, 1),
    )
