"""UPerNet's head and the sub-pixels that it may give logits of."""

from __future__ import annotations

import pytest
import torch

from omma.checkpoint.classes import class_rows
from omma_segmentation.losses import PixelCrossEntropy
from omma_segmentation.models.upernet import UPerHead


def head(sub_pixels, classes=3):
    return UPerHead(
        in_channels=(4, 6),
        in_index=(0, 1),
        channels=5,
        num_classes=classes,
        loss=PixelCrossEntropy(),
        grids=(1, 2),
        norm="bn",
        sub_pixels=sub_pixels,
    ).eval()


MAPS = [torch.rand(2, 4, 8, 6), torch.rand(2, 6, 4, 3)]


@pytest.mark.parametrize("finer", [1, 2, 3])
def test_each_position_gives_the_logits_of_a_square_of_places(finer):
    it = head(finer)
    logits = it(MAPS)
    assert logits.shape == (2, 3, 8 * finer, 6 * finer)
    raw = it.conv_seg(it.features(MAPS))
    for c in range(3):
        for row in range(finer):
            for column in range(finer):
                place = logits[:, c, row::finer, column::finer]
                torch.testing.assert_close(place, raw[:, (c * finer + row) * finer + column])


def test_rows_of_sub_pixels_belong_to_their_class():
    it = head(2)
    rows = class_rows(it)["conv_seg.bias"]
    assert rows.total(3) == len(it.conv_seg.bias)
    with torch.no_grad():
        it.conv_seg.weight.zero_()
        it.conv_seg.bias.view(3, rows.per_class)[1] = 7
    assert bool((it(MAPS)[:, 1] == 7).all())


def test_no_sub_pixels_are_refused():
    with pytest.raises(ValueError, match="sub_pixels must be at least 1, got 0"):
        head(0)
