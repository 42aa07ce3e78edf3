"""What every neck must do, and what single ones compute, against their formulas."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from omma import necks
from omma.layers import NonLocal2d
from omma.necks import Neck, channels_behind

CHANNELS = (8, 16, 24, 32)
STRIDES = (4, 8, 16, 32)

NECKS = {
    "BFP": lambda: necks.BFP(in_channels=(8, 8, 8, 8), refine="conv"),
    "BFP non-local": lambda: necks.BFP(in_channels=(8, 8, 8, 8), refine="non_local"),
    "CSPNeXtPAFPN": lambda: necks.CSPNeXtPAFPN(in_channels=CHANNELS, out_channels=8, blocks=1),
    "HRFPN": lambda: necks.HRFPN(in_channels=CHANNELS, out_channels=8),
    "NASFPN": lambda: necks.NASFPN(in_channels=CHANNELS, out_channels=8, stacks=2),
    "PAFPN": lambda: necks.PAFPN(in_channels=CHANNELS, out_channels=8),
    "PAFPN extra": lambda: necks.PAFPN(
        in_channels=CHANNELS, out_channels=8, start_level=1, extra_convs="on_input"
    ),
    "SSDNeck": lambda: necks.SSDNeck(
        in_channels=CHANNELS, out_channels=(*CHANNELS, 16, 8), strides=(2, 1), paddings=(1, 1)
    ),
    "SSDNeck separable": lambda: necks.SSDNeck(
        in_channels=CHANNELS,
        out_channels=(*CHANNELS, 16),
        strides=(2,),
        paddings=(1,),
        l2_scale=None,
        depthwise=True,
        norm="bn",
        act="relu6",
    ),
    "YOLOV3Neck": lambda: necks.YOLOV3Neck(in_channels=CHANNELS, out_channels=(4, 8, 8, 16)),
    "YOLOXPAFPN": lambda: necks.YOLOXPAFPN(in_channels=CHANNELS, out_channels=8, blocks=1, depthwise=True),
}

every_neck = pytest.mark.parametrize("name", list(NECKS))


def maps_for(neck: Neck, size: tuple[int, int] = (128, 256)) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randn(2, c, size[0] // s, size[1] // s, generator=generator)
        for c, s in zip(neck.in_channels, STRIDES)
    ]


@every_neck
@torch.no_grad()
def test_levels_have_the_stated_channels_and_strides(name: str):
    neck = NECKS[name]().eval()
    levels = neck(maps_for(neck))
    strides = neck.out_strides(STRIDES)
    assert len(levels) == len(neck.out_channels) == len(strides)
    for level, channels, stride in zip(levels, neck.out_channels, strides):
        assert tuple(level.shape) == (2, channels, math.ceil(128 / stride), math.ceil(256 / stride))


@every_neck
def test_every_parameter_learns(name: str):
    torch.manual_seed(0)
    neck = NECKS[name]().train()
    sum(level.square().mean() for level in neck(maps_for(neck))).backward()
    assert [n for n, p in neck.named_parameters() if p.grad is None] == []


@every_neck
@torch.no_grad()
def test_levels_of_odd_sizes_fit_together(name: str):
    neck = NECKS[name]().eval()
    maps = [
        torch.randn(1, c, math.ceil(200 / s), math.ceil(180 / s)) for c, s in zip(neck.in_channels, STRIDES)
    ]
    levels = neck(maps)
    assert all(level.isfinite().all() for level in levels)


@torch.no_grad()
def test_dilated_encoder_adds_its_blocks_to_a_projection():
    encoder = necks.DilatedEncoder(in_channels=(16,), out_channels=8, block_channels=4).eval()
    x = torch.randn(1, 16, 12, 12)
    assert encoder([x])[0].shape == (1, 8, 12, 12)
    for block in encoder.dilated_encoder_blocks.children():
        for name, value in block.named_parameters():
            if name.startswith("conv3.bn"):
                nn.init.zeros_(value)  # so that a block gives nothing
    weight = (encoder.fpn_conv.weight, encoder.fpn_conv.bias)
    lateral = F.conv2d(x, encoder.lateral_conv.weight, encoder.lateral_conv.bias) / math.sqrt(1 + 1e-5)
    expected = F.conv2d(lateral, *weight, padding=1) / math.sqrt(1 + 1e-5)
    torch.testing.assert_close(encoder([x])[0], expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_balanced_pyramid_adds_the_mean_of_all_levels_to_each():
    neck = necks.BFP(in_channels=(8, 8), refine_level=1)
    fine, coarse = torch.randn(1, 8, 8, 8), torch.randn(1, 8, 4, 4)
    mean = (F.max_pool2d(fine, 2) + coarse) / 2
    found = neck([fine, coarse])
    torch.testing.assert_close(found[0], fine + mean.repeat_interleave(2, 2).repeat_interleave(2, 3))
    torch.testing.assert_close(found[1], coarse + mean)


@pytest.mark.parametrize("scaled", [False, True])
@torch.no_grad()
def test_non_local_attention_is_scaled_dot_product_attention(scaled: bool):
    layer = NonLocal2d(8, reduction=2, scaled=scaled)
    x = torch.randn(2, 8, 5, 6)
    torch.testing.assert_close(layer(x), x)  # the identity at first
    for value in layer.parameters():
        nn.init.normal_(value)
    query, key, value = (part(x).flatten(2).transpose(1, 2) for part in (layer.theta, layer.phi, layer.g))
    scale = None if scaled else 1.0
    seen = F.scaled_dot_product_attention(query, key, value, scale=scale).transpose(1, 2)
    expected = x + layer.conv_out(seen.reshape(2, 4, 5, 6))
    torch.testing.assert_close(layer(x), expected, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_the_first_map_of_ssd_has_vectors_of_the_given_length():
    neck = necks.SSDNeck(in_channels=(8,), out_channels=(8,), strides=(), paddings=(), l2_scale=20.0)
    level = neck([torch.randn(2, 8, 4, 4)])[0]
    torch.testing.assert_close(level.norm(dim=1), torch.full((2, 4, 4), 20.0))


def test_path_aggregation_without_its_second_path_is_a_feature_pyramid():
    torch.manual_seed(0)
    neck = necks.PAFPN(in_channels=CHANNELS, out_channels=8).eval()
    pyramid = necks.FPN(in_channels=CHANNELS, out_channels=8).eval()
    pyramid.load_state_dict({k: v for k, v in neck.state_dict().items() if k in pyramid.state_dict()})
    with torch.no_grad():
        for conv in neck.downsample_convs.children():
            nn.init.zeros_(conv.conv.weight)
        for conv in neck.pafpn_convs.children():
            nn.init.dirac_(conv.conv.weight)
        maps = maps_for(neck)
        for a, b in zip(neck(maps), pyramid(maps), strict=True):
            torch.testing.assert_close(a, b)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: necks.BFP(in_channels=(8, 16)), r"same channels, got \(8, 16\)"),
        (
            lambda: necks.BFP(in_channels=(8, 8), refine_level=2),
            "refine_level must be one of 2 levels, got 2",
        ),
        (lambda: necks.NASFPN(in_channels=(8,), start_level=1), "got 0 from level 1 on"),
        (lambda: necks.DilatedEncoder(in_channels=(8, 8)), r"takes one map, got channels \(8, 8\)"),
        (lambda: necks.YOLOV3Neck(in_channels=(8, 8), out_channels=(8,)), "as many in_channels"),
        (
            lambda: necks.SSDNeck(in_channels=(8,), out_channels=(16,), strides=(), paddings=()),
            r"begin with \(8,\), got \(16,\)",
        ),
        (
            lambda: necks.SSDNeck(in_channels=(8,), out_channels=(8, 16), strides=(), paddings=()),
            "1 extra levels need as many strides",
        ),
    ],
)
def test_parts_that_don_t_fit_are_refused(build, message: str):
    with pytest.raises(ValueError, match=message):
        build()


def test_enlarging_starts_as_bilinear_interpolation():
    enlarge = necks.DeconvNeck(in_channels=(8,), channels=(8,)).deconv_layers[1].conv
    x = torch.rand(1, 8, 5, 6)
    wanted = F.interpolate(x, scale_factor=2, mode="bilinear")
    # At the border a transposed convolution sees zeros, interpolation the border's own values.
    torch.testing.assert_close(enlarge(x)[..., 1:-1, 1:-1], wanted[..., 1:-1, 1:-1])


def test_heads_get_the_maps_of_the_neck_or_without_one_of_the_backbone():
    neck = necks.PAFPN(in_channels=CHANNELS, out_channels=8)
    assert channels_behind(neck, list(CHANNELS)) == (8, 8, 8, 8, 8)
    assert channels_behind(None, list(CHANNELS)) == CHANNELS


def test_a_neck_that_takes_other_channels_than_the_backbone_gives_is_refused():
    neck = necks.PAFPN(in_channels=CHANNELS, out_channels=8)
    with pytest.raises(ValueError, match=r"neck.in_channels \[8, 16, 24, 32\] are not .* \[8, 16, 24\]"):
        channels_behind(neck, (8, 16, 24))
