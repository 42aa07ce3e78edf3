"""Deformable convolutions and context blocks: names, initial function, formula, and their place in ResNet."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from omma.backbones import ContextPlugin, Deform, ResNet
from omma.layers import ContextBlock, DeformConv2d, ModulatedDeformConv2d


def moved(layer: DeformConv2d) -> DeformConv2d:
    """The layer with offsets that differ from zero."""
    torch.manual_seed(0)
    for value in layer.conv_offset.parameters():
        nn.init.normal_(value, std=0.2)
    return layer.double()


def test_parameters_are_called_as_in_published_checkpoints():
    names = {"weight", "bias", "conv_offset.weight", "conv_offset.bias"}
    assert set(DeformConv2d(4, 6, 3, bias=True).state_dict()) == names
    layer = ModulatedDeformConv2d(4, 6, 3, deform_groups=2)
    assert set(layer.state_dict()) == names - {"bias"}
    assert tuple(layer.conv_offset.weight.shape) == (2 * 27, 4, 3, 3)


@pytest.mark.parametrize("options", [{}, {"stride": 2, "padding": 1}, {"dilation": 2, "groups": 2}])
def test_it_starts_as_an_ordinary_convolution(options: dict):
    layer = DeformConv2d(4, 6, 3, bias=True, **options)
    x = torch.randn(2, 4, 9, 8)
    torch.testing.assert_close(layer(x), F.conv2d(x, layer.weight, layer.bias, **options))


def test_the_modulated_one_starts_as_half_of_an_ordinary_convolution():
    layer = ModulatedDeformConv2d(4, 6, 3, padding=1)
    x = torch.randn(2, 4, 9, 8)
    torch.testing.assert_close(layer(x), F.conv2d(x, layer.weight, padding=1) / 2)


def test_the_last_third_of_the_offset_channels_are_weights_of_the_taps():
    layer = ModulatedDeformConv2d(1, 1, 3, padding=1)
    nn.init.constant_(layer.conv_offset.get_parameter("bias")[18:], -100.0)  # sigmoid: 0
    nn.init.constant_(layer.conv_offset.get_parameter("bias")[22:23], 100.0)  # the middle tap: 1
    x = torch.randn(1, 1, 5, 5)
    torch.testing.assert_close(layer(x), x * layer.weight[0, 0, 1, 1])


def test_offsets_are_rows_then_columns():
    layer = DeformConv2d(1, 1, 1)
    nn.init.constant_(layer.conv_offset.get_parameter("bias")[0:1], 2.0)
    nn.init.constant_(layer.conv_offset.get_parameter("bias")[1:2], 1.0)
    x = torch.randn(1, 1, 6, 6)
    torch.testing.assert_close(layer(x)[..., :4, :5], x[..., 2:, 1:] * layer.weight)


@pytest.mark.parametrize("kind", [DeformConv2d, ModulatedDeformConv2d])
def test_offsets_and_weights_get_a_gradient(kind: type[DeformConv2d]):
    layer = moved(kind(2, 2, 3, padding=1))
    layer(torch.randn(1, 2, 5, 5, dtype=torch.float64)).square().sum().backward()
    for name, value in layer.named_parameters():
        assert value.grad is not None, name
        assert value.grad.abs().sum() > 0, name


def test_channels_that_do_not_split_into_groups_are_an_error():
    with pytest.raises(ValueError, match="deform_groups=3"):
        DeformConv2d(4, 4, 3, deform_groups=3)


def test_a_context_block_adds_one_vector_from_the_weighted_mean():
    torch.manual_seed(0)
    block = ContextBlock(8, reduction=2)
    for value in block.parameters():
        nn.init.normal_(value, std=0.5)
    x = torch.randn(2, 8, 3, 4)
    weight, bias = block.conv_mask.weight[0, :, 0, 0], block.conv_mask.bias
    share = torch.softmax(torch.einsum("nchw,c->nhw", x, weight).add(bias).flatten(1), 1)
    mean = torch.einsum("nci,ni->nc", x.flatten(2), share)
    first, norm, _, last = block.channel_add_conv
    hidden = F.linear(mean, first.weight[..., 0, 0], first.bias)
    hidden = F.layer_norm(hidden, (4,), norm.weight[:, 0, 0], norm.bias[:, 0, 0]).relu()
    vector = F.linear(hidden, last.weight[..., 0, 0], last.bias)
    torch.testing.assert_close(block(x), x + vector[..., None, None])


def test_a_context_block_starts_as_the_identity():
    x = torch.randn(2, 8, 3, 4)
    assert torch.equal(ContextBlock(8, reduction=4)(x), x)


def test_a_resnet_with_either_starts_as_the_plain_one_with_its_weights(tmp_path: Path):
    torch.manual_seed(0)
    plain = ResNet(depth=50, out_indices=(1,)).eval()
    torch.save(plain.state_dict(), tmp_path / "r50.pth")
    extras = {"deform": Deform(version=1), "plugins": (ContextPlugin(reduction=4),)}
    ours = ResNet(depth=50, out_indices=(1,), weights=str(tmp_path / "r50.pth"), **extras).eval()
    x = torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(ours(x)[0], plain(x)[0], rtol=1e-4, atol=1e-4)


def test_only_the_chosen_stages_have_them():
    with torch.device("meta"):
        net = ResNet(depth=50, deform=Deform(version=2, stages=(3,)), plugins=(ContextPlugin(stages=(1, 2)),))
    assert {name.split(".")[0] for name in net.state_dict() if "conv_offset" in name} == {"layer4"}
    assert {name.split(".")[0] for name in net.state_dict() if "context_block" in name} == {
        "layer2",
        "layer3",
    }


def test_networks_without_bottlenecks_have_no_place_for_them():
    with pytest.raises(ValueError, match="bottlenecks: depth 50, 101 or 152, got 18"):
        ResNet(depth=18, deform=Deform())
