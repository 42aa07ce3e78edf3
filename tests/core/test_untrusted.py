"""Weights and checkpoints of strangers that would blow up or lead elsewhere."""

from __future__ import annotations

import copy
import json
import shutil
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from omma.checkpoint import read_weights
from omma.checkpoint import store as module
from omma.checkpoint.store import Checkpoint, read_checkpoint
from omma.errors import OmmaError, WeightsError
from omma.optim import Adam, EMASettings
from omma.runner.state import restore

from .small_run import make_run

bounded = settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
TENSORS = {
    "backbone.weight": torch.arange(6.0).view(2, 3),
    "count": torch.tensor(5),
    "half": torch.ones(3, dtype=torch.bfloat16),
}
CONTENT = {"meta": {"classes": ("a", "b"), "epoch": [1, 2.5, None]}, "state_dict": OrderedDict(TENSORS)}


@st.composite
def damage(draw: st.DrawFn) -> list[tuple[float, str, bytes]]:
    """A few edits: where in a file (share of its length), which kind, with which bytes."""
    kinds = st.sampled_from(["overwrite", "insert", "remove", "repeat", "cut"])
    noise = st.binary(min_size=1, max_size=8)
    return draw(st.lists(st.tuples(st.floats(0, 1), kinds, noise), min_size=1, max_size=4))


def damaged(data: bytes, edits: list[tuple[float, str, bytes]]) -> bytes:
    for share, kind, noise in edits:
        at, count = int(share * len(data)), len(noise)
        before, after = data[:at], data[at:]
        data = {
            "overwrite": before + noise + after[count:],
            "insert": before + noise + after,
            "remove": before + after[count:],
            "repeat": before + data[max(0, at - 5 * count) :],
            "cut": before,
        }[kind]
    return data


def use(read: Any, *words: Any) -> None:
    """It does its work, or says with an error of Omma's own why not."""
    try:
        read(*words)
    except OmmaError as error:
        str(error).encode("utf-8", "backslashreplace")


def test_a_compressed_archive_is_refused(tmp_path):
    torch.save({"a": torch.zeros(1000)}, tmp_path / "plain.pth")
    with (
        zipfile.ZipFile(tmp_path / "plain.pth") as plain,
        zipfile.ZipFile(tmp_path / "bomb.pth", "w", zipfile.ZIP_DEFLATED) as bomb,
    ):
        for name in plain.namelist():
            bomb.writestr(name, plain.read(name))
    assert read_weights(tmp_path / "plain.pth").state["a"].shape == (1000,)
    with pytest.raises(WeightsError, match="compressed"):
        read_weights(tmp_path / "bomb.pth")


def test_a_tensor_that_repeats_its_memory_is_refused(tmp_path):
    torch.save({"a": torch.zeros(1).expand(10**12)}, tmp_path / "x.pth")
    with pytest.raises(WeightsError, match="repeats 4 bytes"):
        read_weights(tmp_path / "x.pth")


def test_class_names_nested_too_deeply_are_refused(tmp_path):
    save_file({"a": torch.zeros(1)}, tmp_path / "x.safetensors", {"classes": "[" * 100_000})
    with pytest.raises(WeightsError, match="JSON list of names"):
        read_weights(tmp_path / "x.safetensors")


@pytest.mark.parametrize(
    "meta",
    [
        "[" * 100_000,
        json.dumps({"files": {}, "step": 1, "samples": 1}),
        json.dumps({"files": {"state.pt": "x", "../secret": "x"}, "step": 1, "samples": 1}),
        json.dumps({"files": {"state.pt": "x"}, "step": "1", "samples": 1}),
    ],
    ids=["deep", "no files", "outside", "step"],
)
def test_a_checkpoint_with_a_strange_list_is_refused(meta, tmp_path):
    (tmp_path / "meta.json").write_text(meta)
    with pytest.raises(WeightsError, match="is damaged"):
        read_checkpoint(tmp_path)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """One file of weights in each form."""
    folder = tmp_path_factory.mktemp("weights")
    torch.save(CONTENT, folder / "zip.pth")
    torch.save(CONTENT, folder / "legacy.pth", _use_new_zipfile_serialization=False)
    save_file(TENSORS, folder / "flat.safetensors", {"classes": '["a", "b"]'})
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.mark.parametrize("name", ["zip.pth", "legacy.pth", "flat.safetensors"])
@bounded
@given(edits=damage())
def test_weights_with_bytes_changed(name, edits, files, tmp_path):
    (tmp_path / name).write_bytes(damaged(files[name], edits))
    use(read_weights, tmp_path / name)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint of a run with averaged weights and a scaler, in the middle of a log window."""
    out = tmp_path_factory.mktemp("trained")
    make_run(out, **WORDS).train()
    return out / "checkpoints" / "step_000005"


WORDS: dict[str, Any] = {
    "steps": 7, "save_every": 5, "val": False, "recipe": Adam(lr=0.01), "ema": EMASettings(),
    "precision": "fp16",
}  # fmt: skip


def signed(folder: Path) -> None:
    """Write into ``meta.json`` the checksums that the files have now, as whoever made them would."""
    meta = json.loads((folder / "meta.json").read_text())
    meta["files"] = {name: module._digest(folder / name) for name in meta["files"]}
    (folder / "meta.json").write_text(json.dumps(meta))


@pytest.mark.parametrize("name", ["state.pt", "model.safetensors", "ema.safetensors", "meta.json"])
@settings(bounded, max_examples=60)
@given(edits=damage())
def test_a_checkpoint_with_bytes_changed(name, edits, trained, tmp_path):
    folder = tmp_path / "step_000005"
    shutil.copytree(trained, folder, dirs_exist_ok=True)
    (folder / name).write_bytes(damaged((folder / name).read_bytes(), edits))
    if name != "meta.json":
        signed(folder)
    use(read_checkpoint, folder)


@pytest.mark.parametrize("key", ["step", "samples", "metrics", "files"])
@pytest.mark.parametrize("value", [None, -1, "x", [], {"a": "b"}, 1e400])
def test_a_list_with_a_value_of_another_kind(key, value, trained, tmp_path):
    folder = tmp_path / "step_000005"
    shutil.copytree(trained, folder)
    meta = json.loads((folder / "meta.json").read_text())
    (folder / "meta.json").write_text(json.dumps(meta | {key: value}))
    with pytest.raises(WeightsError, match="step_000005"):
        read_checkpoint(folder)


@pytest.mark.parametrize("state", [None, [], 3, torch.zeros(2)])
def test_a_state_that_is_no_mapping_is_refused(state, trained, tmp_path):
    shutil.copytree(trained, tmp_path / "c")
    torch.save(state, tmp_path / "c" / "state.pt")
    signed(tmp_path / "c")
    with pytest.raises(WeightsError, match="expected a mapping, found"):
        read_checkpoint(tmp_path / "c")


@pytest.fixture(scope="module")
def opened(trained: Path) -> Checkpoint:
    return read_checkpoint(trained)


@pytest.fixture(scope="module")
def resumed(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return make_run(tmp_path_factory.mktemp("resumed"), **WORDS)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of all values in a state; of long lists (the words of a generator) the first two."""
    inside = list(value.items() if isinstance(value, dict) else enumerate(value[:2])) if isinstance(
        value, dict | list | tuple
    ) else []  # fmt: skip
    return [path] + [found for key, item in inside for found in places(item, (*path, key))]


def replaced(state: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    changed = copy.copy(state) if isinstance(state, dict) else list(state)
    changed[path[0]] = replaced(state[path[0]], path[1:], value)
    return changed


ODD = [
    None,
    "x",
    -7,
    10**30,
    2.5,
    [],
    {},
    {"x": 1},
    [[]],
    torch.zeros(0),
    torch.zeros(7, 7),
    torch.tensor(True),
]


@pytest.mark.filterwarnings("ignore:Using a non-tuple sequence")
@settings(bounded, max_examples=100)
@given(data=st.data())
def test_a_state_with_a_value_of_any_kind_anywhere(data, opened, resumed):
    path = data.draw(st.sampled_from(places(opened.state)[1:]))
    changed = replaced(opened.state, path, data.draw(st.sampled_from(ODD)))
    weights = {name: tensor.clone() for name, tensor in opened.model.items()}
    try:
        restore(resumed, Checkpoint(**(vars(opened) | {"state": changed, "model": weights})))
    except WeightsError as error:
        assert f"'{path[0]}'" in str(error)  # noqa: PT017
        return
    # What was taken must serve.
    resumed._saved_state = changed
    use(resumed.train)


@pytest.mark.parametrize("key", ["optimizer", "scaler", "rng", "world", "watch", "standing"])
def test_a_state_that_lacks_a_part_names_it(key, opened, resumed):
    state = {name: part for name, part in opened.state.items() if name != key}
    with pytest.raises(WeightsError, match=f"in its '{key}': KeyError"):
        restore(resumed, Checkpoint(**(vars(opened) | {"state": state})))


def test_the_position_of_a_generator_lies_within_it(opened, resumed):
    for position in (-1, 625):
        state = replaced(opened.state, ("rng", 0, "numpy", 2), position)
        with pytest.raises(WeightsError, match=f"in its 'rng': ValueError: position {position}"):
            restore(resumed, Checkpoint(**(vars(opened) | {"state": state})))
