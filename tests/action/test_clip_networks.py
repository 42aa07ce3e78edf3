"""Networks on clips against networks on images, and against torchvision's."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional as F
from torchvision.models.video.resnet import Conv2Plus1D

from omma.errors import WeightsError
from omma_action.models.bricks import SplitConv3d
from omma_action.models.c2d import C2D
from omma_action.models.c3d import C3D
from omma_action.models.non_local3d import Likeness, NonLocal3d, NonLocalForm
from omma_action.models.resnet3d import Lateral, ResNet3d
from omma_action.models.slowfast import SlowFast

FLAT = {
    "conv1_kernel": (1, 7, 7),
    "conv1_stride": (1, 2),
    "pool1_stride": (1, 2),
    "pool2": False,
    "inflate": (0, 0, 0, 0),
}


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def reference(depth: int, folder: Path) -> tuple[nn.Module, str]:
    """torchvision's ResNet with statistics that aren't trivial, and a file of it."""
    net = getattr(torchvision.models, f"resnet{depth}")(weights=None)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.1, 0.1)
            nn.init.uniform_(module.running_var, 0.9, 1.1)
    torch.save(net.state_dict(), folder / "images.pth")
    return net.eval(), str(folder / "images.pth")


def body(net: nn.Module, x: torch.Tensor) -> torch.Tensor:
    for name, child in net.named_children():
        if name == "avgpool":
            return x
        x = child(x)
    return x


@pytest.mark.parametrize("depth", [18, 50])
@torch.no_grad()
def test_without_inflation_each_frame_gives_what_the_network_for_images_gives(depth: int, tmp_path: Path):
    net, file = reference(depth, tmp_path)
    ours = ResNet3d(depth=depth, weights=file, **FLAT).eval()
    clip = torch.randn(1, 3, 3, 64, 64)
    (found,) = ours(clip)
    for t in range(3):
        torch.testing.assert_close(found[:, :, t], body(net, clip[:, :, t]), rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_inflated_kernels_say_of_a_still_clip_what_they_said_of_its_image(tmp_path: Path):
    net, file = reference(18, tmp_path)
    still = torch.randn(1, 3, 1, 32, 32).expand(1, 3, 41, 32, 32)
    ours = ResNet3d(depth=18, conv1_stride=(1, 2), pool1_stride=(1, 2), pool2=False, weights=file).eval()
    (found,) = ours(still)
    # Zeros beyond the ends reach 2 frames by the stem, and one more by each of 16 convolutions.
    torch.testing.assert_close(found[:, :, 20], body(net, still[:, :, 0]), rtol=1e-3, atol=1e-4)


def test_inputs_that_images_dont_have_weigh_nothing(tmp_path: Path):
    _, file = reference(50, tmp_path)
    lateral = Lateral(speed_ratio=8, channel_ratio=8, kernel=5)
    slow = ResNet3d(depth=50, lateral=lateral, weights=file, **FLAT)
    weight = slow.get_parameter("layer1.0.conv1.conv.weight")
    assert weight.shape[1] == 64 + 16
    assert not weight[:, 64:].any()
    assert weight[:, :64].any()


def test_a_file_of_clips_is_loaded_as_it_is(tmp_path: Path):
    small = {"depth": 18, "stage_blocks": (1, 1, 1, 1), "base_channels": 8}
    state = ResNet3d(**small).state_dict()
    torch.save({"state_dict": {f"backbone.{n}": v for n, v in state.items()}}, tmp_path / "clips.pth")
    loaded = ResNet3d(weights=str(tmp_path / "clips.pth"), **small).state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in state.items())


def test_a_file_of_another_depth_is_refused(tmp_path: Path):
    _, file = reference(18, tmp_path)
    with pytest.raises(WeightsError, match="not weights of this model"):
        ResNet3d(depth=18, stage_blocks=(2, 2, 3, 2), weights=file)


@torch.no_grad()
def test_split_convolutions_equal_torchvisions():
    ours = SplitConv3d(16, 24, (3, 3, 3), stride=(2, 2, 2), padding=(1, 1, 1)).eval()
    middle = 16 * 24 * 27 // (16 * 9 + 3 * 24)
    theirs = Conv2Plus1D(16, 24, middle, stride=2).eval()
    theirs.load_state_dict(dict(zip(theirs.state_dict(), ours.state_dict().values(), strict=True)))
    x = torch.randn(2, 16, 5, 9, 9)
    torch.testing.assert_close(ours(x), theirs(x))


@torch.no_grad()
@pytest.mark.parametrize("likeness", ["embedded_gaussian", "gaussian", "dot_product"])
@pytest.mark.parametrize("subsample", [False, True])
def test_non_local_blocks_add_values_weighed_by_likeness(likeness: Likeness, subsample: bool):
    form = NonLocalForm(likeness=likeness, subsample=subsample, norm=None)
    block = NonLocal3d(6, form=form).double()
    for parameter in block.parameters():
        nn.init.normal_(parameter, std=0.3)
    x = torch.randn(1, 6, 2, 4, 4, dtype=torch.float64)

    def project(name: str, pooled: bool) -> torch.Tensor:
        layer = getattr(block, name)
        conv = layer[0] if pooled else layer
        out = torch.einsum("oc,ncthw->nothw", conv.conv.weight.flatten(1), x)
        out = out + conv.conv.bias.view(1, -1, 1, 1, 1)
        return F.max_pool3d(out, (1, 2, 2)) if pooled else out

    value = project("g", subsample).flatten(2)[0]
    if likeness == "gaussian":
        query = x.flatten(2)[0]
        key = (F.max_pool3d(x, (1, 2, 2)) if subsample else x).flatten(2)[0]
    else:
        query, key = project("theta", False).flatten(2)[0], project("phi", subsample).flatten(2)[0]
    scores = query.T @ key
    weights = scores / key.shape[1] if likeness == "dot_product" else scores.softmax(1)
    seen = (value @ weights.T).view(1, -1, *x.shape[2:])
    out = block.conv_out.conv
    added = torch.einsum("oc,ncthw->nothw", out.weight.flatten(1), seen) + out.bias.view(1, -1, 1, 1, 1)
    torch.testing.assert_close(block(x), x + added)


@torch.no_grad()
def test_non_local_blocks_begin_as_the_identity():
    x = torch.randn(1, 8, 2, 4, 4)
    assert torch.equal(NonLocal3d(8, form=NonLocalForm())(x), x)


@torch.no_grad()
@pytest.mark.parametrize("halve", [True, False])
def test_c2d_is_a_network_for_images_with_a_pooling_of_frames(halve: bool, tmp_path: Path):
    net, file = reference(18, tmp_path)
    ours = C2D(depth=18, halve_frames=halve, weights=file).eval()
    clips = torch.randn(2, 4, 3, 64, 64)
    x = F.max_pool2d(net.relu(net.bn1(net.conv1(clips.flatten(0, 1)))), 3, 2)
    x = net.layer1(x)
    if halve:
        x = x.unflatten(0, (2, 2, 2)).amax(2).flatten(0, 1)
    x = net.layer4(net.layer3(net.layer2(x)))
    expected = x.unflatten(0, (2, -1)).transpose(1, 2)
    torch.testing.assert_close(ours(clips)[0], expected, rtol=1e-4, atol=1e-4)


def test_c3d_says_which_clips_it_takes():
    with torch.device("meta"):
        net = C3D()
        with pytest.raises(ValueError, match="16 frames of 112 x 112, got 8 x 112 x 112"):
            net(torch.empty(1, 3, 8, 112, 112))


def test_paths_that_dont_fit_are_refused():
    small = {"stage_blocks": (1, 1, 1, 1), "base_channels": 8}
    lateral = Lateral(speed_ratio=8, channel_ratio=8, kernel=5)
    slow, fast = ResNet3d(lateral=lateral, **small), ResNet3d(**small)
    with pytest.raises(ValueError, match="slow_path needs lateral"):
        SlowFast(slow_path=fast, fast_path=slow, slow_step=8, fast_step=1)
    with pytest.raises(ValueError, match="multiple of fast_step"):
        SlowFast(slow_path=slow, fast_path=fast, slow_step=3, fast_step=2)


def test_what_is_frozen_neither_learns_nor_follows_statistics():
    net = ResNet3d(depth=18, stage_blocks=(1, 1, 1, 1), base_channels=8, frozen_stages=1).train()
    learning = {name.split(".")[0] for name, p in net.named_parameters() if p.requires_grad}
    assert learning == {"layer2", "layer3", "layer4"}
    assert not net.conv1.training
    assert not net.get_submodule("layer1").training
    assert net.get_submodule("layer2").training


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"depth": 42}, "depth must be one of"),
        ({"inflate": (1, 1)}, "inflate must be 0 or 1"),
        ({"inflate": ((1, 0), 1, 1, 1)}, "inflate must be 0 or 1"),
        ({"temporal_strides": (1, 2)}, "temporal_strides must be 4 numbers"),
        ({"depth": 18, "separation": "ip"}, "separation needs bottlenecks"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments: dict, message: str):
    with torch.device("meta"), pytest.raises(ValueError, match=message):
        ResNet3d(**arguments)
