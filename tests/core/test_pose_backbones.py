"""Backbones that pose brings in, against timm's with the same weights and their papers' formulas."""

from __future__ import annotations

import re

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from omma import backbones
from omma.backbones.litehrnet import CrossWeighting, IterativeHead, LiteModule
from omma.backbones.scnet import CalibratedConv
from omma.backbones.vipnas import MOBILE, mobile_block


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def drawn(net: nn.Module) -> nn.Module:
    """Random scales and statistics in double precision, so that nothing is the identity."""
    for name, value in net.state_dict().items():
        if name.endswith("running_var"):
            value.uniform_(0.5, 1.5)
        elif value.is_floating_point() and value.ndim == 1:
            value.normal_(0.5, 0.3)
    return net.double().eval()


@torch.no_grad()
def test_squeezed_resnet_equals_timms():
    timm = pytest.importorskip("timm")
    theirs = drawn(timm.create_model("seresnet50", pretrained=False))
    ours = backbones.SEResNet(depth=50, out_indices=(0, 1)).double().eval()
    state = {
        re.sub(r"\.se\.fc(\d)\.", r".se_layer.conv\1.conv.", name): value
        for name, value in theirs.state_dict().items()
    }
    ours.load_state_dict({name: state[name] for name in ours.state_dict()})
    x = torch.randn(1, 3, 64, 64).double()
    first = theirs.layer1(theirs.maxpool(theirs.act1(theirs.bn1(theirs.conv1(x)))))
    for found, expected in zip(ours(x), (first, theirs.layer2(first)), strict=True):
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(
    ("build", "millions"),
    [
        (lambda: backbones.SEResNet(depth=50), 28.09),
        (lambda: backbones.SEResNet(depth=101), 49.33),
        (lambda: backbones.SCNet(depth=50), 25.56),
        (lambda: backbones.SCNet(depth=101), 44.57),
    ],
)
def test_networks_have_the_published_number_of_parameters(build, millions: float):
    with torch.device("meta"):
        net = build()
    # Published with the classifier of 1,000 classes.
    count = sum(p.numel() for p in net.parameters()) + 1000 * 2049
    assert count / 1e6 == pytest.approx(millions, abs=0.01)


@torch.no_grad()
def test_a_convolution_is_calibrated_by_a_coarser_view():
    module = drawn(CalibratedConv(4, 2, "bn"))
    x = torch.randn(2, 4, 11, 9).double()
    part = dict(module.named_children())
    # Windows of 4 x 4 that lie within the map; each place sees the convolved averages nearest to it.
    means = torch.stack([x[..., y : y + 4, c : c + 4].mean((2, 3)) for y in (0, 4) for c in (0, 4)], dim=-1)
    coarse = part["k2"][2](part["k2"][1](means.unflatten(-1, (2, 2))))
    rows, columns = (torch.arange(side) * 2 // side for side in (11, 9))
    gate = (x + coarse[..., rows, :][..., columns]).sigmoid()
    torch.testing.assert_close(module(x), part["k4"](part["k3"](x) * gate))


def maps(*widths: int) -> list[Tensor]:
    return [torch.randn(2, c, 16 // 2**i, 24 // 2**i).double() for i, c in enumerate(widths)]


@torch.no_grad()
def test_channels_are_weighed_by_what_all_branches_average_to():
    module = drawn(CrossWeighting([4, 8, 16], 4, "bn"))
    branches = maps(4, 8, 16)
    pooled = [F.avg_pool2d(x, 2 ** (2 - i)) for i, x in enumerate(branches)]
    joint = torch.cat(pooled, dim=1)
    weights = module.get_submodule("conv2")(module.get_submodule("conv1")(joint)).sigmoid()
    for i, (x, w, found) in enumerate(zip(branches, weights.split([4, 8, 16], 1), module(branches))):
        times = 2 ** (2 - i)
        large = w.repeat_interleave(times, dim=2).repeat_interleave(times, dim=3)
        torch.testing.assert_close(found, x * large)


@torch.no_grad()
def test_branches_are_fused_and_the_finest_counts_twice():
    module = drawn(LiteModule((4, 8, 16), 0, "bn", reduction=4, single_output=False))
    a, b, c = maps(4, 8, 16)

    def step(target: int, source: int, x: Tensor) -> Tensor:
        return module.get_submodule(f"fuse_layers.{target}.{source}")(x)

    def enlarged(x: Tensor, times: int) -> Tensor:
        return x.repeat_interleave(times, dim=2).repeat_interleave(times, dim=3)

    finest = 2 * a + enlarged(step(0, 1, b), 2) + enlarged(step(0, 2, c), 4)
    middle = 2 * step(1, 0, finest) + b + enlarged(step(1, 2, c), 2)
    coarsest = 2 * step(2, 0, finest) + step(2, 1, b) + c
    for found, expected in zip(module([a, b, c]), (finest, middle, coarsest), strict=True):
        torch.testing.assert_close(found, expected.relu())


@torch.no_grad()
def test_branches_are_joined_from_coarse_to_fine():
    module = drawn(IterativeHead((4, 8), "bn"))
    fine, coarse = maps(4, 8)
    first = module.projects[0](coarse)
    larger = F.interpolate(first, fine.shape[-2:], mode="bilinear", align_corners=True)
    found = module([fine, coarse])
    torch.testing.assert_close(found[1], first)
    torch.testing.assert_close(found[0], module.projects[1](fine + larger))


@pytest.mark.parametrize("weighted", [True, False])
@torch.no_grad()
def test_one_output_is_the_finest_of_several(weighted: bool):
    options = {"width": 8, "modules": (1, 1, 1), "blocks": 1, "weighted": weighted}
    for with_head in (True, False):
        several = backbones.LiteHRNet(**options, with_head=with_head).eval()
        one = backbones.LiteHRNet(**options, with_head=with_head, single_output=True).eval()
        one.load_state_dict({k: v for k, v in several.state_dict().items() if k in one.state_dict()})
        x = torch.randn(1, 3, 64, 96)
        assert one.out_channels == several.out_channels[:1]
        assert len(one(x)) == len(one.strides) == 1
        torch.testing.assert_close(one(x)[0], several(x)[0])


@pytest.mark.parametrize(("modules", "millions"), [((2, 4, 2), 1.1), ((3, 8, 3), 1.8)])
def test_lite_hrnet_has_the_published_number_of_parameters(modules, millions: float):
    with torch.device("meta"):
        net = backbones.LiteHRNet(modules=modules, single_output=True)
    count = sum(p.numel() for p in net.parameters())
    assert count / 1e6 == pytest.approx(millions, abs=0.06)


def test_found_mobile_network_has_the_published_shapes():
    """Names and shapes of a checkpoint of OpenMMLab's, at places where the stages differ."""
    with torch.device("meta"):
        shapes = {name: tuple(p.shape) for name, p in backbones.ViPNASMobileNetV3().named_parameters()}
    assert shapes["conv1.conv.weight"] == (16, 3, 3, 3)
    assert "layer1.expand_conv.conv.weight" not in shapes
    assert shapes["layer1.depthwise_conv.conv.weight"] == (16, 2, 3, 3)
    assert shapes["layer2.expand_conv.conv.weight"] == (120, 16, 1, 1)
    assert shapes["layer2.depthwise_conv.conv.weight"] == (120, 1, 7, 7)
    assert shapes["layer6.depthwise_conv.conv.weight"] == (160, 8, 7, 7)
    assert not any(name.startswith("layer6.se") for name in shapes)
    assert shapes["layer10.se.conv1.conv.weight"] == (100, 400, 1, 1)
    assert shapes["layer21.depthwise_conv.conv.weight"] == (960, 4, 5, 5)
    assert shapes["layer21.linear_conv.conv.weight"] == (160, 960, 1, 1)
    assert not any(name.startswith("layer22") for name in shapes)


@torch.no_grad()
def test_a_found_mobile_block_is_its_formula():
    block = drawn(mobile_block(16, MOBILE[0], 1, "bn"))
    x = torch.randn(2, 16, 9, 7).double()
    state = block.state_dict()

    def normed(y: Tensor, name: str) -> Tensor:
        mean, var, scale, bias = (
            state[f"{name}.bn.{key}"] for key in ("running_mean", "running_var", "weight", "bias")
        )
        at = (None, slice(None), None, None)
        return (y - mean[at]) / (var[at] + 1e-5).sqrt() * scale[at] + bias[at]

    y = F.conv2d(x, state["depthwise_conv.conv.weight"], padding=1, groups=8)
    y = normed(y, "depthwise_conv").relu()
    hidden = F.conv2d(
        y.mean((2, 3), keepdim=True), state["se.conv1.conv.weight"], state["se.conv1.conv.bias"]
    )
    gate = F.conv2d(hidden.relu(), state["se.conv2.conv.weight"], state["se.conv2.conv.bias"])
    y = y * ((gate + 1) / 2).clamp(0, 1)
    expected = x + normed(F.conv2d(y, state["linear_conv.conv.weight"]), "linear_conv")
    torch.testing.assert_close(block(x), expected)
