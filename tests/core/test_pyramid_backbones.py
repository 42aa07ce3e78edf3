"""Pyramids of transformers without tokens, and Twins, against timm's with the same weights and formulas."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from omma import backbones
from omma.backbones.mscan import StripGate
from omma.backbones.pvt import StageForm
from omma.backbones.twins import WindowedAttention

timm = pytest.importorskip("timm")


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def picture(height: int, width: int) -> Tensor:
    return torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(1))


def drawn(net: nn.Module) -> nn.Module:
    """Random scales and biases, so that nothing is the identity."""
    for value in net.parameters():
        if value.ndim == 1:
            nn.init.normal_(value, mean=0.5, std=0.3)
    return net.eval()


@torch.no_grad()
def test_poolformer_equals_timms():
    theirs = drawn(timm.create_model("poolformer_s12", pretrained=False))

    def rename(name: str) -> str:
        name = name.replace("stem.conv.", "patch_embed.proj.").replace(".scale", "")
        name = re.sub(
            r"^stages\.(\d)\.downsample\.conv\.", lambda m: f"network.{2 * int(m[1]) - 1}.proj.", name
        )
        name = re.sub(r"^stages\.(\d)\.blocks\.", lambda m: f"network.{2 * int(m[1])}.", name)
        return re.sub(r"\.layer_scale(\d)$", r".layer_scale_\1", name)

    ours = backbones.PoolFormer(size="s12").eval()
    for i in range(4):
        ours._modules[f"norm{2 * i}"] = nn.Identity()
    state = {rename(name): value for name, value in theirs.state_dict().items()}
    ours.load_state_dict({name: state[name] for name in ours.state_dict()})
    x = picture(64, 96)
    maps = theirs.forward_intermediates(x, intermediates_only=True)
    for found, expected in zip(ours(x), maps, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))


@pytest.mark.parametrize(("size", "millions"), [("s12", 11.9), ("s24", 21.4), ("s36", 30.8), ("m48", 73.4)])
def test_poolformer_has_the_published_number_of_parameters(size, millions: float):
    with torch.device("meta"):
        net = backbones.PoolFormer(size=size, out_indices=(3,))
    # Published with the classifier of 1,000 classes.
    count = sum(p.numel() for p in net.parameters()) + 1001 * net.out_channels[0]
    assert count / 1e6 == pytest.approx(millions, abs=0.1)


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("twins_pcpvt_small", lambda path: backbones.PCPVT(weights=path)),
        ("twins_svt_small", lambda path: backbones.SVT(stage_norm=False, weights=path)),
    ],
)
@torch.no_grad()
def test_twins_equal_timms_from_a_file_of_the_authors(name: str, ours, tmp_path: Path):
    theirs = timm.create_model(name, pretrained=False).eval()
    torch.save(theirs.state_dict(), tmp_path / "twins.pth")  # timm keeps the authors' names
    net = ours(str(tmp_path / "twins.pth")).eval()
    x = picture(224, 224)  # whole windows in every stage
    maps = theirs.forward_intermediates(x, intermediates_only=True)
    for found, expected in zip(net(x), maps, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))


@torch.no_grad()
def test_windows_at_the_border_see_nothing_beyond_it():
    form = StageForm(channels=8, heads=2, hidden=8, reduction=1, conv_ffn=False)
    layer = WindowedAttention(form, window=4).double().eval()
    nn.init.normal_(layer.qkv.bias)
    for height, width in ((6, 7), (4, 6), (6, 4)):
        x = torch.randn(2, height, width, 8).double()
        found = layer(x)
        for top in range(0, height, 4):
            for left in range(0, width, 4):
                tile = x[:, top : top + 4, left : left + 4]
                tokens = tile.flatten(1, 2)
                query, key, value = (
                    part.unflatten(-1, (2, 4)).transpose(1, 2) for part in layer.qkv(tokens).split(8, dim=-1)
                )
                seen = (query @ key.transpose(-1, -2) / 2).softmax(-1) @ value
                expected = layer.proj(seen.transpose(1, 2).flatten(2)).view(tile.shape)
                torch.testing.assert_close(found[:, top : top + 4, left : left + 4], expected)


def test_channels_of_twins_must_be_divisible_by_heads():
    with pytest.raises(ValueError, match="must be divisible by heads"):
        backbones.PCPVT(heads=(3, 2, 5, 8))


@torch.no_grad()
def test_strips_are_convolutions_by_products_of_two_lines():
    gate = StripGate(3).double().eval()
    part = dict(gate.named_children())
    for name, conv in part.items():
        if name != "conv3":
            assert isinstance(conv, nn.Conv2d)
            assert conv.bias is not None
            nn.init.zeros_(conv.bias)
    x = torch.randn(2, 3, 24, 30).double()
    near = F.conv2d(x, gate.get_parameter("conv0.weight"), padding=2, groups=3)
    total = near
    for i, side in enumerate((7, 11, 21)):
        across, down = (gate.get_parameter(f"conv{i}_{k}.weight") for k in (1, 2))
        square = down * across  # (C, 1, side, side)
        total = total + F.conv2d(near, square, padding=side // 2, groups=3)
    torch.testing.assert_close(gate(x), part["conv3"](total) * x)


@pytest.mark.parametrize(
    ("channels", "depths", "ratios", "millions"),
    [
        ((32, 64, 160, 256), (3, 3, 5, 2), (8, 8, 4, 4), 4.2),
        ((64, 128, 320, 512), (2, 2, 4, 2), (8, 8, 4, 4), 14.0),
        ((64, 128, 320, 512), (3, 3, 12, 3), (8, 8, 4, 4), 26.8),
        ((64, 128, 320, 512), (3, 5, 27, 3), (8, 8, 4, 4), 45.2),
    ],
)
def test_mscan_has_the_published_number_of_parameters(channels, depths, ratios, millions: float):
    with torch.device("meta"):
        net = backbones.MSCAN(channels=channels, depths=depths, mlp_ratios=ratios)
    # Published with the classifier of 1,000 classes.
    count = sum(p.numel() for p in net.parameters()) + 1001 * channels[-1]
    assert count / 1e6 == pytest.approx(millions, abs=0.1)


@torch.no_grad()
def test_mscan_understands_a_file_of_its_authors(tmp_path: Path):
    options = {"channels": (8, 8, 12, 16), "depths": (1, 1, 1, 1)}
    net = backbones.MSCAN(**options)
    theirs = {k.replace("mlp.dwconv.", "mlp.dwconv.dwconv."): v for k, v in net.state_dict().items()}
    assert len(theirs.keys() - net.state_dict().keys()) == 8
    torch.save(theirs, tmp_path / "mscan.pth")
    again = backbones.MSCAN(**options, weights=str(tmp_path / "mscan.pth"))
    for key, value in net.state_dict().items():
        assert torch.equal(again.state_dict()[key], value), key
