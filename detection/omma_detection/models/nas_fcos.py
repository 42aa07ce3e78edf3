"""NAS-FCOS (Wang et al., NAS-FCOS: Fast Neural Architecture Search for Object Detection, 2019)."""

from __future__ import annotations

from typing import Literal

from torch import nn

from omma.backbones import Backbone
from omma.layers import ConvNormAct, NormKind
from omma.model import Preprocessor
from omma.necks import Neck
from omma.registry import register
from omma_detection.models.fcos import FCOSHead
from omma_detection.models.single_stage import SingleStageDetector


@register
class NASFCOS(SingleStageDetector):
    """FCOS with a pyramid and towers that were found by search.

    Args:
        backbone: image to feature maps.
        neck: feature maps to pyramid.
        bbox_head: the point head; FCOS's own too.
        preprocessor: images to network input.
    """

    def __init__(
        self, *, backbone: Backbone, neck: Neck, bbox_head: FCOSHead, preprocessor: Preprocessor
    ) -> None:
        super().__init__(backbone=backbone, neck=neck, bbox_head=bbox_head, preprocessor=preprocessor)


@register
class NASFCOSHead(FCOSHead):
    """FCOS's head, whose towers are deformable 3x3, 3x3, deformable 3x3 and 1x1 convolutions.

    Arguments are those of ``FCOSHead``; ``num_convs``, ``conv_bias`` and ``deform_last`` have no effect.
    """

    def tower(
        self,
        in_channels: int,
        channels: int,
        count: int,
        norm: NormKind | None,
        bias: bool | None,
        deform: dict[int, Literal[1, 2]],
    ) -> nn.Sequential:
        """One of the two towers."""
        return nn.Sequential(
            _deformable(in_channels, channels, norm),
            ConvNormAct(channels, channels, 3, padding=1, bias=False, norm=norm),
            _deformable(channels, channels, norm),
            ConvNormAct(channels, channels, 1, bias=False, norm=norm),
        )


def _deformable(in_channels: int, channels: int, norm: NormKind | None) -> ConvNormAct:
    return ConvNormAct(in_channels, channels, 3, padding=1, bias=True, norm=norm, deform=2, deform_groups=2)
