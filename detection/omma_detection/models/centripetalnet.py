"""CentripetalNet (Dong et al., CentripetalNet: Pursuing High-quality Keypoint Pairs, 2020)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from omma.backbones import Backbone
from omma.layers import ConvNormAct, GuidedDeformConv2d, init_conv
from omma.losses import Loss
from omma.model import Preprocessor
from omma.ops import box_centres
from omma.registry import register
from omma_detection.models.cornernet import CornerNet
from omma_detection.models.heads.corner_towers import (
    SIDES,
    CornerPair,
    CornerTargets,
    CornerTowers,
    Found,
)
from omma_detection.models.heads.detections import Selection
from omma_detection.models.heads.gaussian import at_places
from omma_detection.models.heads.placed import Frame

LARGE = 3500
"""Area from which on the middle of a box, where its corners must point, is a larger part of it; pixels."""


@register
class CentripetalNet(CornerNet):
    """An hourglass and a head whose corners point at the centres of their objects.

    Args:
        backbone: image to feature maps of one size.
        bbox_head: the head.
        preprocessor: images to network input.
    """

    def __init__(self, *, backbone: Backbone, bbox_head: CentripetalHead, preprocessor: Preprocessor) -> None:
        super().__init__(backbone=backbone, bbox_head=bbox_head, preprocessor=preprocessor)


@register
class CentripetalHead(CornerTowers):
    """Corners, and for each the way to its object's centre; pairs are those that point at one place.

    The way is regressed twice: in positions, which tells a deformable convolution where to look, and then,
    from what that sees, as the logarithm.

    Args:
        in_channels: channels of every level.
        num_classes: C.
        levels: maps that come in.
        stride: input pixels per position.
        heat_loss: on the heat maps.
        offset_loss: on the offsets at corners.
        guide_loss: on the ways in positions.
        shift_loss: on their logarithms.
        corners: likeliest corners of each kind from which pairs are made.
        furthest: greatest area between the two centres of a pair, as a part of its middle.
        selection: which pairs become predictions.
    """

    def __init__(
        self,
        *,
        in_channels: int = 256,
        num_classes: int,
        levels: int = 2,
        stride: int = 4,
        heat_loss: Loss,
        offset_loss: Loss,
        guide_loss: Loss,
        shift_loss: Loss,
        corners: int = 100,
        furthest: float = 0.5,
        selection: Selection,
    ) -> None:
        super().__init__(
            in_channels=in_channels,
            num_classes=num_classes,
            levels=levels,
            stride=stride,
            heat_loss=heat_loss,
            offset_loss=offset_loss,
            corners=corners,
            selection=selection,
        )
        self.guide_loss, self.shift_loss, self.furthest = guide_loss, shift_loss, furthest
        for side in SIDES:
            self.add_branches(f"{side}_guiding_shift", 2, he=False)
            self.add_branches(f"{side}_centripetal_shift", 2, he=False)
            taps = nn.ModuleList(ConvNormAct(2, 18, 1, bias=False, act=None) for _ in range(levels))
            adaption = nn.ModuleList(
                GuidedDeformConv2d(in_channels, in_channels, 3, padding=1) for _ in range(levels)
            )
            init_conv(taps, std=0.1)
            init_conv(adaption, std=0.01)
            self.add_module(f"{side}_dcn_offset", taps)
            self.add_module(f"{side}_feat_adaption", adaption)

    def ties(self, side: str, level: int, pooled: Tensor) -> tuple[Tensor, ...]:
        """The ways to the centre (N, 2, H, W) xy, in positions and as logarithms, always inwards."""
        guide = self.branch(f"{side}_guiding_shift", level)(pooled)
        taps = self.branch(f"{side}_dcn_offset", level)(guide.detach())
        adapted = self.branch(f"{side}_feat_adaption", level)(pooled, taps)
        shift = self.branch(f"{side}_centripetal_shift", level)(adapted)
        return guide.float(), shift.float()

    def tie_losses(self, pair: CornerPair, targets: CornerTargets) -> dict[str, Tensor]:
        """``loss_guiding`` and ``loss_centripetal``."""
        centres = box_centres(targets.boxes)
        halves = (targets.boxes[..., 2:] - targets.boxes[..., :2]) / 2
        each = []
        for maps, marks, count, sign in zip(pair, targets.corners, targets.owners, (1, -1)):
            guide, shift = (marks.read(tie) for tie in maps.ties)
            way = sign * (centres[marks.image, marks.owner] - marks.position)
            log = halves[marks.image, marks.owner].clamp(min=1e-6).log()
            each.append(
                (
                    self.guide_loss(guide, way, avg_factor=count),
                    self.shift_loss(shift, log, avg_factor=count),
                )
            )
        guiding, centripetal = (torch.stack(both).mean() for both in zip(*each))
        return {"loss_guiding": guiding, "loss_centripetal": centripetal}

    def tied(self, pair: CornerPair, found: tuple[Found, Found], boxes: Tensor, frame: Frame) -> Tensor:
        """(N, K, K) bool: whether both point into the middle of the box, and at nearly the same place."""
        first, second = (
            frame.pixels(f.points + sign * at_places(maps.ties[1], f.places).exp())
            for maps, f, sign in zip(pair, found, (1, -1))
        )
        first, second = first[:, :, None], second[:, None]  # (N, K, 1, 2), (N, 1, K, 2)
        centre, size = box_centres(boxes), boxes[..., 2:] - boxes[..., :2]
        part = torch.where(size.prod(dim=3) > LARGE, 1 / 2.1, 1 / 2.4)[..., None]
        reach = size * part / 2  # (N, K, K, 2)
        inside = ((first - centre).abs() < reach) & ((second - centre).abs() < reach)
        between = (second - first).prod(dim=3).abs()
        return inside.all(dim=3) & (between <= self.furthest * 4 * reach.prod(dim=3))
