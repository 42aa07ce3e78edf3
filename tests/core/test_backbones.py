"""What every backbone must do: maps as stated, what is frozen stays, states go round."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from omma import backbones
from omma.backbones import Backbone
from omma.registry import names

SMALL: dict[str, Callable[..., Backbone]] = {
    "BEiT": partial(
        backbones.BEiT, image_size=(64, 96), channels=8, depth=3, heads=2, out_indices=(0, 2), final_norm=True
    ),
    "CPM": partial(backbones.CPM, maps=3, stages=3, channels=8, middle_channels=4),
    "CSPDarknet": partial(backbones.CSPDarknet, depth=0.33, width=0.125),
    "CSPNeXt": partial(backbones.CSPNeXt, depth=0.167, width=0.125),
    "ConvNeXt": partial(backbones.ConvNeXt, size="atto"),
    "Darknet": partial(backbones.Darknet, out_indices=(2, 3)),
    "DetectoRSResNet": partial(backbones.DetectoRSResNet, switchable=False),
    "EfficientNet": partial(backbones.EfficientNet, size="b0"),
    "HRFormer": partial(
        backbones.HRFormer, width=8, heads=2, modules=(1, 1, 1), blocks=1, stem_blocks=1, window=4
    ),
    "HRNet": partial(backbones.HRNet, width=8, modules=(1, 1, 1), blocks=1, stem_blocks=1),
    "HourglassNet": partial(backbones.HourglassNet, channels=(8, 8, 12), blocks=(1, 2, 1), map_channels=8),
    "LiteHRNet": partial(backbones.LiteHRNet, width=16, modules=(1, 1, 1), blocks=1),
    "MSCAN": partial(backbones.MSCAN, channels=(8, 8, 12, 16), depths=(1, 1, 2, 1)),
    "MSPN": partial(backbones.MSPN, stages=2, blocks=(1, 1, 1, 1), channels=8),
    "MixVisionTransformer": partial(backbones.MixVisionTransformer, channels=8, depths=(1, 1, 1, 1)),
    "MobileNetV2": partial(backbones.MobileNetV2, width=0.25),
    "MobileNetV3": partial(backbones.MobileNetV3, size="small", out_indices=(0, 1, 3, 8)),
    "PCPVT": partial(
        backbones.PCPVT, channels=(8, 16, 24, 32), depths=(2, 1, 1, 1), heads=(1, 2, 2, 4), stage_norm=True
    ),
    "PoolFormer": backbones.PoolFormer,
    "PyramidVisionTransformer": partial(
        backbones.PyramidVisionTransformer, channels=8, depths=(1, 1, 1, 1), train_size=64
    ),
    "PyramidVisionTransformerV2": partial(
        backbones.PyramidVisionTransformerV2, channels=8, depths=(1, 1, 1, 1)
    ),
    "RSN": partial(backbones.RSN, stages=2, blocks=(1, 2, 1, 1), channels=8, steps=3),
    "RegNetX": partial(backbones.RegNetX, size="400mf"),
    "Res2Net": partial(backbones.Res2Net, depth=50, out_indices=(0, 1)),
    "ResNeSt": partial(backbones.ResNeSt, depth=50, out_indices=(0, 1)),
    "ResNet": partial(backbones.ResNet, depth=18, base_channels=8),
    "SCNet": partial(backbones.SCNet, depth=50, out_indices=(0, 1)),
    "SEResNet": partial(backbones.SEResNet, depth=50, out_indices=(0, 1)),
    "SSDVGG": backbones.SSDVGG,
    "SVT": partial(
        backbones.SVT, channels=(8, 16, 24, 32), depths=(2, 2, 1, 1), heads=(1, 2, 2, 4), windows=(4,) * 4
    ),
    "ShuffleNetV1": partial(backbones.ShuffleNetV1, width=0.5),
    "ShuffleNetV2": partial(backbones.ShuffleNetV2, width=0.5),
    "SwinTransformer": partial(
        backbones.SwinTransformer, channels=8, depths=(2, 1, 1, 1), heads=(1, 2, 2, 4), window=4
    ),
    "TridentResNet": partial(backbones.TridentResNet, depth=50, frozen_stages=-1, norm_frozen=False),
    "ViPNASMobileNetV3": partial(backbones.ViPNASMobileNetV3, out_indices=(0, 1, 3, 5)),
    "ViPNASResNet": backbones.ViPNASResNet,
    "VisionTransformer": partial(
        backbones.VisionTransformer,
        image_size=(64, 64),
        channels=8,
        depth=3,
        heads=2,
        out_indices=(0, 2),
        final_norm=True,
    ),
}
"""The smallest of each family."""

every_backbone = pytest.mark.parametrize("name", list(SMALL))


def takes(name: str, argument: str) -> bool:
    return argument in inspect.signature(getattr(backbones, name)).parameters


def image(height: int = 64, width: int = 96) -> Tensor:
    return torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(0))


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def test_every_registered_backbone_is_tested_here_or_by_itself():
    known = {name for name in dir(backbones) if name in names()}
    tested_elsewhere = {"TimmBackbone", "ResNetStage", "ContextPlugin", "SqueezePlugin"}
    classes = {n for n in known if issubclass(getattr(backbones, n), Backbone)}
    assert classes - tested_elsewhere == set(SMALL)


@every_backbone
@torch.no_grad()
def test_maps_have_the_stated_channels_and_strides(name: str):
    net = SMALL[name]().eval()
    x = image()
    maps = net(x)
    assert len(maps) == len(net.out_channels) == len(net.strides)
    for m, channels, stride in zip(maps, net.out_channels, net.strides):
        assert tuple(m.shape) == (2, channels, -(-64 // stride), -(-96 // stride))
        assert m.is_contiguous()


@every_backbone
def test_every_parameter_learns(name: str):
    net = SMALL[name]().train()
    sum(m.square().mean() for m in net(image())).backward()
    assert [n for n, p in net.named_parameters() if p.grad is None] == []


@every_backbone
@torch.no_grad()
def test_a_copy_from_the_state_has_the_same_maps(name: str):
    first, second = SMALL[name]().eval(), SMALL[name]().eval()
    for key, value in first.named_buffers():
        if "running" in key:
            value.add_(torch.rand_like(value))
    second.load_state_dict(first.state_dict())
    for a, b in zip(first(image()), second(image())):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("name", [n for n in SMALL if takes(n, "frozen_stages")])
def test_what_is_frozen_gets_no_gradient_and_keeps_its_statistics(name: str):
    options = {"norm_eval": False} if takes(name, "norm_eval") else {}
    net = SMALL[name](**{"frozen_stages": 1, **options}).train()
    assert net.frozen
    parts = tuple(f"{part}." for part in net.frozen)
    before = {n: v.clone() for n, v in net.named_buffers()}
    sum(m.square().mean() for m in net(image())).backward()
    for n, p in net.named_parameters():
        inside = n.startswith(parts) or n in net.frozen
        assert p.requires_grad is not inside, n
        assert (p.grad is None) is inside, n
    moved = [n for n, v in net.named_buffers() if not torch.equal(v, before[n])]
    assert not [n for n in moved if n.startswith(parts)]
    has_norms = any(isinstance(m, nn.BatchNorm2d) for m in net.modules())
    assert bool(moved) is has_norms


@pytest.mark.parametrize("name", [n for n in SMALL if takes(n, "frozen_stages")])
def test_more_frozen_stages_freeze_more(name: str):
    with torch.device("meta"):
        nets = [SMALL[name](frozen_stages=k) for k in (-1, 0, 1, 2)]
    counts = [sum(p.numel() for p in net.parameters() if not p.requires_grad) for net in nets]
    assert counts[0] == 0
    assert sorted(counts) == counts
    assert len(set(counts[1:])) > 1


@pytest.mark.parametrize("name", [n for n in SMALL if takes(n, "norm_eval")])
def test_norm_eval_keeps_all_statistics_in_training(name: str):
    net = SMALL[name](norm_eval=True).train()
    before = {n: v.clone() for n, v in net.named_buffers()}
    with torch.no_grad():
        net(image())
    assert all(torch.equal(v, before[n]) for n, v in net.named_buffers())


@pytest.mark.parametrize("name", [n for n in SMALL if takes(n, "recompute")])
def test_recomputing_changes_no_gradient(name: str):
    options = {"norm_eval": True} if takes(name, "norm_eval") else {}
    kept, again = SMALL[name](**options).train(), SMALL[name](**options, recompute=True).train()
    for module in (*kept.modules(), *again.modules()):
        if hasattr(module, "p") and hasattr(module, "mode"):
            module.p = 0.0  # blocks that are skipped at random
    again.load_state_dict(kept.state_dict())
    for net in (kept, again):
        sum(m.square().mean() for m in net(image().requires_grad_())).backward()
    for (n, a), b in zip(kept.named_parameters(), again.parameters()):
        torch.testing.assert_close(a.grad, b.grad, msg=lambda text, n=n: f"{n}: {text}")


@pytest.mark.parametrize("name", [n for n in SMALL if takes(n, "out_indices")])
@torch.no_grad()
def test_one_map_of_several_is_the_same_map_and_what_comes_after_isn_t_built(name: str):
    whole = SMALL[name]().eval()
    first = inspect.signature(SMALL[name]).parameters["out_indices"].default[0]
    part = SMALL[name](out_indices=(first,)).eval()
    part.load_state_dict({k: v for k, v in whole.state_dict().items() if k in part.state_dict()})
    torch.testing.assert_close(part(image())[0], whole(image())[0])
    assert len(part.state_dict()) < len(whole.state_dict())
    assert part.out_channels == whole.out_channels[:1]
    assert part.strides == whole.strides[:1]


@pytest.mark.parametrize("name", [n for n in SMALL if takes(n, "out_indices")])
@pytest.mark.parametrize(
    ("option", "message"),
    [({"out_indices": (99,)}, "out_indices"), ({"frozen_stages": 99}, r"frozen_stages must be in -1\.\."),
     ({"out_indices": (2, 1)}, "rising order")],
)  # fmt: skip
def test_stages_that_there_aren_t_are_named(name: str, option: dict, message: str):
    with pytest.raises(ValueError, match=message):
        SMALL[name](**option)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: backbones.RegNetX(size="5gf"), "size must be one of 400mf"),
        (lambda: backbones.ConvNeXt(size="huge"), "size must be one of atto"),
        (lambda: backbones.EfficientNet(size="b9"), "size must be one of b0"),
        (lambda: backbones.MobileNetV3(size="tiny"), "size must be one of small, large, got tiny"),
        (lambda: backbones.MobileNetV3(tail_reduction=0), "tail_reduction must be positive, got 0"),
        (lambda: backbones.PoolFormer(size="s99"), "size must be one of s12, s24, s36, m36, m48, got s99"),
        (lambda: backbones.Res2Net(depth=18), "depth must be one of 50, 101, 152, got 18"),
        (lambda: backbones.ResNeSt(depth=18), "depth must be one of 50, 101, 152, 200, got 18"),
        (lambda: backbones.SCNet(depth=18), "depth must be one of 50, 101, got 18"),
        (lambda: backbones.ShuffleNetV1(groups=5), "groups must be one of 1, 2, 3, 4, 8, got 5"),
        (lambda: backbones.ShuffleNetV1(width=0.25), "3 groups don't divide"),
        (lambda: backbones.ShuffleNetV2(width=0.7), "width must be one of 0.5, 1.0, 1.5, 2.0, got 0.7"),
        (lambda: backbones.LiteHRNet(width=7), "width must be even"),
        (lambda: backbones.SwinTransformer(heads=(5, 6, 12, 24)), "divisible by heads"),
        (lambda: backbones.TridentResNet(test_branch=3), "test_branch must be one of 3 branches, got 3"),
        (lambda: backbones.ResNet(depth=18, groups=32), "groups need bottlenecks"),
        (lambda: backbones.ResNet(depth=50, multi_grid=(1, 2)), "multi_grid needs 3 dilations"),
    ],
)
def test_an_argument_out_of_range_is_named(build: Callable[[], Backbone], message: str):
    with pytest.raises(ValueError, match=message):
        build()


@torch.no_grad()
def test_trident_branches_are_the_stage_with_each_dilation():
    net = backbones.TridentResNet(depth=50, branch_dilations=(1, 3), test_branch=1).train()
    x = image()
    branches = net(x)[0]
    assert len(branches) == 4
    for branch, dilation in enumerate((1, 3)):
        plain = backbones.ResNet(
            depth=50, style="caffe", out_indices=(2,), dilations=(1, 1, dilation, 1)
        ).eval()
        plain.load_state_dict(net.state_dict())
        torch.testing.assert_close(branches[2 * branch : 2 * branch + 2], plain(x)[0])
    torch.testing.assert_close(net.eval()(x)[0], branches[2:])


@torch.no_grad()
def test_a_stage_by_itself_is_that_of_the_network(tmp_path):
    net = backbones.ResNet(depth=18).eval()
    torch.save(net.state_dict(), tmp_path / "r18.pth")
    stage = backbones.ResNetStage(depth=18, stage=3, weights=str(tmp_path / "r18.pth")).eval()
    maps = net(image())
    torch.testing.assert_close(stage(maps[2]), maps[3])
    assert (stage.in_channels, stage.out_channels) == (256, 512)


@torch.no_grad()
def test_learnt_positions_are_used_as_they_are_at_the_size_that_they_are_for():
    net = SMALL["PyramidVisionTransformer"]().eval()
    add = net.get_submodule("layers.0.1.0")
    x = torch.randn(1, 16, 16, 8)
    expected = x + net.get_parameter("layers.0.1.0.pos_embed").reshape(1, 16, 16, 8)
    torch.testing.assert_close(add(x), expected)


@pytest.mark.parametrize("version", [1, 2])
def test_pvt_understands_a_file_of_its_authors(version: int, tmp_path):
    name = "PyramidVisionTransformer" + ("V2" if version == 2 else "")
    net = SMALL[name]()
    first, last = ("1", "3") if version == 1 else ("0", "4")
    theirs = {"cls_token": torch.zeros(1, 1, 64), "head.weight": torch.zeros(10, 64)}
    for i in range(4):
        own = {k.removeprefix(f"layers.{i}."): v for k, v in net.state_dict().items() if k[7] == str(i)}
        for k in ("weight", "bias"):
            theirs[f"patch_embed{i + 1}.proj.{k}"] = own[f"0.projection.{k}"]
            theirs[f"patch_embed{i + 1}.norm.{k}"] = own[f"0.norm.{k}"]
            block, mine = f"block{i + 1}.0", f"1.{first}"
            query, keys = own[f"{mine}.attn.attn.in_proj_{k}"].tensor_split([own[f"0.norm.{k}"].shape[0]])
            theirs |= {f"{block}.attn.q.{k}": query, f"{block}.attn.kv.{k}": keys}
            theirs[f"{block}.attn.proj.{k}"] = own[f"{mine}.attn.attn.out_proj.{k}"]
            for fc, layer in (("fc1", "0"), ("fc2", last)):
                value = own[f"{mine}.ffn.layers.{layer}.{k}"]
                theirs[f"{block}.mlp.{fc}.{k}"] = value[..., 0, 0] if k == "weight" else value
            for norm in ("norm1", "norm2"):
                theirs[f"{block}.{norm}.{k}"] = own[f"{mine}.{norm}.{k}"]
            if i < 3:
                theirs[f"{block}.attn.sr.{k}"] = own[f"{mine}.attn.sr.{k}"]
                theirs[f"{block}.attn.norm.{k}"] = own[f"{mine}.attn.norm.{k}"]
            if version == 2:
                theirs[f"{block}.mlp.dwconv.dwconv.{k}"] = own[f"{mine}.ffn.layers.1.{k}"]
                theirs[f"norm{i + 1}.{k}"] = own[f"2.{k}"]
        if version == 1:
            positions = own["1.0.pos_embed"]
            token = positions.new_zeros(1, int(i == 3), positions.shape[-1])
            theirs[f"pos_embed{i + 1}"] = torch.cat([token, positions], dim=1)
    torch.save(theirs, tmp_path / "pvt.pth")
    again = SMALL[name](weights=str(tmp_path / "pvt.pth"))
    for key, value in net.state_dict().items():
        torch.testing.assert_close(again.state_dict()[key], value, msg=lambda text, key=key: f"{key}: {text}")


def test_the_block_that_one_hourglass_has_no_use_for_does_not_train():
    net = backbones.HourglassNet(stacks=1, channels=(8, 8), blocks=(1, 1), map_channels=8).train()
    assert "inters.0.conv1.weight" in net.state_dict()
    net(image())[0].square().mean().backward()
    assert {n for n, p in net.named_parameters() if p.grad is None} == {
        n for n, p in net.named_parameters() if not p.requires_grad
    }


@pytest.mark.parametrize("wrong", [{"channels": (8, 8, 8)}, {"stacks": 0}, {"channels": (7, 8)}])
def test_hourglasses_that_can_not_be_built_are_refused(wrong: dict):
    with pytest.raises(ValueError, match="channels"):
        backbones.HourglassNet(**{"channels": (8, 8), "blocks": (1, 1), **wrong})
