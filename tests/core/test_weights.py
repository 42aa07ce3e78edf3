"""Files of weights: what is read, what is refused, and what becomes of each parameter."""

from __future__ import annotations

import os
import pickle
import sys
import types
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision.models import resnet18

from omma.backbones import ResNet
from omma.checkpoint import load_weights, read_weights, save_weights
from omma.checkpoint.weights import load_backbone
from omma.errors import WeightsError
from omma.structures.class_rows import ClassRows

PETS, FARM = ("cat", "dog"), ("dog", "cow", "pig")


class Detector(nn.Module):
    """Two anchors with a row per class, and a softmax with background last."""

    def __init__(self, classes: int, width: int = 4) -> None:
        super().__init__()
        self.neck = nn.Conv2d(3, width, 1)
        self.anchors = nn.Conv2d(width, 2 * classes, 1)
        self.softmax = nn.Linear(width, classes + 1)
        self.boxes = nn.Linear(width, 4 * classes)

    def class_rows(self) -> dict[str, ClassRows]:
        return {
            "anchors.weight": ClassRows(repeats=2),
            "anchors.bias": ClassRows(repeats=2),
            "softmax.weight": ClassRows(background=True),
            "softmax.bias": ClassRows(background=True),
            "boxes.weight": ClassRows(per_class=4),
            "boxes.bias": ClassRows(per_class=4),
        }


class Loaded(nn.Module):
    """A detector around a backbone."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = ResNet(depth=18)
        self.head = nn.Conv2d(512, 2, 1)


class Bomb:
    """Makes a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return (os.system, (f"touch {self.mark}",))


@pytest.fixture
def model() -> Detector:
    torch.manual_seed(0)
    return Detector(2)


@pytest.fixture
def history(monkeypatch: pytest.MonkeyPatch) -> Any:
    """An object such as mmengine leaves in its checkpoints, whose class is gone when the file is read."""

    class HistoryBuffer:
        executed: list[str] = []

        def __init__(self) -> None:
            self._log_history = np.arange(3.0)

        def __setstate__(self, state: Any) -> None:
            self.executed.append("setstate")

    module = types.ModuleType("mmengine.logging.history_buffer")
    HistoryBuffer.__module__, HistoryBuffer.__qualname__ = module.__name__, "HistoryBuffer"
    module.HistoryBuffer = HistoryBuffer  # type: ignore[attr-defined]
    for name in ("mmengine", "mmengine.logging"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return HistoryBuffer


def same(state: dict[str, Tensor], model: nn.Module) -> bool:
    own = model.state_dict()
    return state.keys() == own.keys() and all(torch.equal(state[name], own[name]) for name in own)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"state_dict": state, "epoch": 3},
        lambda state: {"model": OrderedDict((f"module.{name}", value) for name, value in state.items())},
        lambda state: {"state_dict": {f"_orig_mod.{name}": value for name, value in state.items()}},
    ],
    ids=["plain", "state_dict", "model-module", "compiled"],
)
def test_pth_files_are_read_whatever_wraps_the_weights(wrap, zipped: bool, model: Detector, tmp_path: Path):
    torch.save(wrap(model.state_dict()), tmp_path / "w.pth", _use_new_zipfile_serialization=zipped)
    assert same(read_weights(tmp_path / "w.pth").state, model)


def test_safetensors_keep_weights_classes_and_config(model: Detector, tmp_path: Path):
    save_weights(model, tmp_path / "sub" / "w.safetensors", classes=PETS, config="a: 1")
    weights = read_weights(tmp_path / "sub" / "w.safetensors")
    assert same(weights.state, model)
    assert (weights.metadata["classes"], weights.metadata["config"]) == (PETS, "a: 1")


def test_safetensors_of_others_need_no_metadata(model: Detector, tmp_path: Path):
    save_file(model.state_dict(), tmp_path / "w.safetensors")
    assert same(read_weights(tmp_path / "w.safetensors").state, model)


@pytest.mark.parametrize("zipped", [True, False])
def test_openmmlab_checkpoints_are_read_without_their_objects(
    zipped: bool, history: Any, model: Detector, tmp_path: Path
):
    content = {
        "meta": {"dataset_meta": {"CLASSES": list(PETS)}, "cfg": "a = 1", "epoch": 12},
        "state_dict": model.state_dict(),
        "message_hub": {"log_scalars": {"loss": history()}, "runtime": np.float64(0.5)},
    }
    torch.save(content, tmp_path / "w.pth", _use_new_zipfile_serialization=zipped)
    for name in [name for name in sys.modules if name.split(".")[0] == "mmengine"]:
        sys.modules.pop(name)
    weights = read_weights(tmp_path / "w.pth")
    assert same(weights.state, model)
    assert weights.metadata == {"classes": PETS, "config": "a = 1"}


def test_an_object_whose_class_could_be_imported_is_not_made_either(history: Any, tmp_path: Path):
    torch.save({"state_dict": {"w": torch.ones(1)}, "hub": history()}, tmp_path / "w.pth")
    assert read_weights(tmp_path / "w.pth").state.keys() == {"w"}
    assert history.executed == []


@pytest.mark.parametrize("form", ["zip", "legacy", "pickle"])
@pytest.mark.parametrize("place", ["beside", "instead"])
def test_a_pickle_that_runs_code_is_refused_and_nothing_is_executed(
    form: str, place: str, model: Detector, tmp_path: Path
):
    mark, file = tmp_path / "executed", tmp_path / "w.pth"
    content: Any = {"state_dict": model.state_dict(), "meta": Bomb(mark)} if place == "beside" else Bomb(mark)
    if form == "pickle":
        file.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, file, _use_new_zipfile_serialization=form == "zip")
    with pytest.raises(WeightsError, match=r"w\.pth: refused, nothing was executed: .*system") as caught:
        read_weights(file)
    assert ".safetensors" in str(caught.value)
    assert not mark.exists()


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors"])
def test_a_truncated_file_is_refused(kind: str, share: float, model: Detector, tmp_path: Path):
    file = tmp_path / ("w.safetensors" if kind == "safetensors" else "w.pth")
    if kind == "safetensors":
        save_weights(model, file)
    else:
        torch.save(model.state_dict(), file, _use_new_zipfile_serialization=kind == "zip")
    data = file.read_bytes()
    file.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(WeightsError, match=rf"{file.name}: damaged"):
        read_weights(file)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty"),
        (b"<!DOCTYPE html><html>404", "HTML page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"\x00" * 200, "damaged, or not a weights file"),
    ],
)
def test_what_is_no_weights_file_is_told(data: bytes, message: str, tmp_path: Path):
    (tmp_path / "w.pth").write_bytes(data)
    with pytest.raises(WeightsError, match=message):
        read_weights(tmp_path / "w.pth")


@pytest.mark.parametrize(
    ("content", "message"),
    [([1, 2], "holds list"), ({"epoch": 1}, "no tensors there; its keys are epoch")],
)
def test_a_file_without_tensors_is_told(content: Any, message: str, tmp_path: Path):
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=message):
        read_weights(tmp_path / "w.pth")


def test_a_missing_file_names_those_that_are_near(tmp_path: Path):
    (tmp_path / "resnet50.pth").touch()
    with pytest.raises(WeightsError, match=r"no such file or folder; .* has resnet50.pth"):
        read_weights(tmp_path / "resnet5.pth")


def test_a_folder_without_a_checkpoint_is_told(tmp_path: Path):
    with pytest.raises(WeightsError, match="neither a checkpoint"):
        read_weights(tmp_path)


def test_weights_of_another_model_are_refused_by_name_and_shape(model: Detector, tmp_path: Path):
    state = model.state_dict()
    state["surplus.weight"] = state.pop("softmax.bias")
    state["neck.weight"] = torch.zeros(9, 3, 1, 1)
    torch.save(state, tmp_path / "w.pth")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(WeightsError) as caught:
        load_weights(model, tmp_path / "w.pth")
    text = str(caught.value)
    assert text.startswith(f"{tmp_path / 'w.pth'}: these are not weights of this model")
    assert "1 missing in the file: softmax.bias" in text
    assert "1 not known to the model: surplus.weight" in text
    assert "neck.weight: (9, 3, 1, 1) in the file, (4, 3, 1, 1) in the model" in text
    assert same(before, model)


def test_what_fits_is_loaded_where_that_is_asked_for(model: Detector, tmp_path: Path):
    torch.save({"neck.bias": torch.ones(4), "other": torch.ones(1)}, tmp_path / "w.pth")
    report = load_weights(model, tmp_path / "w.pth", strict=False)
    assert (report.loaded, report.unused) == (["neck.bias"], ["other"])
    assert torch.equal(model.neck.bias, torch.ones(4))


def test_rows_of_classes_with_the_same_name_are_copied_and_the_rest_stay(tmp_path: Path):
    torch.manual_seed(0)
    source, target = Detector(2), Detector(3)
    save_weights(source, tmp_path / "w.safetensors", classes=PETS)
    fresh = {name: value.clone() for name, value in target.state_dict().items()}
    report = load_weights(target, tmp_path / "w.safetensors", classes=FARM)
    dog, was = 0, 1  # place of the dog among the farm's and among the pets
    for anchor in range(2):
        assert torch.equal(target.anchors.weight[anchor * 3 + dog], source.anchors.weight[anchor * 2 + was])
        assert torch.equal(target.anchors.weight[anchor * 3 + 1], fresh["anchors.weight"][anchor * 3 + 1])
    assert torch.equal(target.softmax.bias[[dog, 3]], source.softmax.bias[[was, 2]])
    assert torch.equal(target.softmax.bias[1:3], fresh["softmax.bias"][1:3])
    assert torch.equal(target.boxes.weight[:4], source.boxes.weight[4:])
    assert torch.equal(target.boxes.weight[4:], fresh["boxes.weight"][4:])
    assert torch.equal(target.neck.weight, source.neck.weight)
    table = [line.split() for line in report.lines()]
    assert ["classes", "copied", "by", "name", "1", "dog"] in table
    assert ["classes", "new", "2", "cow,", "pig"] in table


def test_classes_in_another_order_change_places(tmp_path: Path):
    source, target = Detector(2), Detector(2)
    save_weights(source, tmp_path / "w.safetensors", classes=PETS)
    load_weights(target, tmp_path / "w.safetensors", classes=PETS[::-1])
    assert torch.equal(target.softmax.weight, source.softmax.weight[[1, 0, 2]])


def test_of_unnamed_classes_of_another_number_all_rows_stay_fresh(tmp_path: Path):
    source, target = Detector(2), Detector(3)
    torch.save(source.state_dict(), tmp_path / "w.pth")
    fresh = target.anchors.weight.detach().clone()
    report = load_weights(target, tmp_path / "w.pth", classes=FARM)
    assert report.new_classes == list(FARM)
    assert torch.equal(target.anchors.weight, fresh)
    assert torch.equal(target.neck.weight, source.neck.weight)


def test_a_class_list_that_the_rows_contradict_is_told(tmp_path: Path):
    save_weights(Detector(2), tmp_path / "w.safetensors", classes=("only one",))
    with pytest.raises(WeightsError, match=r"anchors.weight: 4 rows in the file, but its 1 classes make 2"):
        load_weights(Detector(3), tmp_path / "w.safetensors", classes=FARM)


def test_torchvisions_backbone_fills_the_backbone_but_for_its_classifier(tmp_path: Path):
    theirs, model = resnet18(weights=None).eval(), Loaded().eval()
    torch.save(theirs.state_dict(), tmp_path / "resnet18.pth")
    report = load_weights(model, tmp_path / "resnet18.pth")
    assert sorted(report.unused) == ["fc.bias", "fc.weight"]
    assert sorted(report.fresh) == ["head.bias", "head.weight"]
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        stem = theirs.maxpool(theirs.relu(theirs.bn1(theirs.conv1(image))))
        wanted = theirs.layer4(theirs.layer3(theirs.layer2(theirs.layer1(stem))))
        torch.testing.assert_close(model.backbone(image)[-1], wanted)


def test_the_backbone_of_a_whole_model_fills_a_backbone(tmp_path: Path):
    source, backbone = Loaded(), ResNet(depth=18)
    torch.save({"state_dict": source.state_dict()}, tmp_path / "w.pth")
    load_backbone(backbone, tmp_path / "w.pth")
    assert torch.equal(backbone.conv1.weight, source.backbone.conv1.weight)


def test_a_deeper_backbone_is_another_network(tmp_path: Path):
    torch.save(ResNet(depth=34).state_dict(), tmp_path / "resnet34.pth")
    with pytest.raises(WeightsError, match=r"not known to the model: layer1\.2"):
        load_backbone(ResNet(depth=18), tmp_path / "resnet34.pth")


@pytest.mark.parametrize("name", ["resnet18-f37072fd.pth", "resnet18.safetensors"])
def test_published_weights_are_found_by_name(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    state = ResNet(depth=18).state_dict()
    torch.save({}, tmp_path / "resnet18_caffe.pth")
    if name.endswith("pth"):
        torch.save(state, tmp_path / name)
    else:
        save_file(state, tmp_path / name)
    monkeypatch.setenv("OMMA_WEIGHTS", str(tmp_path))
    backbone = ResNet(depth=18, weights="torchvision://resnet18")
    assert torch.equal(backbone.conv1.weight, state["conv1.weight"])


def test_published_weights_that_are_not_there_tell_where_to_put_them(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("OMMA_WEIGHTS", str(tmp_path))
    with pytest.raises(WeightsError, match=r"no file resnet18-\*\.pth .* in .*; put it there"):
        ResNet(depth=18, weights="torchvision://resnet18")


def test_a_plain_file_beside_an_average_says_that_it_is_not_the_average(tmp_path):
    for name, value in (("model.safetensors", 1.0), ("ema.safetensors", 2.0)):
        save_file({"w": torch.full((1,), value)}, str(tmp_path / name))
    with pytest.warns(UserWarning, match="give the folder"):
        assert read_weights(tmp_path / "model.safetensors").state["w"] == 1
    assert read_weights(tmp_path).state["w"] == 2
