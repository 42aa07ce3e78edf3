"""The backbone of DetectoRS against the ordinary ResNet whose weights it starts from."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from omma.backbones import DetectoRSResNet, ResNet
from omma.backbones.detectors import RecursiveBottleneck
from omma.backbones.residual import BlockForm


@pytest.fixture(scope="module")
def plain() -> ResNet:
    torch.manual_seed(0)
    net = ResNet(depth=50).eval()
    for key, value in net.named_buffers():
        if "running" in key:
            value.add_(torch.rand_like(value) / 10)
    return net


@torch.no_grad()
def test_it_starts_as_the_network_whose_weights_it_loads(plain: ResNet, tmp_path: Path):
    file = tmp_path / "resnet50.pth"
    torch.save(plain.state_dict(), file)
    net = DetectoRSResNet(rfp_channels=8, output_image=True, weights=str(file)).eval()
    image = torch.randn(1, 3, 64, 96)
    expected = plain(image)
    fed = [torch.randn(1, 8, m.shape[2], m.shape[3]) for m in expected[1:]]
    found = net(image, fed)
    assert found[0] is image
    assert (net.out_channels, net.strides) == ((3, 256, 512, 1024, 2048), (1, 4, 8, 16, 32))
    for ours, theirs in zip(found[1:], expected):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3 * float(theirs.abs().max()))


@torch.no_grad()
def test_what_is_fed_is_added_before_the_last_activation():
    block = RecursiveBottleneck(16, 4, stride=1, form=BlockForm(), downsample=None).eval()
    x, fed = torch.randn(2, 16, 5, 6), torch.randn(2, 3, 5, 6)
    alone = x + block.layers(x)
    block.rfp_conv = torch.nn.Conv2d(3, 16, 1)
    weight, bias = block.rfp_conv.weight[:, :, 0, 0], block.rfp_conv.get_parameter("bias")
    added = torch.einsum("oc,nchw->nohw", weight, fed) + bias[:, None, None]
    torch.testing.assert_close(block(x, fed), (alone + added).relu())
    torch.testing.assert_close(block(x), alone.relu())


def test_parameters_have_the_names_of_published_checkpoints():
    with torch.device("meta"):
        state = DetectoRSResNet(rfp_channels=256, frozen_stages=1).state_dict()
    shapes = {name: tuple(value.shape) for name, value in state.items()}
    assert shapes["conv1.weight_gamma"] == (64, 1, 1, 1)
    assert shapes["layer1.0.conv2.weight_beta"] == (64, 1, 1, 1)
    assert shapes["layer2.0.downsample.0.weight_gamma"] == (512, 1, 1, 1)
    assert shapes["layer2.0.conv2.weight_diff"] == (128, 128, 3, 3)
    assert shapes["layer4.2.conv2.offset_l.weight"] == (18, 512, 3, 3)
    assert [name for name in shapes if name.endswith("rfp_conv.bias")] == [
        f"layer{i}.0.rfp_conv.bias" for i in (2, 3, 4)
    ]
