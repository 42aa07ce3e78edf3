"""PointRend (Kirillov et al., PointRend: Image Segmentation as Rendering, 2019)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from omma.layers import PointLayer, draw_points
from omma.ops import point_sample
from omma.registry import register
from omma.structures.class_rows import ClassRows
from omma_segmentation.losses import PixelLoss
from omma_segmentation.models.heads.decode_head import PixelLosses, RefineHead


@register
class PointHead(RefineHead):
    """Decides the pixels that coarse logits leave open one by one, from fine maps and the coarse logits.

    Args:
        in_channels: of the fine maps.
        in_index: which maps.
        channels: width of the layers.
        num_classes: C.
        loss: on the logits of points.
        layers: before the classifier.
        num_points: points of each image in training.
        oversample: candidates for each of them.
        uncertain_share: share of the points that are the most uncertain candidates; others are random.
        steps: doublings of the logits' size in prediction.
        step_points: points decided in each.
        align_corners: how logits are resized.
    """

    def __init__(
        self,
        *,
        in_channels: int | tuple[int, ...] = 256,
        in_index: int | tuple[int, ...] = 0,
        channels: int = 256,
        num_classes: int,
        loss: PixelLosses,
        layers: int = 3,
        num_points: int = 2048,
        oversample: int = 3,
        uncertain_share: float = 0.75,
        steps: int = 2,
        step_points: int = 8196,
        align_corners: bool = False,
    ) -> None:
        super().__init__(
            in_channels=in_channels,
            in_index=in_index,
            num_classes=num_classes,
            loss=loss,
            align_corners=align_corners,
        )
        widths = [sum(self.in_channels), *[channels] * layers]
        self.fcs = nn.ModuleList(PointLayer(width + num_classes, channels) for width in widths[:-1])
        self.fc_seg = nn.Conv1d(widths[-1] + num_classes, num_classes, 1)
        nn.init.normal_(self.fc_seg.weight, std=0.01)
        nn.init.zeros_(self.fc_seg.get_parameter("bias"))
        self.num_points, self.oversample, self.uncertain_share = num_points, oversample, uncertain_share
        self.steps, self.step_points = steps, step_points

    def forward(self, maps: Sequence[Tensor], coarse: Tensor) -> Tensor:
        """Maps and logits (N, C, H, W) to logits of twice the size for each step."""
        fine = coarse
        for _ in range(self.steps):
            fine = F.interpolate(fine, scale_factor=2, mode="bilinear", align_corners=self.align_corners)
            height, width = fine.shape[-2:]
            count = min(self.step_points, height * width)
            index = uncertainty(fine).flatten(1).topk(count, dim=1).indices  # (N, P)
            points = torch.stack([(index % width + 0.5) / width, (index // width + 0.5) / height], dim=2)
            decided = self.at(maps, coarse, points).to(fine.dtype)
            index = index[:, None].expand(-1, fine.shape[1], -1)
            fine = fine.flatten(2).scatter(2, index, decided).view(fine.shape)
        return fine

    def loss(self, maps: Sequence[Tensor], coarse: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """``point_`` and the name of each loss, at points that are drawn by how open they are."""
        points = self.draw(coarse.detach())
        logits = self.at(maps, coarse, points)[..., None]  # (N, C, P, 1)
        height, width = labels.shape[-2:]
        x = (points[..., 0] * width).long().clamp(max=width - 1)
        y = (points[..., 1] * height).long().clamp(max=height - 1)
        wanted = labels.flatten(1).gather(1, y * width + x)[..., None]  # (N, P, 1)
        found: dict[str, Tensor] = {}
        for loss in self.losses:
            assert isinstance(loss, PixelLoss)
            found[f"point_{loss.key}"] = loss(logits, wanted)
        return found

    def at(self, maps: Sequence[Tensor], coarse: Tensor, points: Tensor) -> Tensor:
        """Logits (N, C, P) at points (N, P, 2), x and y in 0..1 of the image."""
        coarse = point_sample(coarse, points)
        x = torch.cat([point_sample(fine, points) for fine in self.select(maps)], dim=1)
        for layer in self.fcs:
            x = layer(torch.cat([x, coarse], dim=1))
        return self.fc_seg(torch.cat([x, coarse], dim=1))

    @torch.no_grad()
    def draw(self, coarse: Tensor) -> Tensor:
        """Points (N, P, 2) in 0..1 where logits (N, C, H, W) are least sure, and some at random."""
        # Of the interpolated logits: those of the map itself are sure on both sides of an edge.
        return draw_points(
            lambda candidates: uncertainty(point_sample(coarse, candidates)),
            len(coarse),
            num_points=self.num_points,
            oversample=self.oversample,
            uncertain_share=self.uncertain_share,
            device=coarse.device,
        )

    def class_rows(self) -> Mapping[str, ClassRows]:
        """Parameters whose rows belong to classes, by name."""
        return {"fc_seg.weight": ClassRows(), "fc_seg.bias": ClassRows()}


def uncertainty(logits: Tensor) -> Tensor:
    """(N, C, ...) -> (N, ...): the second best logit less the best, 0 where they are equal."""
    best, second = logits.topk(2, dim=1).values.unbind(1)
    return second - best
