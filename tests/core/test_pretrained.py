"""Initial weights by the name of their publisher."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from omma.backbones import ResNet
from omma.checkpoint.pretrained import load_pretrained
from omma.errors import WeightsError


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OMMA_WEIGHTS", str(tmp_path))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    return tmp_path


def save(file: Path) -> ResNet:
    torch.manual_seed(len(file.name))
    net = ResNet(depth=18, out_indices=(0,))
    torch.save(net.state_dict(), file)
    return net


def same(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values()))


@pytest.mark.parametrize("name", ["r18.pth", "r18-b5776b93.pth", "r18_20220624-7e0fe6dd.pth"])
def test_a_name_finds_its_file_whatever_date_and_checksum_it_bears(folder: Path, name: str):
    published = save(folder / name)
    net = ResNet(depth=18, out_indices=(0,))
    load_pretrained(net, "openmmlab://zoo/r18")
    assert same(net, published)


@pytest.mark.parametrize("name", ["r18_caffe-b5776b93.pth", "r18d.pth", "r18_2022-b5776b93.pth", "r18.txt"])
def test_a_name_does_not_find_the_files_of_others(folder: Path, name: str):
    save(folder / name)
    with pytest.raises(WeightsError, match=r"openmmlab://r18: no file r18-\*\.pth or r18\.safetensors in"):
        load_pretrained(ResNet(depth=18, out_indices=(0,)), "openmmlab://r18")
