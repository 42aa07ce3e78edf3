"""Weights of torchvision's detectors (``fasterrcnn_resnet50_fpn`` and kin) under our names and class order.

torchvision counts background as class 0 of every head, and numbers COCO's classes by their ids 1 to 90, of
which ten name nothing. Here background is the last row of a softmax and nowhere else, and COCO's classes are
80.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from omma.checkpoint.readers import Weights
from omma_detection.datasets.classes import COCO

_COCO_ROWS = 91
_NO_CLASS = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}
"""Ids between 1 and 90 that COCO's detection classes leave out."""

_ORIGIN = (
    "read as a detector of torchvision: names translated, rows of ids without a class dropped, background "
    "last; its RetinaNet and FCOS are the configs retinanet_r50_fpn_torchvision_coco and "
    "fcos_r50_fpn_torchvision_coco"
)
_LEAF = r"(weight|bias)"
_NAMES: tuple[tuple[str, str | Callable[[re.Match[str]], str]], ...] = (
    (r"backbone\.body\.(.+)", r"backbone.\1"),
    # Since torchvision 0.14 these convolutions lie in blocks of their own; published files are older.
    (rf"backbone\.fpn\.inner_blocks\.(\d)(?:\.0)?\.{_LEAF}", r"neck.lateral_convs.\1.conv.\2"),
    (rf"backbone\.fpn\.layer_blocks\.(\d)(?:\.0)?\.{_LEAF}", r"neck.fpn_convs.\1.conv.\2"),
    (rf"backbone\.fpn\.extra_blocks\.p6\.{_LEAF}", r"neck.fpn_convs.3.conv.\1"),
    (rf"backbone\.fpn\.extra_blocks\.p7\.{_LEAF}", r"neck.fpn_convs.4.conv.\1"),
    (rf"rpn\.head\.conv(?:\.0\.0)?\.{_LEAF}", r"rpn_head.rpn_conv.\1"),
    (rf"rpn\.head\.cls_logits\.{_LEAF}", r"rpn_head.rpn_cls.\1"),
    (rf"rpn\.head\.bbox_pred\.{_LEAF}", r"rpn_head.rpn_reg.\1"),
    (rf"roi_heads\.box_head\.fc6\.{_LEAF}", r"roi_head.bbox_head.shared_fcs.0.\1"),
    (rf"roi_heads\.box_head\.fc7\.{_LEAF}", r"roi_head.bbox_head.shared_fcs.1.\1"),
    (rf"roi_heads\.box_predictor\.cls_score\.{_LEAF}", r"roi_head.bbox_head.fc_cls.\1"),
    (rf"roi_heads\.box_predictor\.bbox_pred\.{_LEAF}", r"roi_head.bbox_head.fc_reg.\1"),
    (rf"roi_heads\.mask_head\.(\d)\.0\.{_LEAF}", r"roi_head.mask_head.convs.\1.conv.\2"),
    (
        rf"roi_heads\.mask_head\.mask_fcn(\d)\.{_LEAF}",
        lambda m: f"roi_head.mask_head.convs.{int(m[1]) - 1}.conv.{m[2]}",
    ),
    (rf"roi_heads\.mask_predictor\.conv5_mask\.{_LEAF}", r"roi_head.mask_head.upsample.\1"),
    (rf"roi_heads\.mask_predictor\.mask_fcn_logits\.{_LEAF}", r"roi_head.mask_head.conv_logits.\1"),
)
_RETINA_NAMES: tuple[tuple[str, str | Callable[[re.Match[str]], str]], ...] = (
    (rf"head\.classification_head\.conv\.(\d)\.0\.{_LEAF}", r"bbox_head.cls_convs.\1.conv.\2"),
    (rf"head\.regression_head\.conv\.(\d)\.0\.{_LEAF}", r"bbox_head.reg_convs.\1.conv.\2"),
    # In older files each convolution is followed by its ReLU in one sequence.
    (
        rf"head\.classification_head\.conv\.(\d)\.{_LEAF}",
        lambda m: f"bbox_head.cls_convs.{int(m[1]) // 2}.conv.{m[2]}",
    ),
    (
        rf"head\.regression_head\.conv\.(\d)\.{_LEAF}",
        lambda m: f"bbox_head.reg_convs.{int(m[1]) // 2}.conv.{m[2]}",
    ),
    (rf"head\.classification_head\.cls_logits\.{_LEAF}", r"bbox_head.retina_cls.\1"),
    (rf"head\.regression_head\.bbox_reg\.{_LEAF}", r"bbox_head.retina_reg.\1"),
)
_FCOS_NAMES: tuple[tuple[str, str | Callable[[re.Match[str]], str]], ...] = (
    (rf"head\.classification_head\.conv\.(\d+)\.{_LEAF}", lambda m: _fcos_tower("cls", m)),
    (rf"head\.regression_head\.conv\.(\d+)\.{_LEAF}", lambda m: _fcos_tower("reg", m)),
    (rf"head\.classification_head\.cls_logits\.{_LEAF}", r"bbox_head.conv_cls.\1"),
    (rf"head\.regression_head\.bbox_reg\.{_LEAF}", r"bbox_head.conv_reg.\1"),
    (rf"head\.regression_head\.bbox_ctrness\.{_LEAF}", r"bbox_head.conv_centerness.\1"),
)


def from_torchvision(state: Mapping[str, Tensor]) -> Weights | None:
    """``state`` of a torchvision detector under our names; None if it's of nothing such.

    The classes are COCO's 80 where the heads have torchvision's 91 rows; else they are unknown.
    What torchvision's FCOS lacks of ours, a factor for each level, is 1. Names without a counterpart stay.
    """
    if not any(name.startswith("backbone.body.") for name in state):
        return None
    fcos = "head.regression_head.bbox_ctrness.weight" in state
    rules = (*_NAMES, *(_FCOS_NAMES if fcos else _RETINA_NAMES))
    out = {_renamed(name, rules): value for name, value in state.items()}
    classes = _order_classes(out)
    if fcos:
        out |= {f"bbox_head.scales.{level}.scale": torch.tensor(1.0) for level in range(5)}
    return Weights(out, {"origin": _ORIGIN, **({"classes": classes} if classes else {})})


def _renamed(name: str, rules: tuple[tuple[str, str | Callable[[re.Match[str]], str]], ...]) -> str:
    for pattern, new in rules:
        if match := re.fullmatch(pattern, name):
            return new(match) if callable(new) else match.expand(new)
    return name


def _fcos_tower(tower: str, match: re.Match[str]) -> str:
    """Convolution, group norm and ReLU follow each other in one sequence."""
    layer, part = divmod(int(match[1]), 3)
    return f"bbox_head.{tower}_convs.{layer}.{'gn' if part else 'conv'}.{match[2]}"


def _order_classes(state: dict[str, Tensor]) -> tuple[str, ...]:
    """Take background and empty ids out of the heads in ``state``; returns the other names, if known."""
    total = 0
    for leaf in ("weight", "bias"):
        # Rows are (repeats, classes, per class).
        anchors = len(state.get("bbox_head.retina_reg.bias", ())) // 4
        for name, repeats, per_class, background_last in (
            (f"roi_head.bbox_head.fc_cls.{leaf}", 1, 1, True),
            (f"roi_head.bbox_head.fc_reg.{leaf}", 1, 4, False),
            (f"roi_head.mask_head.conv_logits.{leaf}", 1, 1, False),
            (f"bbox_head.retina_cls.{leaf}", anchors, 1, False),
            (f"bbox_head.conv_cls.{leaf}", 1, 1, False),
        ):
            if name in state:
                rows = state[name].unflatten(0, (repeats, -1, per_class))
                total = rows.shape[1]
                kept = _kept(total) + ([0] if background_last else [])
                state[name] = rows[:, kept].flatten(0, 2)
    return COCO if total == _COCO_ROWS else ()


def _kept(total: int) -> list[int]:
    return [row for row in range(1, total) if total != _COCO_ROWS or row not in _NO_CLASS]
