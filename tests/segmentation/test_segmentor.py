"""Which heads may stand where, and which pixels are learnt from."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

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


def segmentor(label_stride: int) -> Segmentor:
    preprocessor = Preprocessor(mean=(0, 0, 0), std=(1, 1, 1), divisor=1)
    backbone = PlainBackbone((4,), (4,))
    return Segmentor(
        backbone=backbone, decode_head=fcn(), preprocessor=preprocessor, label_stride=label_stride
    )


def test_all_pixels_are_learnt_from_unless_told_otherwise():
    labels = torch.arange(35).view(1, 5, 7)
    assert torch.equal(segmentor(1).learnt(labels), labels)


def test_one_pixel_of_each_cell_is_learnt_from_and_all_have_their_turn():
    torch.manual_seed(0)
    model, labels = segmentor(2), torch.arange(2 * 6 * 8).view(2, 6, 8)
    cells = labels.unfold(1, 2, 2).unfold(2, 2, 2).flatten(3)  # (N, 3, 4, pixels of a cell)
    turns = [int((cells == model.learnt(labels)[..., None]).all(dim=(0, 1, 2)).nonzero()) for _ in range(40)]
    assert set(turns) == {0, 1, 2, 3}


def test_a_stride_that_is_none_is_refused():
    with pytest.raises(ValueError, match="label_stride must be at least 1, got 0"):
        segmentor(0)
