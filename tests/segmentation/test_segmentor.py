"""Heads that can't stand where they do are refused."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from omma.model import Preprocessor
from omma_segmentation.losses import PixelCrossEntropy
from omma_segmentation.models.fcn import FCNHead
from omma_segmentation.models.heads.decode_head import MapHead
from omma_segmentation.models.point_rend import PointHead
from omma_segmentation.models.segmentor import Segmentor

from ..plain import PlainBackbone


def fcn(num_classes: int = 3) -> FCNHead:
    return FCNHead(in_channels=4, channels=4, num_classes=num_classes, loss=PixelCrossEntropy())


def point() -> PointHead:
    return PointHead(in_channels=4, channels=6, num_classes=3, loss=PixelCrossEntropy())


@pytest.mark.parametrize(
    ("heads", "message"),
    [
        (lambda: (), "first decode head must decode maps, got NoneType"),
        (lambda: (point(), point()), "first decode head must decode maps, got PointHead"),
        (lambda: (fcn(), fcn()), "must refine the logits of the one before"),
        (lambda: (fcn(2), point()), "decode_1 head has 3 classes, decode head 2"),
    ],
    ids=["none", "refining first", "decoding twice", "other classes"],
)
def test_heads_in_a_row_must_fit_each_other(heads: Callable[[], tuple[MapHead, ...]], message: str):
    preprocessor = Preprocessor(mean=(0, 0, 0), std=(1, 1, 1), divisor=1)
    with pytest.raises(ValueError, match=message):
        Segmentor(backbone=PlainBackbone((4,), (4,)), decode_head=heads(), preprocessor=preprocessor)
