"""Networks for small devices against torchvision's with the same weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F

from omma import backbones
from omma.backbones.shufflenet_v1 import GroupedUnit
from omma.layers import SameConv


def shaken(net: nn.Module) -> nn.Module:
    """Random statistics and scales, so that nothing is the identity."""
    generator = torch.Generator().manual_seed(0)
    for name, value in net.state_dict().items():
        if name.endswith("running_var"):
            value.copy_(torch.rand(value.shape, generator=generator) + 0.5)
        elif value.is_floating_point() and value.ndim == 1:
            value.add_(torch.randn(value.shape, generator=generator) * 0.1)
    return net.eval()


def picture(size: int = 96) -> Tensor:
    return torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("size", ["small", "large"])
@pytest.mark.parametrize("dilated", [False, True])
@torch.no_grad()
def test_mobilenet_v3_equals_torchvisions_from_its_file(size: str, dilated: bool, tmp_path: Path):
    build = getattr(torchvision.models, f"mobilenet_v3_{size}")
    theirs = shaken(build(weights=None, dilated=dilated))
    torch.save(theirs.state_dict(), tmp_path / "v3.pth")
    layers = [*theirs.get_submodule("features").children()]
    last = len(layers) - 1
    ours = backbones.MobileNetV3(
        size=size,  # pyright: ignore[reportArgumentType]
        out_indices=(0, 1, 3, 6, last),
        output_stride=16 if dilated else 32,
        weights=str(tmp_path / "v3.pth"),
    ).eval()
    x = out = picture()
    maps = []
    for i, layer in enumerate(layers):
        out = layer(out)
        if i in ours.out_indices:
            maps.append(out)
    for found, expected in zip(ours(x), maps, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("size", "millions"), [("large", 2.97), ("small", 0.93)])
def test_mobilenet_v3_has_the_published_number_of_parameters(size, millions: float):
    with torch.device("meta"):
        net = backbones.MobileNetV3(size=size, out_indices=(16 if size == "large" else 12,))
        theirs = getattr(torchvision.models, f"mobilenet_v3_{size}")(weights=None).features
    count = sum(p.numel() for p in net.parameters())
    assert count == sum(p.numel() for p in theirs.parameters())
    assert count / 1e6 == pytest.approx(millions, abs=0.01)


def test_mobilenet_v3_keeps_a_stride_by_dilation():
    with torch.device("meta"):
        net = backbones.MobileNetV3(out_indices=(1, 3, 6, 12, 16), output_stride=8)
    assert net.strides == (2, 4, 8, 8, 8)
    depthwise = [net.get_submodule(f"layer{i}.depthwise_conv.conv") for i in range(1, 16)]
    dilations = [conv.dilation[0] for conv in depthwise if isinstance(conv, nn.Conv2d)]
    assert dilations == [*[1] * 6, *[2] * 6, *[4] * 3]


@pytest.mark.parametrize(("kernel", "stride", "dilation"), [(3, 2, 1), (5, 2, 1), (3, 1, 4), (5, 2, 2)])
@pytest.mark.parametrize("side", [8, 9])
@torch.no_grad()
def test_same_padding_is_tensorflows(kernel: int, stride: int, dilation: int, side: int):
    layer = SameConv(2, 3, kernel, stride=stride, dilation=dilation, act=None)
    x = torch.randn(1, 2, side, side)
    found = layer(x)
    assert found.shape[-1] == -(-side // stride)
    # As tf.nn's documentation has it, for the kernel with its holes.
    reach = dilation * (kernel - 1) + 1
    total = max(reach - (side % stride or stride), 0)
    padded = F.pad(x, (total // 2, total - total // 2) * 2)
    conv = layer.conv
    expected = F.conv2d(padded, conv.weight, conv.bias, stride, 0, dilation)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("width", ["0_5", "1_0"])
@torch.no_grad()
def test_shufflenet_v2_equals_torchvisions_from_its_file(width: str, tmp_path: Path):
    theirs = shaken(getattr(torchvision.models, f"shufflenet_v2_x{width}")(weights=None))
    torch.save(theirs.state_dict(), tmp_path / "shuffle.pth")
    ours = backbones.ShuffleNetV2(
        width=float(width.replace("_", ".")), weights=str(tmp_path / "shuffle.pth")
    ).eval()
    x = picture()
    parts = dict(theirs.named_children())
    out, expected = parts["maxpool"](parts["conv1"](x)), []
    for name in ("stage2", "stage3", "stage4", "conv5"):
        out = parts[name](out)
        expected.append(out)
    for found, wanted in zip(ours(x), expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("width", "millions"), [(0.5, 1.37), (1.0, 2.28), (1.5, 3.50), (2.0, 7.39)])
def test_shufflenet_v2_has_the_published_number_of_parameters(width: float, millions: float):
    with torch.device("meta"):
        net = backbones.ShuffleNetV2(width=width, out_indices=(3,))
    # Published with the classifier of 1,000 classes.
    count = sum(p.numel() for p in net.parameters()) + 1000 * (net.out_channels[0] + 1)
    assert count / 1e6 == pytest.approx(millions, abs=0.01)


@torch.no_grad()
def test_grouped_units_follow_the_papers_figure():
    def drawn(*arguments, strided: bool) -> GroupedUnit:
        unit = GroupedUnit(*arguments, "bn", strided=strided).double()
        return shaken(unit)  # pyright: ignore[reportReturnType]

    x = torch.randn(2, 12, 6, 8).double()
    same, halving = drawn(12, 12, 3, 3, strided=False), drawn(12, 36, 3, 1, strided=True)
    for unit, inner in ((same, 3), (halving, 9)):
        part = dict(unit.named_children())
        out = part["depthwise_conv3x3_bn"](part["g_conv_1x1_compress"](x))
        order = [group * inner // 3 + i for i in range(inner // 3) for group in range(3)]
        out = part["g_conv_1x1_expand"](out[:, order])
        if unit is same:
            expected = (x + out).relu()
        else:
            expected = torch.cat([F.avg_pool2d(x, 3, 2, 1), out.relu()], dim=1)
        torch.testing.assert_close(unit(x), expected)


@pytest.mark.parametrize(("groups", "channels"), [(1, 144), (2, 200), (3, 240), (4, 272), (8, 384)])
def test_shufflenet_has_the_papers_channels(groups: int, channels: int):
    with torch.device("meta"):
        net = backbones.ShuffleNetV1(groups=groups)
    assert net.out_channels == (channels, 2 * channels, 4 * channels)
