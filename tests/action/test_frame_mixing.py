"""What lets frames see each other, against its definition in loops."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torchvision
from torch import Tensor, nn

from omma.backbones import MobileNetV2, ResNet
from omma.checkpoint import load_weights
from omma_action.models.frame_mixing import brick_stages
from omma_action.models.tanet import AdaptiveConv, TemporalAdaptive
from omma_action.models.tin import Interlace, TemporalInterlace
from omma_action.models.trn import Relations
from omma_action.models.tsm import ShiftedConv, TemporalShift

from .networks import NETWORKS


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def frames_of(clips: int, frames: int, channels: int) -> Tensor:
    return torch.randn(clips * frames, channels, 3, 4)


def test_an_eighth_of_the_channels_comes_from_the_next_frame_and_one_from_the_last():
    x = frames_of(2, 4, 16)
    out = ShiftedConv(nn.Identity(), frames=4, divisor=8)(x)
    for clip in range(2):
        for t in range(4):
            row, zero = clip * 4 + t, torch.zeros(2, 3, 4)
            following = x[row + 1, :2] if t < 3 else zero
            before = x[row - 1, 2:4] if t > 0 else zero
            assert torch.equal(out[row], torch.cat([following, before, x[row, 4:]]))


@pytest.mark.parametrize(("depth", "shifted"), [(50, 16), (101, 2 + 2 + 12 + 2)])
def test_deep_networks_shift_in_each_second_block(depth: int, shifted: int):
    with torch.device("meta"):
        net = ResNet(depth=depth, bricks=True)
    TemporalShift(frames=8).put_into(net)
    assert sum(isinstance(module, ShiftedConv) for module in net.modules()) == shifted


@pytest.mark.parametrize(("numbered", "first"), [(True, "conv.0"), (False, "expand_conv")])
def test_mobile_networks_shift_where_there_is_a_shortcut(numbered: bool, first: str):
    net = MobileNetV2(numbered=numbered, out_indices=(7,))
    TemporalShift(frames=8).put_into(net)
    # 17 blocks, of which those with a stride or other channels (1, 2, 4, 7, 11, 14, 17) have none.
    assert sum(isinstance(module, ShiftedConv) for module in net.modules()) == 10
    names = net.state_dict().keys()
    assert {f"layer3.1.{first}.net.conv.weight", f"layer3.0.{first}.conv.weight"} <= names


def test_frames_are_mixed_but_once_and_in_bricks_alone():
    net = ResNet(depth=18, bricks=True)
    TemporalShift(frames=8).put_into(net)
    with pytest.raises(ValueError, match="begins with a convolution"):
        TemporalInterlace(frames=8).put_into(net)
    with pytest.raises(ValueError, match="bricks: true"):
        TemporalShift(frames=8).put_into(ResNet(depth=18))
    with pytest.raises(ValueError, match="bottlenecks"):
        TemporalAdaptive(frames=8).put_into(ResNet(depth=18, bricks=True))


@torch.no_grad()
def test_interlacing_moves_groups_by_learnt_distances_and_weighs_them():
    net, frames = Interlace(8, frames=5), 5
    for parameter in net.parameters():
        nn.init.normal_(parameter)
    x = frames_of(2, frames, 12)
    out = net(x)
    clips = x.view(2, frames, 12, 3, 4)
    for n in range(2):
        pooled = clips[n, :, :8].mean((2, 3)).T[None]  # (1, 8, T)
        distance, weight = net.offset_net(pooled)[0].tolist(), net.weight_net(pooled)[0]
        assert all(-2 <= value <= 2 for value in distance)
        for c in range(12):
            group = c // 2
            for t in range(frames):
                expected = clips[n, t, c]
                if c < 8:
                    shift = distance[group % 2] * (1 if group < 2 else -1)
                    shares = [max(0.0, 1 - abs(t - s - shift)) for s in range(frames)]
                    moved = sum(share * clips[n, s, c] for s, share in enumerate(shares))
                    expected = moved * weight[t, group % 2]
                torch.testing.assert_close(out[n * frames + t, c], expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_adaptive_convolutions_use_a_kernel_of_each_channels_own_course():
    net = AdaptiveConv(8, TemporalAdaptive(frames=5)).eval()
    for parameter in net.parameters():
        nn.init.normal_(parameter)
    x = frames_of(2, 5, 8)
    out, clips = net(x), x.view(2, 5, 8, 3, 4)
    for n in range(2):
        course = clips[n].mean((2, 3)).T  # (C, T)
        kernels, weights = net.G(course), net.L(course[None])[0]
        torch.testing.assert_close(kernels.sum(1), torch.ones(8))
        for c in range(8):
            for t in range(5):
                expected = sum(
                    kernels[c, k] * weights[c, t + k - 1] * clips[n, t + k - 1, c]
                    for k in range(3)
                    if 0 <= t + k - 1 < 5
                )
                torch.testing.assert_close(out[n * 5 + t, c], expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_relations_in_evaluation_are_the_mean_of_what_draws_give():
    net = Relations(6, 4, 3)
    x = torch.randn(2, 4, 6)
    expected = net.eval()(x)
    net.train()
    draws = torch.stack([net(x) for _ in range(2000)])
    off = (draws.mean(0) - expected).abs()
    assert (off <= 5 * draws.std(0) / 2000**0.5 + 1e-5).all()
    assert torch.equal(net.eval()(x), expected)


@pytest.mark.parametrize("name", ["tsm", "tsm non-local", "tin", "tanet"])
def test_weights_of_the_plain_network_fit_the_one_whose_frames_are_mixed(name: str, tmp_path: Path):
    model = NETWORKS[name]()
    depth = 50 if name == "tanet" else 18
    plain = getattr(torchvision.models, f"resnet{depth}")(weights=None)
    torch.save(plain.state_dict(), tmp_path / "plain.pth")
    report = load_weights(model, tmp_path / "plain.pth")
    first = brick_stages(model.backbone)[0]
    shape = plain.get_parameter("layer1.0.conv1.weight").shape
    kernels = [kernel for kernel in first[0].parameters() if kernel.shape == shape]
    assert torch.equal(kernels[0], plain.get_parameter("layer1.0.conv1.weight"))
    assert any("layer4" in loaded for loaded in report.loaded)
