"""ResNet against torchvision's with the same weights, and what of it trains."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torchvision
from torch import nn

from omma.backbones import ResNet
from omma.errors import WeightsError


def reference(name: str) -> nn.Module:
    """torchvision's network with random weights and random running statistics."""
    torch.manual_seed(0)
    net = getattr(torchvision.models, name)(weights=None)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.0)
            module.running_mean = torch.randn_like(module.weight) * 0.1
            module.running_var = torch.rand_like(module.weight) + 0.5
    return net.eval()


def stages(net: nn.Module, x: torch.Tensor) -> list[torch.Tensor]:
    maps = []
    for name, child in net.named_children():
        if name == "avgpool":
            return maps
        x = child(x)
        if name.startswith("layer"):
            maps.append(x)
    return maps


@pytest.mark.parametrize("depth", [18, 50])
@torch.no_grad()
def test_maps_equal_torchvisions_with_its_weights_file(depth, tmp_path: Path):
    net = reference(f"resnet{depth}")
    torch.save(net.state_dict(), tmp_path / "theirs.pth")
    ours = ResNet(depth=depth, weights=str(tmp_path / "theirs.pth")).eval()
    x = torch.randn(2, 3, 65, 97)
    for found, expected in zip(ours(x), stages(net, x), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_dilation_in_place_of_stride_equals_torchvisions():
    net = torchvision.models.resnet50(weights=None, replace_stride_with_dilation=[False, True, True]).eval()
    # torchvision's first dilated block keeps the dilation of the stage before.
    form = {"stage_strides": (1, 2, 1, 1), "dilations": (1, 1, 2, 4)}
    ours = ResNet(depth=50, contract_dilation=True, **form).eval()
    ours.load_state_dict({k: v for k, v in net.state_dict().items() if not k.startswith("fc.")})
    x = torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(ours(x)[-1], stages(net, x)[-1], rtol=1e-4, atol=1e-4)
    assert ours.strides == (4, 8, 8, 8)


def test_dilations_of_the_blocks_are_those_asked_for():
    def dilations(net: ResNet, stage: int) -> list[int]:
        blocks = net.get_submodule(f"layer{stage}").children()
        return [
            conv.dilation[0]
            for conv in (b.get_submodule("conv2") for b in blocks)
            if isinstance(conv, nn.Conv2d)
        ]

    net = ResNet(depth=50, dilations=(1, 1, 2, 4), multi_grid=(1, 2, 4))
    assert dilations(net, 3) == [2] * 6
    assert dilations(net, 4) == [1, 2, 4]


@pytest.mark.parametrize(("depth", "count"), [(18, 11), (34, 21), (50, 23), (101, 42), (152, 58)])
def test_depth_sets_the_number_of_parameters(depth, count: int):
    # Millions, without the classifier, as torchvision lists them less 512 or 2048 x 1000 + 1000.
    with torch.device("meta"):
        net = ResNet(depth=depth)
    assert sum(p.numel() for p in net.parameters()) // 1_000_000 == count


def test_style_puts_the_stride_into_the_first_or_the_second_convolution():
    for style, strides in (("pytorch", (1, 2)), ("caffe", (2, 1))):
        block = ResNet(depth=50, style=style).get_submodule("layer2.0")
        convs = [block.get_submodule(name) for name in ("conv1", "conv2")]
        assert tuple(conv.stride[0] for conv in convs if isinstance(conv, nn.Conv2d)) == strides


def test_widths_and_strides_are_those_of_the_maps():
    net = ResNet(depth=50, out_indices=(1, 3))
    maps = net(torch.zeros(1, 3, 64, 96))
    assert tuple(m.shape[1] for m in maps) == net.out_channels == (512, 2048)
    assert tuple(64 // m.shape[2] for m in maps) == net.strides == (8, 32)


def test_base_channels_scale_every_width():
    net = ResNet(depth=50, base_channels=16)
    assert net.out_channels == (64, 128, 256, 512)
    maps = net(torch.zeros(1, 3, 64, 64))
    assert tuple(m.shape[1] for m in maps) == net.out_channels
    state = ResNet(depth=50).state_dict()
    for name, value in net.state_dict().items():
        if name.endswith("conv2.weight"):
            assert [4 * side for side in value.shape[:2]] == list(state[name].shape[:2])


def test_stages_after_the_last_map_are_not_built():
    assert not any(
        name.startswith("layer3") for name, _ in ResNet(depth=18, out_indices=(1,)).named_modules()
    )


def test_group_norms_are_called_as_in_published_checkpoints():
    names = set(ResNet(depth=50, norm="gn", out_indices=(0,)).state_dict())
    expected = {"gn1.weight", "layer1.0.gn3.bias", "layer1.0.downsample.1.weight", "layer1.2.gn1.weight"}
    assert expected <= names
    assert not any("bn" in name for name in names)


@pytest.mark.parametrize("frozen", [-1, 0, 2, 4])
def test_frozen_stages_get_no_gradient_and_the_others_do(frozen: int):
    net = ResNet(depth=18, frozen_stages=frozen).train()
    trained = {name.split(".")[0] for name, p in net.named_parameters() if p.requires_grad}
    parts = ["conv1", "bn1", "layer1", "layer2", "layer3", "layer4"]
    assert trained == set(parts[(0 if frozen < 0 else 2 + frozen) :])


def test_a_training_step_leaves_frozen_statistics_alone_and_moves_the_others():
    net = ResNet(depth=18, frozen_stages=1, norm_eval=False).train()
    before = {name: value.clone() for name, value in net.named_buffers()}
    net(torch.randn(2, 3, 64, 64))
    moved = {
        name.split(".")[0] for name, value in net.named_buffers() if not torch.equal(value, before[name])
    }
    assert moved == {"layer2", "layer3", "layer4"}


def test_norm_eval_keeps_statistics_during_training_but_trains_the_affine_part():
    net = ResNet(depth=18, norm_eval=True).train()
    before = {name: value.clone() for name, value in net.named_buffers()}
    net(torch.randn(2, 3, 64, 64))[-1].sum().backward()
    assert all(torch.equal(value, before[name]) for name, value in net.named_buffers())
    assert net.get_parameter("layer2.0.bn1.weight").grad is not None


def test_zero_init_residual_starts_blocks_as_the_identity():
    net = ResNet(depth=50, zero_init_residual=True).eval()
    x = torch.rand(1, 256, 8, 8)
    torch.testing.assert_close(net.get_submodule("layer1.1")(x), x)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"depth": 49}, "depth must be one of 18, 34, 50, 101, 152, got 49"),
        ({"depth": 18, "frozen_stages": 5}, r"frozen_stages must be in -1\.\.4, got 5"),
        ({"depth": 18, "out_indices": ()}, "out_indices"),
        ({"depth": 18, "out_indices": (3, 1)}, "rising order"),
    ],
)
def test_an_argument_out_of_range_is_named(arguments: dict, message: str):
    with pytest.raises(ValueError, match=message):
        ResNet(**arguments)


def test_a_publishers_name_finds_the_file_in_the_weights_folder(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("OMMA_WEIGHTS", str(tmp_path))
    theirs = reference("resnet18").state_dict()
    torch.save(theirs, tmp_path / "resnet18-f37072fd.pth")
    torch.save({}, tmp_path / "resnet18_caffe-0000.pth")
    ours = ResNet(depth=18, weights="torchvision://resnet18")
    assert torch.equal(ours.get_parameter("layer4.1.conv2.weight"), theirs["layer4.1.conv2.weight"])


def test_missing_weights_of_a_publisher_tell_where_they_were_looked_for(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("OMMA_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    with pytest.raises(WeightsError) as caught:
        ResNet(depth=18, weights="torchvision://resnet18")
    for part in ("resnet18-*.pth", str(tmp_path / "weights"), str(tmp_path / "torch"), "OMMA_WEIGHTS"):
        assert part in str(caught.value)


def test_weights_of_a_deeper_network_are_refused(tmp_path: Path):
    # Every name of ResNet-50 is in ResNet-101 too, with the same shape.
    state = {name: torch.zeros(p.shape) for name, p in ResNet(depth=34).state_dict().items()}
    torch.save(state, tmp_path / "r34.pth")
    with pytest.raises(WeightsError, match=r"not known to the model: layer1\.2\.conv1\.weight"):
        ResNet(depth=18, weights=str(tmp_path / "r34.pth"))


@pytest.mark.parametrize("depth", [18, 50])
@torch.no_grad()
def test_bricks_compute_the_same_from_the_same_file(depth: int, tmp_path: Path):
    torch.save(reference(f"resnet{depth}").state_dict(), tmp_path / "theirs.pth")
    weights = str(tmp_path / "theirs.pth")
    plain = ResNet(depth=depth, weights=weights).eval()
    bricks = ResNet(depth=depth, bricks=True, weights=weights).eval()
    x = torch.randn(1, 3, 64, 64)
    for found, expected in zip(bricks(x), plain(x), strict=True):
        torch.testing.assert_close(found, expected)
    assert "layer2.0.downsample.conv.weight" in bricks.state_dict()


def test_a_block_of_bricks_can_start_as_the_identity():
    net = ResNet(depth=50, bricks=True, zero_init_residual=True)
    assert not net.get_parameter("layer3.1.conv3.bn.weight").any()
