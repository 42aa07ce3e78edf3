"""Checkpoints on disk: whole or absent."""

from __future__ import annotations

import json
import os
import random
import shutil
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from omma.checkpoint import store as module
from omma.checkpoint.store import Checkpoint, CheckpointStore, find_damage, read_checkpoint
from omma.errors import SetupError, WeightsError


def sample(step: int, *, ema: bool = True) -> Checkpoint:
    weights = {"a.weight": torch.full((3, 2), float(step)), "a.count": torch.tensor(step)}
    return Checkpoint(
        step=step,
        samples=step * 4,
        model=weights,
        ema=dict(weights) if ema else None,
        state={"optimizer": {"momentum": torch.ones(3)}, "rng": [[1, 2]], "best": None},
        config="model: {}\n",
        classes=("cat", "dog"),
        metrics={"AP": 0.5},
    )


@pytest.fixture
def store(tmp_path: Path) -> CheckpointStore:
    return CheckpointStore(tmp_path / "checkpoints", keep=2)


def steps(store: CheckpointStore) -> list[int]:
    return [step for step, _ in store.all()]


@pytest.mark.parametrize("ema", [True, False])
def test_what_was_saved_is_read(ema, store):
    read = read_checkpoint(store.save(sample(7, ema=ema)))
    assert (read.step, read.samples, read.classes, read.config) == (7, 28, ("cat", "dog"), "model: {}\n")
    assert (read.metrics, read.state["rng"], read.state["best"]) == ({"AP": 0.5}, [[1, 2]], None)
    assert torch.equal(read.model["a.weight"], torch.full((3, 2), 7.0))
    assert (read.ema is not None) == ema


def test_weights_carry_config_classes_and_step(store):
    with safe_open(store.save(sample(7)) / "model.safetensors", framework="pt") as file:
        assert file.metadata() == {
            "format": "pt",
            "config": "model: {}\n",
            "classes": '["cat", "dog"]',
            "step": "7",
        }


def test_only_the_newest_are_kept(store):
    for step in (1, 2, 3, 10):
        store.save(sample(step))
    assert steps(store) == [3, 10]


def test_best_outlives_its_step(store):
    store.save(sample(1), best=True)
    for step in (2, 3, 4):
        store.save(sample(step))
    assert read_checkpoint(store.folder / "best").step == 1


def test_a_better_one_replaces_the_best(store):
    for step in (1, 2):
        store.save(sample(step), best=True)
    assert read_checkpoint(store.folder / "best").step == 2
    assert sorted(path.name for path in store.folder.iterdir()) == ["best", "step_000001", "step_000002"]


def test_best_is_copied_where_hard_links_are_refused(store, monkeypatch):
    def refuse(*_: object) -> None:
        raise OSError("no links here")

    monkeypatch.setattr(os, "link", refuse)
    store.save(sample(1), best=True)
    assert find_damage(store.folder / "best") is None


@pytest.mark.parametrize("name", ["model.safetensors", "ema.safetensors", "state.pt", "meta.json"])
@pytest.mark.parametrize("how", ["truncated", "flipped", "gone"])
def test_a_damaged_newest_is_passed_over_with_a_warning(name, how, store, caplog):
    good, bad = store.save(sample(1)), store.save(sample(2))
    file = bad / name
    data = bytearray(file.read_bytes())
    if how == "truncated":
        file.write_bytes(data[: len(data) // 2])
    elif how == "gone":
        file.unlink()
    else:
        at = data.index(b"files") if name == "meta.json" else random.Random(0).randrange(len(data))
        data[at] ^= 0x55
        file.write_bytes(data)
    assert store.latest() == good
    assert "step_000002 is damaged" in caplog.text


def test_reading_a_damaged_one_names_the_file(store):
    path = store.save(sample(1))
    (path / "state.pt").write_bytes(b"")
    with pytest.raises(WeightsError, match=r"step_000001 is damaged: state\.pt"):
        read_checkpoint(path)


def test_a_pickle_that_runs_code_is_refused(store, tmp_path):
    class Evil:
        def __reduce__(self) -> tuple[object, ...]:
            return os.mkdir, (str(tmp_path / "owned"),)

    path = store.save(sample(1))
    torch.save({"x": Evil()}, path / "state.pt")
    meta = json.loads((path / "meta.json").read_text())
    meta["files"]["state.pt"] = module._digest(path / "state.pt")
    (path / "meta.json").write_text(json.dumps(meta))
    with pytest.raises(WeightsError, match="can be loaded safely"):
        read_checkpoint(path)
    assert not (tmp_path / "owned").exists()


def test_nothing_saved_is_no_latest(store):
    assert store.latest() is None


@pytest.mark.parametrize("at", ["fsync", "rename"])
def test_a_crash_while_writing_leaves_the_one_before(at, store, monkeypatch):
    good = store.save(sample(1), best=True)

    def crash(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(*((os, "fsync", crash) if at == "fsync" else (Path, "rename", crash)))
        with pytest.raises(KeyboardInterrupt):
            store.save(sample(2), best=True)
    assert store.latest() == good
    assert read_checkpoint(store.folder / "best").step == 1
    assert store.save(sample(3)).name == "step_000003"
    assert not list(store.folder.glob(".writing-*"))


def test_a_crash_while_best_is_replaced_loses_no_best(store, monkeypatch):
    store.save(sample(1), best=True)
    real = Path.rename

    def crash(self: Path, target: Path) -> Path:
        if Path(target).name == "best":
            raise KeyboardInterrupt
        return real(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", crash)
        with pytest.raises(KeyboardInterrupt):
            store.save(sample(2), best=True)
    store.save(sample(3))
    assert read_checkpoint(store.folder / "best").step == 1


def test_a_full_disk_leaves_the_others_and_says_so(store, monkeypatch):
    good = store.save(sample(1))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(
            SetupError, match=r"step_000002: No space left on device; the earlier ones are whole"
        ):
            store.save(sample(2))
    assert store.latest() == good
    assert [path.name for path in store.folder.iterdir()] == ["step_000001"]


def test_tied_weights_are_saved_under_both_names(store):
    checkpoint = sample(1)
    checkpoint.model["b.weight"] = checkpoint.model["a.weight"]
    assert torch.equal(read_checkpoint(store.save(checkpoint)).model["b.weight"], torch.ones(3, 2))


def test_saving_a_step_again_replaces_it(store):
    store.save(sample(1))
    store.save(sample(1))
    assert steps(store) == [1]


def test_a_crash_while_the_oldest_is_removed_leaves_whole_ones(store, monkeypatch):
    for step in range(1, store.keep + 1):
        store.save(sample(step))

    def crash(folder: Path, **_: object) -> None:
        (folder / "meta.json").unlink()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", crash)
        with pytest.raises(KeyboardInterrupt):
            store.save(sample(store.keep + 1))
    assert {find_damage(path) for _, path in store.all()} == {None}
    assert steps(store) == list(range(2, store.keep + 2))
