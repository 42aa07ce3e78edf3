"""Weights and checkpoints of strangers that would blow up or lead elsewhere."""

from __future__ import annotations

import json
import zipfile

import pytest
import torch
from safetensors.torch import save_file

from omma.checkpoint import read_weights
from omma.checkpoint.store import read_checkpoint
from omma.errors import WeightsError


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
