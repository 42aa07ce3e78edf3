"""The bricks: names of parameters, initial values, norms."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from omma.layers import ConvNormAct, Scale, WindowMean, init_conv, make_norm, prior_bias


@pytest.mark.parametrize(
    ("norm", "names"),
    [
        (None, {"conv.weight", "conv.bias"}),
        ("gn", {"conv.weight", "gn.weight", "gn.bias"}),
        ("bn", {"conv.weight", "bn.weight", "bn.bias"}),
        ("sync_bn", {"conv.weight", "bn.weight", "bn.bias"}),
    ],
)
def test_children_are_called_as_in_published_checkpoints(norm, names: set[str]):
    assert {name for name, _ in ConvNormAct(32, 64, 3, norm=norm).named_parameters()} == names


def test_convolution_norm_and_activation_follow_each_other():
    brick = ConvNormAct(32, 64, 3, stride=2, padding=1, norm="gn", act="relu")
    x = torch.randn(2, 32, 9, 9)
    expected = brick.get_submodule("gn")(brick.conv(x)).clamp(min=0)
    torch.testing.assert_close(brick(x), expected)


def test_no_activation_keeps_negative_values():
    assert (ConvNormAct(8, 8, 1, act=None)(torch.randn(1, 8, 4, 4)) < 0).any()


def test_a_bias_can_be_asked_for_beside_a_norm():
    assert ConvNormAct(32, 32, 1, norm="gn", bias=True).conv.bias is not None


def test_group_norm_has_32_groups():
    norm = make_norm("gn", 96)
    assert isinstance(norm, nn.GroupNorm)
    assert norm.num_groups == 32


def test_batch_norm_over_processes_trains_in_one_process_too():
    x = torch.randn(4, 8, 5, 5)
    torch.testing.assert_close(make_norm("sync_bn", 8).train()(x), make_norm("bn", 8).train()(x))


def test_scale_has_one_number_called_scale():
    layer = Scale(2.5)
    assert {name: tuple(p.shape) for name, p in layer.named_parameters()} == {"scale": ()}
    torch.testing.assert_close(layer(torch.ones(3)), torch.full((3,), 2.5))


def test_a_sigmoid_starts_at_the_prior_probability():
    assert torch.sigmoid(torch.tensor(prior_bias(0.01))).item() == pytest.approx(0.01, rel=1e-5)


@pytest.mark.parametrize(
    ("kind", "deviation"),
    [
        ("normal", 0.02),
        ("kaiming", math.sqrt(2 / (128 * 9))),
        ("xavier", math.sqrt(2 / (64 * 9 + 128 * 9))),
    ],
)
def test_initial_weights_have_the_deviation_of_their_formula(kind, deviation: float):
    torch.manual_seed(0)
    conv = nn.Conv2d(64, 128, 3)
    init_conv(conv, kind=kind, std=0.02, bias=0.3)
    assert conv.weight.std().item() == pytest.approx(deviation, rel=0.02)
    assert conv.bias is not None
    assert (conv.bias == 0.3).all()


def test_a_map_smaller_than_a_window_is_averaged_as_a_whole():
    x = torch.randn(2, 3, 5, 9)
    expected = torch.stack([x[..., start : start + 7].mean((2, 3)) for start in (0, 2)], dim=-1)
    torch.testing.assert_close(WindowMean(7, (2, 2))(x), expected[:, :, None])
