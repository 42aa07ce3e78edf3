"""The pyramid that upsamples by CARAFE: names, sizes, and what it shares with the plain one."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from omma.necks import FPN, FPNCarafe

WIDTHS = (8, 16, 32)


def pyramid() -> list[torch.Tensor]:
    torch.manual_seed(0)
    return [torch.randn(1, c, -(-37 // 2**i), -(-22 // 2**i)) for i, c in enumerate(WIDTHS)]


def test_parameters_are_called_as_in_published_checkpoints():
    neck = FPNCarafe(in_channels=WIDTHS, out_channels=8, num_outs=4)
    shapes = {name: tuple(value.shape) for name, value in neck.named_parameters()}
    assert shapes["lateral_convs.2.conv.weight"] == (8, 32, 1, 1)
    assert shapes["lateral_convs.3.conv.weight"] == (8, 32, 3, 3)
    assert shapes["fpn_convs.3.conv.weight"] == (8, 8, 3, 3)
    assert shapes["upsample_modules.2.channel_compressor.weight"] == (64, 8, 1, 1)
    assert shapes["upsample_modules.0.content_encoder.weight"] == (100, 64, 3, 3)
    assert len(neck.upsample_modules) == 3


def test_with_kernels_that_copy_the_pixel_it_is_the_plain_pyramid():
    ours = FPNCarafe(in_channels=WIDTHS, out_channels=8, num_outs=3)
    plain = FPN(in_channels=WIDTHS, out_channels=8, num_outs=3)
    ours.load_state_dict(plain.state_dict(), strict=False)
    for module in ours.upsample_modules:
        encoder = module.get_submodule("content_encoder")
        nn.init.zeros_(encoder.get_parameter("weight"))
        nn.init.constant_(encoder.get_parameter("bias")[4 * 12 : 4 * 13], 100.0)  # tap 12 of 25: the middle
    maps = pyramid()
    for found, expected in zip(ours(maps), plain(maps), strict=True):
        torch.testing.assert_close(found, expected)


def test_extra_levels_start_from_the_last_map_and_go_down_too():
    neck = FPNCarafe(in_channels=WIDTHS, out_channels=8, num_outs=5)
    levels = neck(pyramid())
    assert [tuple(level.shape[2:]) for level in levels] == [(37, 22), (19, 11), (10, 6), (5, 3), (3, 2)]
    assert neck.out_strides((8, 16, 32)) == (8, 16, 32, 64, 128)
    levels[0].sum().backward()
    top = neck.get_parameter("lateral_convs.4.conv.weight").grad
    assert top is not None
    assert top.abs().sum() > 0


def test_fewer_levels_than_maps_are_an_error():
    with pytest.raises(ValueError, match="3 maps can't make 2 levels"):
        FPNCarafe(in_channels=WIDTHS, num_outs=2)
