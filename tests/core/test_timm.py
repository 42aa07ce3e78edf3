"""timm's networks as backbones: layout, strides, weights files."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from omma.backbones import TimmBackbone
from omma.checkpoint import load_weights
from omma.errors import SetupError, WeightsError

timm = pytest.importorskip("timm")

SMALL = "convnext_atto"


@pytest.mark.parametrize(
    ("model", "size"), [(SMALL, 64), ("swin_tiny_patch4_window7_224", 224), ("vit_tiny_patch16_224", 224)]
)
@torch.no_grad()
def test_maps_have_the_stated_widths_and_strides(model: str, size: int):
    backbone = TimmBackbone(model=model, out_indices=(1, 2)).eval()
    maps = backbone(torch.zeros(1, 3, size, size))
    assert [m.shape[1] for m in maps] == list(backbone.out_channels)
    assert [size // m.shape[2] for m in maps] == list(backbone.strides)


@torch.no_grad()
def test_maps_of_channels_last_networks_are_turned_even_where_height_equals_width_equals_channels():
    # Swin's first map is 96 channels at stride 4: of a 384-pixel image all three axes are 96 long.
    backbone = TimmBackbone(model="swin_tiny_patch4_window7_224", out_indices=(0,)).eval()
    backbone.net.get_submodule("patch_embed").strict_img_size = False  # pyright: ignore[reportAttributeAccessIssue]
    small, large = torch.randn(1, 3, 224, 224), torch.randn(1, 3, 384, 384)
    backbone.net.forward = lambda x: [torch.arange(96.0).expand(1, x.shape[2] // 4, x.shape[3] // 4, 96)]
    for x in (small, large):
        assert torch.equal(backbone(x)[0][0, :, 0, 0], torch.arange(96.0))


@pytest.mark.parametrize("model", [SMALL, "vit_tiny_patch16_224", "resnet18"])
def test_a_file_of_timms_full_model_fills_the_backbone(model: str, tmp_path: Path):
    torch.manual_seed(0)
    full = timm.create_model(model, pretrained=False, num_classes=1000)
    torch.save(full.state_dict(), tmp_path / "w.pth")
    backbone = TimmBackbone(model=model, weights=str(tmp_path / "w.pth"))
    name, value = next(
        (n, p) for n, p in full.named_parameters() if n.endswith("0.mlp.fc1.weight") or "layer4.0.conv1" in n
    )
    own = backbone.own_names([name])[name]
    assert torch.equal(backbone.get_parameter(own), value)


def test_load_weights_knows_timms_names_within_a_model(tmp_path: Path):
    full = timm.create_model(SMALL, pretrained=False)
    torch.save(full.state_dict(), tmp_path / "w.pth")
    model = torch.nn.Module()
    model.backbone = TimmBackbone(model=SMALL)
    model.head = torch.nn.Linear(2, 2)
    report = load_weights(model, tmp_path / "w.pth")
    theirs = full.get_parameter("stages.1.blocks.0.mlp.fc1.weight")
    assert torch.equal(model.get_parameter("backbone.net.stages_1.blocks.0.mlp.fc1.weight"), theirs)
    assert report.fresh == ["head.weight", "head.bias"]


def test_weights_of_another_network_are_refused(tmp_path: Path):
    torch.save(timm.create_model("resnet18", pretrained=False).state_dict(), tmp_path / "r18.pth")
    with pytest.raises(WeightsError, match=r"timm's 'convnext_atto' could not take .*r18\.pth"):
        TimmBackbone(model=SMALL, weights=str(tmp_path / "r18.pth"))


def test_an_unknown_model_names_the_nearest():
    with pytest.raises(ValueError, match=r"timm has no model 'convnext_attto'; near: convnext"):
        TimmBackbone(model="convnext_attto")


def test_without_timm_the_error_tells_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(SetupError, match=r'pip install "omma\[timm\]"'):
        TimmBackbone(model=SMALL)
