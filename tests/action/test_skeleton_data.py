"""Readers of skeletons: what they read, and what they refuse."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from omma.cli.main import main
from omma.data.shapes import make_shapes
from omma.errors import DataError
from omma_action.datasets import MSRAction3D, SkeletonArrays, SkeletonPickle

MSR = Path(__file__).parents[3] / "shared" / "data" / "msr_action3d"


def annotation(name: str, label: int, frames: int = 4, persons: int = 1, **more: Any) -> dict[str, Any]:
    rng = np.random.default_rng(label)
    return {
        "frame_dir": name,
        "label": label,
        "total_frames": frames,
        "img_shape": (1080, 1920),
        "original_shape": (1080, 1920),
        "keypoint": (1000 * rng.random((persons, frames, 17, 2))).astype(np.float16),
        "keypoint_score": rng.random((persons, frames, 17)).astype(np.float16),
        **more,
    }


def written(path: Path, content: Any, protocol: int = 4) -> str:
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    return str(path)


@pytest.mark.parametrize("protocol", range(6))
def test_pickle_of_any_protocol_is_read(tmp_path: Path, protocol: int):
    records = [annotation("a", 0), annotation("b", 1, frames=6, persons=2), annotation("c", 2)]
    content = {"split": {"train": ["c", "b"], "val": ["a"]}, "annotations": records}
    file = written(tmp_path / "set.pkl", content, protocol)
    data = SkeletonPickle(annotations=file, split="train", classes=("x", "y", "z"))
    assert [data.name(i) for i in range(len(data))] == ["b", "c"]
    sample = data[0]
    assert sample["skeleton"].shape == (1, 2, 6, 17, 3)
    assert sample["skeleton"].dtype == torch.float32
    np.testing.assert_array_equal(sample["skeleton"][0, ..., :2], records[1]["keypoint"].astype(np.float32))
    np.testing.assert_array_equal(
        sample["skeleton"][0, ..., 2], records[1]["keypoint_score"].astype(np.float32)
    )
    assert sample["canvas"] == (1080, 1920)
    assert data.target(0)["labels"].tolist() == [1]


def test_splits_agree_on_the_classes(tmp_path: Path):
    content = {"split": {"val": ["a"]}, "annotations": [annotation("a", 0), annotation("b", 2)]}
    data = SkeletonPickle(annotations=written(tmp_path / "set.pkl", content), split="val")
    assert data.info.classes == ("0", "1", "2")


def test_joints_in_space_have_no_scores(tmp_path: Path):
    record = {"frame_dir": "a", "label": 0, "total_frames": 3, "keypoint": np.ones((1, 3, 25, 3), np.float32)}
    data = SkeletonPickle(annotations=written(tmp_path / "set.pkl", [record]))
    assert data[0]["skeleton"].shape == (1, 1, 3, 25, 3)
    assert data[0]["canvas"] == (0, 0)


class Evil:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, call: Any, *args: Any) -> None:
        self.call, self.args = call, args

    def __reduce__(self) -> Any:
        return self.call, self.args


@pytest.mark.parametrize("call", [os.system, eval, exec, print, getattr, np.load, np.lib.format.read_array])
def test_pickle_that_calls_anything_is_refused_and_calls_nothing(tmp_path: Path, call: Any):
    left = tmp_path / "left"
    record = {**annotation("a", 0), "extra": Evil(call, f"touch {left}")}
    file = written(tmp_path / "evil.pkl", [record])
    with pytest.raises(DataError, match=r"evil\.pkl: refused: the pickle asks for .*which may run code"):
        SkeletonPickle(annotations=file)
    assert not left.exists()


def crafted(*operations: bytes) -> bytes:
    return b"\x80\x02" + b"".join(operations) + b"."


@pytest.mark.parametrize(
    "content",
    [
        crafted(b"cnumpy\ndtype\n", b"X\x05\x00\x00\x00i4,i4\x85R"),
        crafted(b"cnumpy\nndarray\n", b"(K\x08K\x08tR"),
        crafted(b"c_codecs\nencode\n", b"X\x01\x00\x00\x00aX\x05\x00\x00\x00rot13\x86R"),
        crafted(b"Pwhatever\n"),
        crafted(b"cbuiltins\neval\n", b"X\x01\x00\x00\x001\x85R"),
        crafted(b"\x82\x01"),
    ],
)
def test_crafted_pickles_are_errors(tmp_path: Path, content: bytes):
    (tmp_path / "set.pkl").write_bytes(content)
    with pytest.raises(DataError, match=r"set\.pkl"):
        SkeletonPickle(annotations=str(tmp_path / "set.pkl"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"not a pickle", "can't be decoded"),
        (pickle.dumps(3), "expected a list of annotations"),
        (pickle.dumps([{"label": 1}]), "has no 'keypoint'"),
        (pickle.dumps([{**annotation("a", 0), "total_frames": 9}]), "total|expected joints"),
        (pickle.dumps([{**annotation("a", 0), "keypoint": "text"}]), "annotations\\[0\\]"),
        (pickle.dumps([]), "there is none"),
        (pickle.dumps([annotation("a", 0) | {"label": 1.5}]), "annotations\\[0\\]"),
        (pickle.dumps([annotation("a", 0) | {"label": 10**12}]), "expected labels below 65536, got 10{12}"),
    ],
)
def test_bad_content_is_told(tmp_path: Path, content: bytes, message: str):
    (tmp_path / "set.pkl").write_bytes(content)
    with pytest.raises(DataError, match=message):
        SkeletonPickle(annotations=str(tmp_path / "set.pkl"))


def test_truncated_pickle_is_an_error(tmp_path: Path):
    whole = pickle.dumps([annotation("a", 0)])
    (tmp_path / "set.pkl").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="can't be decoded"):
        SkeletonPickle(annotations=str(tmp_path / "set.pkl"))


def test_unknown_split_names_those_there_are(tmp_path: Path):
    file = written(tmp_path / "set.pkl", {"split": {"train": ["a"]}, "annotations": [annotation("a", 0)]})
    with pytest.raises(DataError, match="no split 'val'; there are: train"):
        SkeletonPickle(annotations=file, split="val")


def test_a_split_that_is_no_list_is_told(tmp_path: Path):
    file = written(tmp_path / "set.pkl", {"split": {"train": 5}, "annotations": [annotation("a", 0)]})
    with pytest.raises(DataError, match="expected a list of names in the split 'train', got int"):
        SkeletonPickle(annotations=file, split="train")


def test_names_of_a_split_without_annotations_are_counted(tmp_path: Path):
    content = {"split": {"train": ["a", "b", "c"]}, "annotations": [annotation("a", 0), annotation("d", 0)]}
    data = SkeletonPickle(annotations=written(tmp_path / "set.pkl", content), split="train")
    assert len(data) == 1
    assert data.report.counts == {"names of the split 'train' without an annotation": 2}


def test_nan_joints_are_counted_and_absent(tmp_path: Path):
    record = annotation("a", 0)
    record["keypoint"][0, 1, 3] = np.nan
    data = SkeletonPickle(annotations=written(tmp_path / "set.pkl", [record]))
    assert data[0]["skeleton"].isfinite().all()
    assert (data[0]["skeleton"][0, 0, 1, 3] == 0).all()
    assert any(line.startswith("1 joints that are NaN") for line in data.report.lines())


def test_sequences_without_any_joint_are_counted_and_left_out(tmp_path: Path):
    empty = annotation("b", 1, keypoint=np.zeros((1, 4, 17, 2)), keypoint_score=np.zeros((1, 4, 17)))
    data = SkeletonPickle(annotations=written(tmp_path / "set.pkl", [annotation("a", 0), empty]))
    assert len(data) == 1
    assert any(line.startswith("1 sequences without any joint") for line in data.report.lines())
    with pytest.raises(DataError, match="expected sequences with joints, there is none"):
        SkeletonPickle(annotations=written(tmp_path / "set.pkl", [empty]))


def test_frames_without_anybody_are_counted(tmp_path: Path):
    record = annotation("a", 0)
    record["keypoint"][:, 2], record["keypoint_score"][:, 2] = 0, 0
    data = SkeletonPickle(annotations=written(tmp_path / "set.pkl", [record]))
    assert any(line.startswith("1 frames without anybody") for line in data.report.lines())


def test_samples_do_not_share_memory(tmp_path: Path):
    data = SkeletonPickle(annotations=written(tmp_path / "set.pkl", [annotation("a", 0)]))
    data[0]["skeleton"].zero_()
    assert data[0]["skeleton"].any()


def test_data_check_reads_no_image_and_draws_the_joints(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    make_shapes(tmp_path / "shapes", train=1, val=0, clips=4, size=64)
    config = tmp_path / "small.yaml"
    file = tmp_path / "shapes" / "skeletons" / "train.npz"
    loader = f"{{dataset: {{type: SkeletonArrays, annotations: {file}}}}}"
    config.write_text(f"base: stgcn_8xb16-joint-u100-80e_ntu60-xsub-keypoint-2d\ndata:\n  train!: {loader}\n")
    assert main(["data", "check", str(config), "--out", str(tmp_path / "out")]) == 0
    assert "4 of" in capsys.readouterr().out
    assert list((tmp_path / "out").glob("*.png"))


def test_shapes_world_is_read(tmp_path: Path):
    make_shapes(tmp_path, train=1, val=0, clips=4, size=64)
    data = SkeletonArrays(annotations="skeletons/train.npz", root=str(tmp_path))
    with np.load(tmp_path / "skeletons" / "train.npz") as file:
        frames, keypoints, labels = file["frames"], file["keypoints"], file["labels"]
    assert len(data) == 4
    for i in range(4):
        joints = data[i]["skeleton"]
        assert joints.shape == (1, 1, frames[i], 17, 3)
        np.testing.assert_array_equal(joints[0, 0, ..., :2], keypoints[i, : frames[i]])
        assert data.target(i)["labels"].tolist() == [labels[i]]
        assert data[i]["canvas"] == (112, 112)


def test_arrays_with_objects_are_refused(tmp_path: Path):
    objects = np.array([Evil(print, "x")], dtype=object)
    np.savez(tmp_path / "a.npz", keypoints=objects, labels=np.zeros(1), classes=np.array(["x"]))
    with pytest.raises(DataError, match=r"a\.npz: expected an \.npz file of plain arrays"):
        SkeletonArrays(annotations=str(tmp_path / "a.npz"))


@pytest.mark.parametrize("kind", ["text", "one array"])
def test_files_of_another_kind_are_refused(tmp_path: Path, kind: str):
    file = tmp_path / "a.npz"
    file.write_bytes(b"no arrays")
    if kind == "one array":
        with file.open("wb") as opened:
            np.save(opened, np.ones(3))
    with pytest.raises(DataError, match=r"a\.npz: expected an \.npz file, .* found another kind"):
        SkeletonArrays(annotations=str(file))


@pytest.mark.parametrize(
    ("labels", "frames", "message"),
    [
        ([0, 2], [2, 2], r"a\.npz: labels\[1\]: expected 0 to 1, .* got 2 \(1 such labels\)"),
        ([-1, 0], [2, 2], r"labels\[0\]: .* got -1"),
        ([0, 1], [2, 3], r"a\.npz: frames\[1\]: expected 0 to 2, as keypoints have, got 3"),
        ([0, 1], [-1, 2], r"frames\[0\]: .* got -1"),
    ],
)
def test_labels_and_lengths_out_of_range_are_told(
    tmp_path: Path, labels: list[int], frames: list[int], message: str
):
    arrays = {"keypoints": np.ones((2, 2, 17, 3)), "classes": np.array(["x", "y"])}
    np.savez(tmp_path / "a.npz", **arrays, labels=np.array(labels), frames=np.array(frames))
    with pytest.raises(DataError, match=message):
        SkeletonArrays(annotations=str(tmp_path / "a.npz"))


@pytest.mark.parametrize("left_out", ["keypoints", "labels", "classes"])
def test_missing_arrays_are_named(tmp_path: Path, left_out: str):
    arrays = {"keypoints": np.ones((1, 2, 17, 3)), "labels": np.zeros(1, int), "classes": np.array(["x"])}
    del arrays[left_out]
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(DataError, match=f"got no {left_out}"):
        SkeletonArrays(annotations=str(tmp_path / "a.npz"))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"keypoints": np.ones((2, 4, 17))}, "expected keypoints"),
        ({"scores": np.ones((2, 3, 17))}, r"expected scores \(2, 4, 17\)"),
        ({"labels": np.zeros((2, 1), int)}, r"expected labels \(2,\)"),
        ({"labels": np.array(["x", "x"])}, "expected whole numbers in labels"),
        ({"labels": np.array([0, 1])}, r"labels\[1\]: expected 0 to 0, .* got 1"),
        ({"frames": np.array([4, -1])}, r"frames\[1\]: expected 0 to 4, .* got -1"),
        ({"frames": np.array([4, 5])}, r"frames\[1\]: expected 0 to 4, .* got 5"),
        ({"size": np.array([9, 9, 3])}, r"expected size \(2,\)"),
        ({"classes": np.array("x")}, "expected classes to be a list"),
    ],
)
def test_arrays_that_dont_fit_are_told(tmp_path: Path, wrong: dict[str, np.ndarray], message: str):
    arrays = {"keypoints": np.ones((2, 4, 17, 2)), "labels": np.zeros(2, int), "classes": np.array(["x"])}
    np.savez(tmp_path / "a.npz", **(arrays | wrong))
    with pytest.raises(DataError, match=message):
        SkeletonArrays(annotations=str(tmp_path / "a.npz"))


def test_a_single_array_is_told(tmp_path: Path):
    np.save(tmp_path / "a.npy", np.ones((2, 4, 17, 2)))
    with pytest.raises(DataError, match="found another kind"):
        SkeletonArrays(annotations=str(tmp_path / "a.npy"))


@pytest.mark.skipif(not MSR.is_dir(), reason="no MSR Action3D beside the repository")
def test_msr_action3d_has_its_usual_split():
    train = MSRAction3D(root=str(MSR), subjects=(1, 3, 5, 7, 9))
    test = MSRAction3D(root=str(MSR), subjects=(2, 4, 6, 8, 10))
    assert (len(train), len(test)) == (284, 273)
    assert len(train.info.classes) == 20
    assert (train.class_counts().sum(axis=0) > 0).all()
    first = np.loadtxt(MSR / "real_world_coordinates" / "a01_s01_e01_skeleton3D.txt").reshape(-1, 20, 4)
    np.testing.assert_allclose(train[0]["skeleton"][0, 0], first[..., :3], rtol=1e-6)


@pytest.mark.skipif(not MSR.is_dir(), reason="no MSR Action3D beside the repository")
def test_msr_action3d_without_its_list_counts_the_empty_sequence():
    data = MSRAction3D(root=str(MSR), subjects=(9,), listed=None)
    assert any("a13_s09_e02" in line and "left out" in line for line in data.report.lines())


def test_msr_action3d_of_other_form_is_an_error(tmp_path: Path):
    (tmp_path / "a01_s01_e01_skeleton3D.txt").write_text("1 2 3\n")
    with pytest.raises(DataError, match="expected x, y, z and confidence of 20 joints"):
        MSRAction3D(folder=str(tmp_path), subjects=(1,), listed=None)
