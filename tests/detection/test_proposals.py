"""Proposals from a file, moved with the image."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision import tv_tensors

from omma.data.transforms import RandomFlip, Resize
from omma.errors import DataError
from omma.structures import Meta, Prediction, Sample
from omma_detection.transforms import LoadProposals, save_proposals

FOUND = {
    7: Prediction(boxes=torch.tensor([[0.0, 0, 4, 4], [1, 2, 9, 8]]), scores=torch.tensor([0.2, 0.9])),
    3: Prediction(boxes=torch.tensor([[5.0, 5, 6, 6]]), scores=torch.tensor([0.5])),
}


def sample(name: int | str) -> Sample:
    image = tv_tensors.Image(torch.zeros(3, 10, 20, dtype=torch.uint8))
    return Sample(image=image, meta=Meta(index=0, id=name, path="a.jpg", height=10, width=20))


@pytest.fixture
def file(tmp_path: Path) -> str:
    save_proposals(tmp_path / "found.npz", FOUND)
    return str(tmp_path / "found.npz")


def test_each_image_gets_its_own_best_first(file: str):
    transform = LoadProposals(file=file)
    assert transform(sample(7))["proposals"].tolist() == [[1, 2, 9, 8], [0, 0, 4, 4]]
    assert transform(sample(3))["proposals"].tolist() == [[5, 5, 6, 6]]


def test_only_the_best_are_kept(file: str):
    assert LoadProposals(file=file, num=1)(sample(7))["proposals"].tolist() == [[1, 2, 9, 8]]


def test_coco_results_say_the_same(tmp_path: Path, file: str):
    results = [
        {"image_id": 7, "bbox": [1, 2, 8, 6], "score": 0.9},
        {"image_id": 7, "bbox": [0, 0, 4, 4], "score": 0.2},
    ]
    (tmp_path / "found.json").write_text(json.dumps(results))
    ours = LoadProposals(file=str(tmp_path / "found.json"))(sample(7))["proposals"]
    assert ours.tolist() == LoadProposals(file=file)(sample(7))["proposals"].tolist()


def test_proposals_move_with_the_image(file: str):
    moved = LoadProposals(file=file, num=1)(sample(7))
    for transform in (Resize(height=20, width=40), RandomFlip(prob=1.0)):
        moved = transform(moved)
    assert moved["proposals"].tolist() == [[40 - 18, 4, 40 - 2, 16]]


def test_an_image_without_an_entry_is_named(file: str):
    with pytest.raises(DataError, match=r"found\.npz.*id 99 \(a\.jpg\)"):
        LoadProposals(file=file)(sample(99))


@pytest.mark.parametrize(
    "content",
    [
        {"boxes": np.zeros((1, 4))},
        {"image_id": np.zeros(2), "boxes": np.zeros((1, 4)), "scores": np.zeros(2)},
        {"image_id": np.zeros(1), "boxes": np.full((1, 4), np.nan), "scores": np.zeros(1)},
        {"image_id": np.array([{}], object), "boxes": np.zeros((1, 4)), "scores": np.zeros(1)},
    ],
    ids=["keys", "shapes", "nan", "pickled"],
)
def test_files_of_something_else_are_refused(tmp_path: Path, content: dict):
    np.savez(tmp_path / "bad.npz", **content)
    with pytest.raises(DataError, match=r"bad\.npz: expected"):
        LoadProposals(file=str(tmp_path / "bad.npz"))


@pytest.mark.parametrize("text", ["", "[{}]", '{"a": 1}'])
def test_broken_json_is_refused(tmp_path: Path, text: str):
    (tmp_path / "bad.json").write_text(text)
    with pytest.raises(DataError, match=r"bad\.json: expected"):
        LoadProposals(file=str(tmp_path / "bad.json"))


def test_a_missing_file_is_refused():
    with pytest.raises(DataError, match=r"none\.npz"):
        LoadProposals(file="none.npz")
