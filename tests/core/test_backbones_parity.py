"""Backbones against timm's and torchvision's with the same weights."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional as F

from omma import backbones
from omma.backbones import Backbone

timm = pytest.importorskip("timm")

Names = Callable[[str], str]


def shaken(net: nn.Module) -> nn.Module:
    """Random statistics and scales, so that nothing is the identity."""
    generator = torch.Generator().manual_seed(0)
    for name, value in net.state_dict().items():
        if name.endswith("running_var"):
            value.copy_(torch.rand(value.shape, generator=generator) + 0.5)
        elif value.is_floating_point() and value.ndim == 1:
            value.add_(torch.randn(value.shape, generator=generator) * 0.1)
    return net.eval()


def compare(ours: Backbone, theirs: nn.Module, rename: Names, maps: list[Tensor], x: Tensor) -> None:
    """Load ``theirs`` under our names, all of them, and compare the maps."""
    state = {rename(name): value for name, value in theirs.state_dict().items()}
    mine = ours.state_dict()
    assert [name for name in mine if name not in state] == []
    ours.load_state_dict({name: state[name].reshape(mine[name].shape) for name in mine})
    for found, expected in zip(ours.eval()(x), maps, strict=True):
        scale = float(expected.abs().max())
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4 * scale)


def picture(size: int = 64) -> Tensor:
    return torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(1))


def deep_stem(name: str) -> str:
    """timm keeps the last norm of a deep stem beside it."""
    return re.sub(r"^conv1\.", "stem.", re.sub(r"^bn1\.", "stem.7.", name))


def res2net_of_the_authors() -> Backbone:
    """Theirs averages the last slice in the first block of every stage, OpenMMLab's only with a stride."""
    net = backbones.Res2Net(depth=50, out_indices=(0, 1))
    net.get_submodule("layer1.0").pool = nn.AvgPool2d(3, stride=1, padding=1)
    return net


@pytest.mark.parametrize(
    ("model", "build", "stages"),
    [
        ("resnest50d", lambda: backbones.ResNeSt(depth=50, out_indices=(0, 1)), 2),
        ("res2net50d", res2net_of_the_authors, 2),
        ("resnet50d", lambda: backbones.ResNet(depth=50, deep_stem=True, avg_down=True), 4),
    ],
)
@torch.no_grad()
def test_deep_stem_networks_equal_timms(model: str, build: Callable[[], Backbone], stages: int):
    net = shaken(timm.create_model(model, pretrained=False))
    x = picture()
    maps = net.forward_intermediates(x, intermediates_only=True)[1 : stages + 1]
    compare(build(), net, deep_stem, maps, x)


@torch.no_grad()
def test_resnext_equals_torchvisions():
    net = shaken(torchvision.models.resnext50_32x4d(weights=None))
    ours = backbones.ResNet(depth=50, groups=32, width_per_group=4, out_indices=(1,))
    x = picture()
    out = net.maxpool(net.relu(net.bn1(net.conv1(x))))
    compare(ours, net, lambda name: name, [net.layer2(net.layer1(out))], x)


@torch.no_grad()
def test_regnet_equals_timms():
    net = shaken(timm.create_model("regnetx_004", pretrained=False))

    def rename(name: str) -> str:
        name = name.replace("stem.conv.", "conv1.").replace("stem.bn.", "bn1.")
        name = re.sub(r"^s(\d)\.b(\d+)\.", lambda m: f"layer{m[1]}.{int(m[2]) - 1}.", name)
        name = re.sub(r"\.conv(\d)\.(conv|bn)\.", r".\2\1.", name)
        return name.replace("downsample.conv", "downsample.0").replace("downsample.bn", "downsample.1")

    x = picture()
    compare(
        backbones.RegNetX(size="400mf"),
        net,
        rename,
        net.forward_intermediates(x, intermediates_only=True)[1:],
        x,
    )


@pytest.mark.parametrize(
    ("size", "widths", "depths"),
    [
        ("800mf", [64, 128, 288, 672], [1, 3, 7, 5]),
        ("3.2gf", [96, 192, 432, 1008], [2, 6, 15, 2]),
        ("12gf", [224, 448, 896, 2240], [2, 5, 11, 1]),
    ],
)
def test_regnet_sizes_are_the_published_ones(size, widths: list[int], depths: list[int]):
    with torch.device("meta"):
        net = backbones.RegNetX(size=size)
    assert list(net.out_channels) == widths
    assert [len(list(net.get_submodule(f"layer{i}").children())) for i in (1, 2, 3, 4)] == depths


@torch.no_grad()
def test_hrnet_equals_timms():
    net = shaken(timm.create_model("hrnet_w18_small_v2", pretrained=False))
    ours = backbones.HRNet(width=18, modules=(1, 3, 2), blocks=2, stem_blocks=2)
    x = picture()
    stem = net.act2(net.bn2(net.conv2(net.act1(net.bn1(net.conv1(x))))))
    compare(ours, net, lambda name: name, net.stages(stem), x)


@torch.no_grad()
def test_one_output_of_hrnet_is_the_finest_of_several():
    several = backbones.HRNet(width=8, modules=(1, 1, 1), blocks=1, stem_blocks=1).eval()
    one = backbones.HRNet(width=8, modules=(1, 1, 1), blocks=1, stem_blocks=1, single_output=True).eval()
    one.load_state_dict({k: v for k, v in several.state_dict().items() if k in one.state_dict()})
    x = picture()
    assert len(one(x)) == 1
    torch.testing.assert_close(one(x)[0], several(x)[0])


@torch.no_grad()
def test_swin_understands_a_file_of_its_authors(tmp_path: Path):
    torch.manual_seed(0)
    net = timm.models.swin_transformer.SwinTransformer(
        img_size=128,
        window_size=4,
        embed_dim=24,
        depths=(2, 2, 1, 1),
        num_heads=(1, 2, 2, 4),
        drop_path_rate=0,
    ).eval()
    for name, value in net.named_parameters():
        if "relative_position_bias_table" in name:
            nn.init.normal_(value)
    # The authors count the merging of patches to the stage before it; timm to the one behind.
    state = {
        re.sub(r"layers\.(\d)\.downsample", lambda m: f"layers.{int(m[1]) - 1}.downsample", name): value
        for name, value in net.state_dict().items()
    }
    torch.save({"model": state}, tmp_path / "swin.pth")
    ours = backbones.SwinTransformer(
        channels=24,
        depths=(2, 2, 1, 1),
        heads=(1, 2, 2, 4),
        window=4,
        weights=str(tmp_path / "swin.pth"),
    ).eval()
    x = picture(128)  # whole windows only: timm rolls before it pads, the authors after
    theirs = net.forward_intermediates(x, intermediates_only=True)
    for found, m in zip(ours(x), theirs, strict=True):
        expected = F.layer_norm(m.permute(0, 2, 3, 1), m.shape[1:2]).permute(0, 3, 1, 2)
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


@torch.no_grad()
def test_convnext_equals_timms():
    torch.manual_seed(0)
    net = timm.models.convnext.ConvNeXt(depths=(2, 2, 6, 2), dims=(40, 80, 160, 320), ls_init_value=1.0)
    shaken(net)

    def rename(name: str) -> str:
        name = re.sub(r"^stem\.", "downsample_layers.0.", name)
        name = re.sub(r"^stages\.(\d)\.downsample\.", r"downsample_layers.\1.", name)
        name = name.replace(".blocks.", ".").replace(".conv_dw.", ".depthwise_conv.")
        return name.replace(".mlp.fc", ".pointwise_conv")

    ours = backbones.ConvNeXt(size="atto")
    for i in range(4):
        ours._modules[f"norm{i}"] = nn.Identity()
    x = picture()
    compare(ours, net, rename, net.forward_intermediates(x, intermediates_only=True), x)


@torch.no_grad()
def test_pvt_v2_equals_timms():
    torch.manual_seed(0)
    net = shaken(timm.create_model("pvt_v2_b0", pretrained=False))
    state = dict(net.state_dict())
    for name in [name for name in state if ".attn.q." in name]:
        joined = torch.cat([state.pop(name), state.pop(name.replace(".q.", ".kv."))])
        state[re.sub(r"\.q\.(\w+)", r".attn.in_proj_\1", name)] = joined

    def rename(name: str) -> str:
        name = re.sub(r"^patch_embed\.", "layers.0.0.", name)
        name = re.sub(r"^stages\.(\d)\.downsample\.", r"layers.\1.0.", name)
        name = re.sub(r"^stages\.(\d)\.blocks\.", r"layers.\1.1.", name)
        name = re.sub(r"^stages\.(\d)\.norm\.", r"layers.\1.2.", name)
        name = re.sub(r"^(layers\.\d\.0)\.proj\.", r"\1.projection.", name)
        name = name.replace(".attn.proj.", ".attn.attn.out_proj.").replace(".mlp.fc1.", ".ffn.layers.0.")
        return name.replace(".mlp.dwconv.", ".ffn.layers.1.").replace(".mlp.fc2.", ".ffn.layers.4.")

    ours = backbones.PyramidVisionTransformerV2(channels=32, depths=(2, 2, 2, 2)).eval()
    mine = ours.state_dict()
    renamed = {rename(name): value for name, value in state.items()}
    ours.load_state_dict({name: renamed[name].reshape(mine[name].shape) for name in mine})
    x = picture()
    for found, expected in zip(ours(x), net.forward_intermediates(x, intermediates_only=True)):
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


@torch.no_grad()
def test_efficientnet_equals_timms():
    net = shaken(timm.create_model("tf_efficientnet_b0", pretrained=False))
    ours = backbones.EfficientNet(size="b0", out_indices=(1, 2, 3, 4, 5)).eval()
    in_order(ours, net)
    x = picture(72)  # odd maps, where SAME padding is lopsided
    for found, expected in zip(ours(x), net.forward_intermediates(x, intermediates_only=True)):
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)


def test_efficientnet_sizes_are_the_published_ones():
    for size, millions in (("b0", 4.0), ("b3", 10.7), ("b5", 28.3)):
        with torch.device("meta"):
            net = backbones.EfficientNet(size=size, out_indices=(6,))
        assert sum(p.numel() for p in net.parameters()) / 1e6 == pytest.approx(millions, abs=0.05)


@pytest.mark.parametrize("numbered", [False, True])
@torch.no_grad()
def test_mobilenet_v2_equals_torchvisions(numbered: bool):
    net = shaken(torchvision.models.mobilenet_v2(weights=None))
    ours = backbones.MobileNetV2(out_indices=(1, 2, 4, 7), numbered=numbered).eval()
    in_order(ours, net)
    x = picture()
    maps = []
    out = x
    for i, layer in enumerate(net.features):
        out = layer(out)
        if i in (3, 6, 13, 18):
            maps.append(out)
    for found, expected in zip(ours(x), maps, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


@torch.no_grad()
def test_ssd_vgg_equals_torchvisions_vgg_up_to_its_own_layers(tmp_path: Path):
    net = nn.Module()
    net.features = torchvision.models.vgg.make_layers(torchvision.models.vgg.cfgs["D"])
    torch.save(net.state_dict(), tmp_path / "vgg.pth")
    ours = backbones.SSDVGG(weights=str(tmp_path / "vgg.pth")).eval()
    x = picture(64)
    torch.testing.assert_close(ours(x)[0], net.features[:23](x))


def in_order(ours: nn.Module, theirs: nn.Module) -> None:
    """Weights by their order, which is that of the layers in both."""
    values = iter(theirs.state_dict().values())
    mine = ours.state_dict()
    ours.load_state_dict({name: next(values).reshape(value.shape) for name, value in mine.items()})


@pytest.mark.parametrize("attention", ["packed", "qkv"])
@torch.no_grad()
def test_vision_transformer_equals_timms_from_its_file(attention: str, tmp_path: Path):
    theirs = timm.create_model(
        "vit_tiny_patch16_224", img_size=(64, 64), embed_dim=24, depth=3, num_heads=3, num_classes=5
    )
    shaken(theirs)
    nn.init.normal_(theirs.pos_embed)
    torch.save(theirs.state_dict(), tmp_path / "vit.pth")
    ours = backbones.VisionTransformer(
        image_size=(64, 64),
        channels=24,
        depth=3,
        heads=3,
        attention=attention,
        out_indices=(0, 2),
        final_norm=True,
        return_class_token=True,
        weights=str(tmp_path / "vit.pth"),
    ).eval()
    x = picture()
    first, *_ = theirs.forward_intermediates(x, indices=3, intermediates_only=True)
    found = ours(x)
    torch.testing.assert_close(found[0], first, rtol=1e-4, atol=1e-4)
    tokens = theirs.forward_features(x)
    torch.testing.assert_close(found[1].flatten(2).transpose(1, 2), tokens[:, 1:], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found[3], tokens[:, 0], rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_positions_of_a_file_are_interpolated_to_the_size_of_the_images(tmp_path: Path):
    theirs = timm.create_model("vit_tiny_patch16_224", img_size=(64, 64), embed_dim=24, depth=1, num_heads=3)
    nn.init.normal_(theirs.pos_embed)
    torch.save(theirs.state_dict(), tmp_path / "vit.pth")
    ours = backbones.VisionTransformer(
        image_size=(96, 48),
        channels=24,
        depth=1,
        heads=3,
        class_token="none",
        out_indices=(0,),
        weights=str(tmp_path / "vit.pth"),
    )
    grid = theirs.pos_embed[:, 1:].reshape(1, 4, 4, 24).permute(0, 3, 1, 2)
    expected = F.interpolate(grid, (6, 3), mode="bicubic").flatten(2).transpose(1, 2)
    torch.testing.assert_close(ours.get_parameter("pos_embed"), expected)


@pytest.mark.parametrize("positions", [True, False])
@torch.no_grad()
def test_beit_equals_timms_from_its_file(positions: bool, tmp_path: Path):
    theirs = timm.create_model(
        "beit_base_patch16_224",
        img_size=(64, 48),
        embed_dim=24,
        depth=3,
        num_heads=3,
        init_values=0.5,
        num_classes=5,
        use_abs_pos_emb=positions,
    )
    shaken(theirs)
    for name, value in theirs.named_parameters():
        if name.endswith("bias_table"):
            nn.init.normal_(value)
    torch.save(theirs.state_dict(), tmp_path / "beit.pth")
    ours = backbones.BEiT(
        image_size=(64, 48),
        channels=24,
        depth=3,
        heads=3,
        positions=positions,
        layer_scale=0.5,
        out_indices=(0, 2),
        weights=str(tmp_path / "beit.pth"),
    ).eval()
    x = picture()[..., :48]
    first, _, last = theirs.forward_intermediates(x, indices=3, intermediates_only=True, norm=False)
    torch.testing.assert_close(ours(x)[0], first, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(ours(x)[1], last, rtol=1e-4, atol=1e-4)
    assert ours(picture())[0].shape == (1, 24, 4, 4)
