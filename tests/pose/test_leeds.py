"""Leeds Sports Pose, both layouts of its matrix, and what is wrong with files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from omma.errors import DataError
from omma_pose.datasets import LeedsSports

HEIGHT, WIDTH = 40, 30


@pytest.fixture
def joints() -> np.ndarray:
    """(3, 14, 2): two athletes whose joints are all marked 0."""
    places = np.random.default_rng(0).uniform(4, 26, (3, 14, 2))
    return np.concatenate([places[:2], np.zeros((1, 14, 2))])


def write(folder: Path, joints: np.ndarray, digits: int) -> None:
    savemat(folder / "joints.mat", {"joints": joints})
    for number in range(1, joints.shape[2] + 1):
        Image.new("RGB", (WIDTH, HEIGHT)).save(folder / f"im{number:0{digits}d}.jpg")


def dataset(folder: Path, **options) -> LeedsSports:
    return LeedsSports(annotations="joints.mat", images=".", root=str(folder), **options)


def test_the_original_set_marks_hidden_joints(joints, tmp_path):
    joints[2, 3, 1] = 1
    write(tmp_path, joints, 4)
    data = dataset(tmp_path)
    assert len(data) == 2
    sample = data[1]
    np.testing.assert_allclose(sample["keypoints"][0], joints[:2, :, 1].T, rtol=1e-6)
    assert sample["visibility"][0].tolist() == [1 if k == 3 else 2 for k in range(14)]
    assert sample["meta"].id == 2
    assert data.skeleton.names[13] == "head_top"


def test_the_extended_set_marks_labelled_joints(joints, tmp_path):
    joints[2] = 1
    joints[2, 5, 0] = 0
    write(tmp_path, joints.transpose(1, 0, 2), 5)
    target = dataset(tmp_path).target(0)
    assert target["visibility"][0].tolist() == [0 if k == 5 else 2 for k in range(14)]
    labelled = np.delete(joints[:2, :, 0].T, 5, axis=0)
    low, high = labelled.min(0), labelled.max(0)
    grow = 0.15 * (high - low).max()
    np.testing.assert_allclose(target["boxes"][0], [*(low - grow), *(high + grow)], rtol=1e-5)


def test_a_split_is_a_list_of_names(joints, tmp_path):
    write(tmp_path, joints, 4)
    (tmp_path / "test.txt").write_text("im0002.jpg\n\n")
    data = dataset(tmp_path, names="test.txt")
    assert [data[i]["meta"].id for i in range(len(data))] == [2]


def test_a_name_beyond_the_matrix_is_told_with_its_line(joints, tmp_path):
    write(tmp_path, joints, 4)
    (tmp_path / "test.txt").write_text("im0001.jpg\nim0003.jpg\n")
    with pytest.raises(DataError, match=r"test\.txt:2: expected .*im0001\.jpg to im0002\.jpg.*'im0003\.jpg'"):
        dataset(tmp_path, names="test.txt")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda j: j[:2], "expected 'joints' of shape"),
        (lambda j: np.where(j == j[0, 4, 1], np.nan, j), "image 2, joint 4: expected finite"),
        (lambda j: np.where(np.arange(3)[:, None, None] == 2, 3, j), "a mark of 0 or 1"),
    ],
    ids=["shape", "nan", "mark"],
)
def test_what_is_wrong_with_the_matrix_is_told(spoil, message, joints, tmp_path):
    write(tmp_path, joints, 4)
    savemat(tmp_path / "joints.mat", {"joints": spoil(joints)})
    with pytest.raises(DataError, match=message):
        dataset(tmp_path)


def test_a_file_that_is_no_matrix_is_told(tmp_path):
    (tmp_path / "joints.mat").write_text("nothing")
    with pytest.raises(DataError, match=r"joints\.mat: expected Leeds Sports'"):
        dataset(tmp_path)


def test_an_athlete_without_a_labelled_joint_is_no_sample(joints, tmp_path):
    joints[2, :, 1] = 1
    write(tmp_path, joints.transpose(1, 0, 2), 5)
    data = dataset(tmp_path)
    assert len(data) == 1
