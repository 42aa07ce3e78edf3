"""Deformable attention, CARAFE, masked and switchable convolutions, criss-cross attention as modules."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from omma.layers import (
    Carafe,
    ConvAWS2d,
    CrissCrossAttention,
    MaskedConv2d,
    MultiScaleDeformableAttention,
    SAConv2d,
)


def test_names_are_those_of_published_checkpoints():
    def shapes(module: nn.Module) -> dict[str, tuple[int, ...]]:
        return {name: tuple(value.shape) for name, value in module.state_dict().items()}

    attention = shapes(MultiScaleDeformableAttention(channels=32, heads=4, levels=3, points=2))
    assert attention["sampling_offsets.weight"] == (48, 32)
    assert attention["attention_weights.bias"] == (24,)
    assert {name.split(".")[0] for name in attention} == {
        "sampling_offsets",
        "attention_weights",
        "value_proj",
        "output_proj",
    }
    assert shapes(Carafe(16)) == {
        "channel_compressor.weight": (64, 16, 1, 1),
        "channel_compressor.bias": (64,),
        "content_encoder.weight": (100, 64, 3, 3),
        "content_encoder.bias": (100,),
    }
    assert shapes(MaskedConv2d(4, 6, 3)) == {"weight": (6, 4, 3, 3), "bias": (6,)}
    assert set(shapes(CrissCrossAttention(16))) == {
        "gamma.scale",
        *(f"{part}_conv.{kind}" for part in ("query", "key", "value") for kind in ("weight", "bias")),
    }
    sac = shapes(SAConv2d(4, 6, 3, deform=True))
    assert {name: sac[name] for name in ("weight", "weight_diff", "weight_gamma", "weight_beta")} == {
        "weight": (6, 4, 3, 3),
        "weight_diff": (6, 4, 3, 3),
        "weight_gamma": (6, 1, 1, 1),
        "weight_beta": (6, 1, 1, 1),
    }
    assert sac["switch.weight"] == (1, 4, 1, 1)
    assert sac["pre_context.weight"] == (4, 4, 1, 1)
    assert sac["post_context.weight"] == (6, 6, 1, 1)
    assert sac["offset_s.weight"] == sac["offset_l.weight"] == (18, 4, 3, 3)


def identity_attention(**sizes: int) -> MultiScaleDeformableAttention:
    attention = MultiScaleDeformableAttention(**sizes)
    for layer in (attention.value_proj, attention.output_proj):
        nn.init.eye_(layer.weight)
    return attention


def test_heads_look_in_all_directions_at_first():
    attention = identity_attention(channels=4, heads=4, levels=1, points=1)
    value = torch.arange(9.0).reshape(1, 9, 1).expand(-1, -1, 4)  # 3 x 3, the same in every head
    centre = torch.full((1, 1, 1, 2), 0.5)
    out = attention(torch.randn(1, 1, 4), value, references=centre, sizes=[(3, 3)])
    assert out.flatten().tolist() == pytest.approx([5, 7, 3, 1], abs=1e-5)  # right, down, left, up


def test_points_lie_further_and_further_away_and_count_alike_at_first():
    attention = identity_attention(channels=1, heads=1, levels=1, points=3)
    value = torch.tensor([1.0, 10, 100, 1000, 5]).reshape(1, 5, 1)
    start = torch.tensor([0.1, 0.5]).reshape(1, 1, 1, 2)  # the first of 5 pixels
    out = attention(torch.zeros(1, 1, 1), value, references=start, sizes=[(1, 5)])
    assert out.item() == pytest.approx((10 + 100 + 1000) / 3)


def test_offsets_from_a_box_are_shares_of_half_its_size():
    attention = identity_attention(channels=1, heads=1, levels=1, points=1)
    value = torch.tensor([1.0, 10, 100, 1000, 5]).reshape(1, 5, 1)
    box = torch.tensor([0.1, 0.5, 0.8, 1.0]).reshape(1, 1, 1, 4)  # half its width is two pixels
    out = attention(torch.zeros(1, 1, 1), value, references=box, sizes=[(1, 5)])
    assert out.item() == pytest.approx(100)


def test_levels_are_summed_by_the_weights_that_the_query_gives():
    attention = identity_attention(channels=1, heads=1, levels=2, points=1)
    nn.init.zeros_(attention.sampling_offsets.bias)
    with torch.no_grad():
        attention.attention_weights.weight[:] = torch.tensor([[1.0], [0.0]])
    value = torch.tensor([8.0, 8, 8, 8, 2]).reshape(1, 5, 1)
    centre = torch.full((1, 1, 2, 2), 0.5)
    query = torch.log(torch.tensor(3.0)).reshape(1, 1, 1)  # softmax of (log 3, 0): 3/4 and 1/4
    out = attention(query, value, references=centre, sizes=[(2, 2), (1, 1)])
    assert out.item() == pytest.approx(0.75 * 8 + 0.25 * 2)


def test_padded_values_are_none():
    attention = identity_attention(channels=1, heads=1, levels=1, points=1)
    nn.init.zeros_(attention.sampling_offsets.bias)
    padding = torch.tensor([[False, True]])
    places = torch.tensor([[0.25, 0.5], [0.75, 0.5]]).reshape(1, 2, 1, 2)
    out = attention(
        torch.zeros(1, 2, 1), torch.ones(1, 2, 1), references=places, sizes=[(1, 2)], padding=padding
    )
    assert out.flatten().tolist() == [1.0, 0.0]


def test_attention_trains_under_autocast():
    attention = MultiScaleDeformableAttention(channels=8, heads=2, levels=1, points=2)
    value = torch.randn(1, 12, 8)
    references = torch.rand(1, 3, 1, 2)
    with torch.autocast("cpu", torch.bfloat16):
        out = attention(torch.randn(1, 3, 8), value, references=references, sizes=[(3, 4)])
    out.float().square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in attention.parameters())


def test_carafe_keeps_a_constant_map_inside():
    layer = Carafe(8, groups=2)
    nn.init.normal_(layer.content_encoder.weight)
    out = layer(torch.ones(1, 8, 7, 7))
    assert out.shape == (1, 8, 14, 14)
    torch.testing.assert_close(out[..., 4:-4, 4:-4], torch.ones(1, 8, 6, 6))


def test_carafe_is_nearly_a_mean_of_25_pixels_at_first():
    x = torch.randn(1, 4, 9, 9)
    mean = F.avg_pool2d(x, 5, stride=1, padding=2)
    torch.testing.assert_close(
        Carafe(4)(x), mean.repeat_interleave(2, 2).repeat_interleave(2, 3), atol=0.02, rtol=0
    )


def test_the_predicted_kernels_of_an_output_pixel_are_found_by_pixel_shuffle():
    layer = Carafe(1, kernel_size=3, compressed_channels=1)
    nn.init.zeros_(layer.content_encoder.weight)
    bias = layer.content_encoder.get_parameter("bias")
    # The lower right quarter (3 of 4) of each pixel reads the one to the right (tap 5 of 9).
    nn.init.constant_(bias[4 * 5 + 3 : 4 * 5 + 4], 100.0)
    x = torch.randn(1, 1, 4, 4)
    torch.testing.assert_close(layer(x)[0, 0, 1::2, 1:-2:2], x[0, 0, :, 1:])


def test_carafe_trains_on_no_maps():
    layer = Carafe(4)
    layer(torch.zeros(0, 4, 3, 3)).sum().backward()
    assert all(p.grad is not None and (p.grad == 0).all() for p in layer.parameters())


def test_a_masked_convolution_without_a_mask_is_an_ordinary_one():
    layer = MaskedConv2d(2, 3, 3, padding=1)
    x = torch.randn(2, 2, 6, 5)
    dense = F.conv2d(x, layer.weight, layer.bias, padding=1)
    torch.testing.assert_close(layer(x), dense)
    mask = torch.rand(2, 6, 5) < 0.2
    torch.testing.assert_close(layer(x, mask), dense * mask[:, None])


def test_criss_cross_attention_starts_as_the_identity():
    x = torch.randn(1, 8, 3, 4)
    layer = CrissCrossAttention(8)
    assert torch.equal(layer(x), x)
    nn.init.ones_(layer.gamma.scale)
    assert not torch.allclose(layer(x), x)


@pytest.mark.parametrize("options", [{}, {"stride": 2, "padding": 1}])
def test_standardised_convolutions_compute_what_the_plain_one_did_after_loading_it(options: dict):
    plain = nn.Conv2d(4, 6, 3, **options)
    layer = ConvAWS2d(4, 6, 3, **options)
    layer.load_state_dict(plain.state_dict())
    x = torch.randn(2, 4, 8, 8)
    torch.testing.assert_close(layer(x), plain(x), rtol=1e-4, atol=1e-4)


def test_standardised_weights_have_the_mean_and_scale_of_the_buffers():
    layer = ConvAWS2d(8, 3, 3)
    nn.init.constant_(layer.weight_gamma, 2.0)
    nn.init.constant_(layer.weight_beta, 0.5)
    weight = layer.standardised().flatten(1)
    torch.testing.assert_close(weight.mean(1), torch.full((3,), 0.5))
    torch.testing.assert_close(weight.std(1), torch.full((3,), 2.0), rtol=0.02, atol=0)


def test_own_mean_and_scale_are_loaded_as_they_are():
    layer, other = ConvAWS2d(4, 6, 3), ConvAWS2d(4, 6, 3)
    nn.init.constant_(layer.weight_gamma, 2.0)
    other.load_state_dict(layer.state_dict())
    assert torch.equal(other.weight_gamma, layer.weight_gamma)


@pytest.mark.parametrize("deform", [False, True])
def test_a_switchable_convolution_starts_as_the_plain_one_whose_weights_it_loads(deform: bool):
    plain = nn.Conv2d(4, 6, 3, stride=2, padding=1, bias=False)
    layer = SAConv2d(4, 6, 3, stride=2, padding=1, deform=deform)
    missing = layer.load_state_dict(plain.state_dict(), strict=False).missing_keys
    assert {name.split(".")[0] for name in missing} <= set(layer.added_names)
    x = torch.randn(2, 4, 9, 8)
    torch.testing.assert_close(layer(x), plain(x), rtol=1e-4, atol=1e-4)


def test_the_switch_takes_the_convolution_of_three_times_the_dilation():
    layer = SAConv2d(4, 6, 3, padding=1)
    nn.init.constant_(layer.switch.get_parameter("bias"), 0.25)
    nn.init.normal_(layer.weight_diff)
    x = torch.randn(2, 4, 9, 8)
    weight = layer.standardised()
    near = F.conv2d(x, weight, padding=1)
    far = F.conv2d(x, weight + layer.weight_diff, padding=3, dilation=3)
    torch.testing.assert_close(layer(x), 0.25 * near + 0.75 * far)


def test_contexts_are_added_before_and_after():
    layer = SAConv2d(2, 2, 1)
    nn.init.eye_(layer.pre_context.weight[:, :, 0, 0])
    nn.init.eye_(layer.post_context.weight[:, :, 0, 0])
    x = torch.randn(1, 2, 4, 5)
    inner = F.conv2d(x + x.mean((2, 3), keepdim=True), layer.standardised())
    torch.testing.assert_close(layer(x), inner + inner.mean((2, 3), keepdim=True))


def test_the_switch_sees_the_mean_of_five_by_five_pixels():
    layer = SAConv2d(2, 1, 1)
    nn.init.ones_(layer.switch.weight)
    nn.init.zeros_(layer.switch.get_parameter("bias"))
    nn.init.ones_(layer.weight_diff)
    x = torch.randn(1, 2, 7, 7)
    near = F.conv2d(x, layer.standardised())[0, 0, 3, 3]
    far = F.conv2d(x, layer.standardised() + 1)[0, 0, 3, 3]
    switch = x[0, :, 1:6, 1:6].mean((1, 2)).sum()
    torch.testing.assert_close(layer(x)[0, 0, 3, 3], switch * near + (1 - switch) * far)


def test_deformable_switchable_convolutions_are_of_size_3():
    with pytest.raises(ValueError, match="deform needs kernel_size 3, got 1"):
        SAConv2d(2, 2, 1, deform=True)
