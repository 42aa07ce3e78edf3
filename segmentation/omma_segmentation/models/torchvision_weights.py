"""Weights of torchvision's segmenters (``deeplabv3_resnet50``, ``fcn_resnet50`` and kin) under our names."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from omma.checkpoint.readers import Weights
from omma_segmentation.datasets.classes import KNOWN

_ORIGIN = (
    "read as a segmenter of torchvision: names translated; its DeepLabV3 and FCN are the configs "
    "deeplabv3_r50-d8_torchvision_voc12 and fcn_r50-d8_torchvision_voc12"
)
_AUXILIARY = (
    (r"aux_classifier\.0\.(.+)", r"auxiliary_head.convs.0.conv.\1"),
    (r"aux_classifier\.1\.(.+)", r"auxiliary_head.convs.0.bn.\1"),
    (r"aux_classifier\.4\.(.+)", r"auxiliary_head.conv_seg.\1"),
)
_DEEPLAB = (
    (r"classifier\.0\.convs\.4\.1\.(.+)", r"decode_head.image_pool.1.conv.\1"),
    (r"classifier\.0\.convs\.4\.2\.(.+)", r"decode_head.image_pool.1.bn.\1"),
    (r"classifier\.0\.convs\.(\d)\.0\.(.+)", r"decode_head.aspp_modules.\1.conv.\2"),
    (r"classifier\.0\.convs\.(\d)\.1\.(.+)", r"decode_head.aspp_modules.\1.bn.\2"),
    (r"classifier\.0\.project\.0\.(.+)", r"decode_head.projection.conv.\1"),
    (r"classifier\.0\.project\.1\.(.+)", r"decode_head.projection.bn.\1"),
    (r"classifier\.1\.(.+)", r"decode_head.bottleneck.conv.\1"),
    (r"classifier\.2\.(.+)", r"decode_head.bottleneck.bn.\1"),
    (r"classifier\.4\.(.+)", r"decode_head.conv_seg.\1"),
)
_FCN = (
    (r"classifier\.0\.(.+)", r"decode_head.convs.0.conv.\1"),
    (r"classifier\.1\.(.+)", r"decode_head.convs.0.bn.\1"),
    (r"classifier\.4\.(.+)", r"decode_head.conv_seg.\1"),
)
_PROJECTION = "decode_head.projection.conv.weight"


def from_torchvision(state: Mapping[str, Tensor]) -> Weights | None:
    """``state`` of a torchvision DeepLabV3 or FCN under our names; None if it's of nothing such.

    The classes are Pascal VOC's where there are 21, background the first; else they are unknown.
    """
    if not {"backbone.conv1.weight", "classifier.4.weight"} <= state.keys():
        return None
    rules = (*_AUXILIARY, *(_DEEPLAB if "classifier.0.project.0.weight" in state else _FCN))
    out = {_renamed(name, rules): value for name, value in state.items()}
    if _PROJECTION in out:
        # Theirs joins the average behind the branches, ours before them.
        width = len(out[_PROJECTION])
        out[_PROJECTION] = out[_PROJECTION].roll(width, dims=1)
    known = KNOWN["pascal_voc"]
    classes = {"classes": known} if len(out["decode_head.conv_seg.weight"]) == len(known) else {}
    return Weights(out, {"origin": _ORIGIN, **classes})


def _renamed(name: str, rules: tuple[tuple[str, str], ...]) -> str:
    for pattern, new in rules:
        if match := re.fullmatch(pattern, name):
            return match.expand(new)
    return name
