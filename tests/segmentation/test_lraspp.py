"""LR-ASPP's head against its formula."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from omma_segmentation.losses import PixelCrossEntropy
from omma_segmentation.models.lraspp import LRASPPHead


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def lraspp(branch_channels: tuple[int, ...] = (3, 2)) -> LRASPPHead:
    return LRASPPHead(
        in_channels=(4, 6, 8),
        branch_channels=branch_channels,
        channels=5,
        num_classes=3,
        loss=PixelCrossEntropy(),
        window=4,
        window_strides=(2, 3),
    )


@torch.no_grad()
def test_the_coarsest_map_is_weighed_and_finer_ones_join_it():
    head = lraspp().double().eval()
    fine, middle, coarse = (torch.randn(1, c, s, s + 2).double() for c, s in ((4, 24), (6, 12), (8, 6)))
    # 6 x 8 positions hold windows at rows 0 and 2 and at columns 0 and 3.
    means = torch.stack([coarse[..., y : y + 4, x : x + 4].mean((2, 3)) for y in (0, 2) for x in (0, 3)], -1)
    gate = head.get_submodule("image_pool.1")(means.unflatten(-1, (2, 2))).sigmoid()
    gate = F.interpolate(gate, coarse.shape[-2:], mode="bilinear", align_corners=True)
    x = head.conv_up_input(head.aspp_conv(coarse) * gate)
    for level, i in ((middle, 1), (fine, 0)):
        x = F.interpolate(x, level.shape[-2:], mode="bilinear", align_corners=False)
        x = torch.cat([x, head.get_submodule(f"convs.conv{i}")(level)], dim=1)
        x = head.get_submodule(f"conv_ups.conv_up{i}")(x)
    torch.testing.assert_close(head([fine, middle, coarse]), head.conv_seg(x))


def test_branches_are_as_many_as_finer_maps():
    with pytest.raises(ValueError, match="one for each map but the last, got 1 for 3 maps"):
        lraspp(branch_channels=(3,))
