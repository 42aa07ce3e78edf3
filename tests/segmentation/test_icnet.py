"""ICNet's image at half its size, and what its branches need of a backbone."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from omma.backbones import ResNet
from omma_segmentation.models.icnet import ICNeck, ICNet, halved


@pytest.mark.parametrize("size", [(6, 8), (7, 9)], ids=["even", "odd"])
def test_half_the_size_is_the_mean_of_four_pixels(size: tuple[int, int]):
    x = torch.randn(2, 3, *size)
    torch.testing.assert_close(halved(x), F.avg_pool2d(x, 2))


@torch.no_grad()
def test_strides_are_those_of_the_maps():
    backbone = ResNet(
        depth=18, deep_stem=True, stage_strides=(1, 2, 1, 1), dilations=(1, 1, 2, 4), contract_dilation=True
    )
    network = ICNet(backbone=backbone, pooled_channels=8, grids=(1, 2), norm="bn").eval()
    neck = ICNeck(in_channels=(64, 256, 256), out_channels=8, norm="bn").eval()
    maps = network(torch.randn(1, 3, 128, 192))
    # The pooling rounds up, so that the coarser maps have a row and a column more.
    assert [tuple(x.shape[1:]) for x in maps] == [(64, 16, 24), (256, 9, 13), (256, 4, 6)]
    assert [tuple(x.shape[1:]) for x in neck(maps)] == [(8, 9, 13), (8, 16, 24), (8, 16, 24)]
    assert neck.out_strides(network.strides) == (16, 8, 8)


@pytest.mark.parametrize(
    ("backbone", "message"),
    [
        (lambda: ResNet(depth=18), "need a backbone with a deep stem"),
        (lambda: ResNet(depth=18, deep_stem=True), r"strides 4, 8, 8 and 8, got \[4, 8, 16, 32\]"),
    ],
    ids=["stem", "strides"],
)
def test_a_backbone_that_the_branches_cannot_divide_is_refused(backbone, message):
    with pytest.raises(ValueError, match=message):
        ICNet(backbone=backbone())
