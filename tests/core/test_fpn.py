"""The pyramid against torchvision's with the same weights, and its extra levels."""

from __future__ import annotations

from collections import OrderedDict

import pytest
import torch
import torchvision
from torch import nn
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool, LastLevelP6P7

from omma.necks import FPN

WIDTHS = (8, 16, 32)


def pyramid(size: int = 40) -> list[torch.Tensor]:
    torch.manual_seed(0)
    # Odd sizes: an upsampled map isn't twice the one above.
    return [torch.randn(2, c, -(-size // 2**i), -(-(size + 6) // 2**i)) for i, c in enumerate(WIDTHS)]


def copy_convs(ours: FPN, theirs: nn.Module) -> None:
    for kind, blocks in (("lateral_convs", "inner_blocks"), ("fpn_convs", "layer_blocks")):
        for i in range(len(WIDTHS)):
            state = theirs.get_submodule(f"{blocks}.{i}.0").state_dict()
            ours.get_submodule(f"{kind}.{i}.conv").load_state_dict(state)


@torch.no_grad()
def test_levels_equal_torchvisions_with_a_subsampled_top():
    theirs = torchvision.ops.FeaturePyramidNetwork(list(WIDTHS), 12, LastLevelMaxPool())
    ours = FPN(in_channels=WIDTHS, out_channels=12, num_outs=4)
    copy_convs(ours, theirs)
    maps = pyramid(37)
    expected = theirs(OrderedDict((str(i), m) for i, m in enumerate(maps))).values()
    for found, level in zip(ours(maps), expected, strict=True):
        torch.testing.assert_close(found, level)


@pytest.mark.parametrize(("source", "their_width"), [("on_input", WIDTHS[-1]), ("on_output", 12)])
@torch.no_grad()
def test_extra_convolutions_equal_torchvisions_p6_and_p7(source, their_width: int):
    top = LastLevelP6P7(their_width, 12)
    theirs = torchvision.ops.FeaturePyramidNetwork(list(WIDTHS), 12, top)
    ours = FPN(
        in_channels=WIDTHS, out_channels=12, num_outs=5, extra_convs=source, relu_before_extra_convs=True
    )
    copy_convs(ours, theirs)
    for i, conv in ((3, top.p6), (4, top.p7)):
        ours.get_submodule(f"fpn_convs.{i}.conv").load_state_dict(conv.state_dict())
    maps = pyramid()
    expected = theirs(OrderedDict((str(i), m) for i, m in enumerate(maps))).values()
    for found, level in zip(ours(maps), expected, strict=True):
        torch.testing.assert_close(found, level)


@torch.no_grad()
def test_extra_convolutions_on_the_lateral_start_from_the_coarsest_lateral():
    neck = FPN(in_channels=WIDTHS, out_channels=12, num_outs=4, extra_convs="on_lateral")
    maps = pyramid()
    lateral = neck.lateral_convs[-1](maps[-1])
    torch.testing.assert_close(neck(maps)[-1], neck.fpn_convs[-1](lateral))


def test_start_level_leaves_out_the_finest_maps():
    neck = FPN(in_channels=WIDTHS, out_channels=12, num_outs=4, start_level=1, extra_convs="on_input")
    maps = pyramid()
    assert neck(maps)[0].shape[-2:] == maps[1].shape[-2:]
    assert neck.out_strides((4, 8, 16)) == (8, 16, 32, 64)
    assert {name for name, _ in neck.named_parameters() if name.startswith("lateral_convs")} == {
        f"lateral_convs.{i}.conv.{kind}" for i in (0, 1) for kind in ("weight", "bias")
    }


def test_a_norm_takes_the_place_of_the_bias():
    names = set(FPN(in_channels=WIDTHS, out_channels=32, num_outs=3, norm="gn").state_dict())
    assert {"lateral_convs.0.gn.weight", "fpn_convs.2.gn.bias"} <= names
    assert "fpn_convs.0.conv.bias" not in names


def test_fewer_levels_than_maps_are_refused():
    with pytest.raises(ValueError, match="3 maps from level 0 on can't make 2 levels"):
        FPN(in_channels=WIDTHS, num_outs=2)
