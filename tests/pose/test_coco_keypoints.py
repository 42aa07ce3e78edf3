"""The reader of COCO's key points: what it gives, and what it makes of faulty files."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from omma.data.images import read_image
from omma.errors import DataError
from omma_pose.datasets import CocoKeypoints, CocoWholeBody, coco, skeleton_of
from omma_pose.datasets.skeletons import WHOLEBODY

NAMES = ["nose", "left_hand", "right_hand"]
FILE: dict[str, Any] = {
    "images": [
        {"id": 7, "file_name": "a.png", "height": 40, "width": 60},
        {"id": 3, "file_name": "b.png", "height": 40, "width": 60},
        {"id": 9, "file_name": "c.png", "height": 40, "width": 60},
    ],
    "annotations": [
        {"id": 1, "image_id": 3, "bbox": [5, 6, 20, 30], "keypoints": [10, 11, 2, 12, 13, 1, 0, 0, 0]},
        {"id": 2, "image_id": 7, "bbox": [-5, 6, 20, 50], "keypoints": [1, 2, 2, 3, 4, 2, 5, 6, 2]},
        {"id": 3, "image_id": 7, "bbox": [1, 2, 3, 4], "keypoints": [0] * 9},
        {"id": 4, "image_id": 9, "bbox": [1, 2, 30, 4], "iscrowd": 1, "keypoints": [1, 1, 2] * 3},
    ],
    "categories": [{"id": 1, "name": "person", "keypoints": NAMES, "skeleton": [[1, 2], [1, 3]]}],
}
for _annotation in FILE["annotations"]:
    _annotation.update({"category_id": 1, "area": 500.0})
Change = Callable[[dict[str, Any]], None]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a", "b", "c"):
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.zeros((40, 60, 3), np.uint8))
    return tmp_path


@pytest.fixture
def read(folder: Path):
    def reader(
        change: Change | None = None, boxes: list[Any] | None = None, **arguments: Any
    ) -> CocoKeypoints:
        content = copy.deepcopy(FILE)
        if change is not None:
            change(content)
        (folder / "file.json").write_text(json.dumps(content))
        if boxes is not None:
            (folder / "boxes.json").write_text(json.dumps(boxes))
            arguments["boxes"] = "boxes.json"
        return CocoKeypoints(annotations="file.json", images=".", root=str(folder), **arguments)

    return reader


def test_there_is_a_sample_for_each_labelled_person(read):
    dataset = read()
    assert len(dataset) == 2
    first, second = dataset[0], dataset[1]
    assert (first["meta"].id, second["meta"].id) == (7, 3)
    assert second["keypoints"].tolist() == [[[10, 11], [12, 13], [0, 0]]]
    assert second["visibility"].tolist() == [[2, 1, 0]]
    assert first["boxes"].tolist() == [[0, 6, 15, 40]]
    assert second["box_scores"].tolist() == [1.0]


def test_a_target_is_all_that_is_annotated_in_the_image(read):
    target = read().target(0)
    assert target["boxes"].tolist() == [[-5, 6, 15, 56], [1, 2, 4, 6]]
    assert target["instance"] == 0
    assert target["keypoints"].shape == (2, 3, 2)
    assert target["visibility"].tolist() == [[2, 2, 2], [0, 0, 0]]
    assert "boxes_of" not in target


def test_names_and_bones_are_the_category_s(read):
    skeleton = read().info.skeleton
    assert skeleton.names == tuple(NAMES)
    assert skeleton.lines == ((0, 1), (0, 2))
    assert skeleton.mirror == (0, 2, 1)


def test_a_skeleton_may_come_from_a_file(read, folder):
    file = folder / "skeleton.yaml"
    file.write_text("names: [a, b, c]\nbones: [[a, b]]\nswaps: [[b, c]]\nsigmas: [0.1, 0.2, 0.3]\n")
    skeleton = read(skeleton=str(file)).info.skeleton
    assert skeleton.mirror == (0, 2, 1)
    assert skeleton.spreads == (0.1, 0.2, 0.3)


def test_a_detector_s_boxes_replace_the_annotated_ones(read):
    boxes = [
        {"image_id": 3, "category_id": 1, "bbox": [1, 2, 30, 30], "score": 0.9},
        {"image_id": 3, "category_id": 1, "bbox": [2, 2, 30, 30], "score": 0.1},
        {"image_id": 3, "category_id": 5, "bbox": [2, 2, 30, 30], "score": 0.9},
        {"image_id": 1, "category_id": 1, "bbox": [2, 2, 30, 30], "score": 0.9},
        {"image_id": 9, "category_id": 1, "bbox": [2, 2, 0, 30], "score": 0.9},
    ]
    dataset = read(boxes=boxes, box_threshold=0.2)
    assert len(dataset) == 1
    assert dataset[0]["boxes"].tolist() == [[1, 2, 31, 32]]
    assert dataset[0]["box_scores"].tolist() == pytest.approx([0.9])
    assert "keypoints" not in dataset[0]
    assert dataset.target(0)["boxes_of"] == "boxes.json"
    assert "instance" not in dataset.target(0)
    lines = dataset.report.lines()
    for what in (
        "1 boxes left out: their image isn't among the annotated ones",
        "1 boxes left out: a category not asked for",
        "1 boxes left out: without width or height",
        "1 boxes left out: their score is under 0.2",
    ):
        assert any(line.startswith(what) for line in lines), what


def test_images_in_which_nothing_was_found_are_told_of(read):
    boxes = [{"image_id": 3, "category_id": 1, "bbox": [1, 2, 30, 30], "score": 0.9}]
    (missed,) = read(boxes=boxes).unseen()
    assert missed["id"] == 7
    assert missed["index"] < 0
    assert read().unseen() == []


def test_key_points_outside_are_counted_and_kept(read):
    def change(content):
        content["annotations"][0]["keypoints"][:2] = [100, 11]

    dataset = read(change)
    assert dataset[1]["keypoints"][0, 0].tolist() == [100, 11]
    assert any("key points outside of their image" in line for line in dataset.report.lines())


def test_boxes_without_size_are_counted_and_dropped(read):
    def change(content):
        content["annotations"][0]["bbox"] = [5, 6, 0, 30]

    dataset = read(change)
    assert len(dataset) == 1
    assert any("a box without width or height" in line for line in dataset.report.lines())


def test_duplicate_ids_are_counted(read):
    def change(content):
        content["annotations"][0]["id"] = 2

    assert any("share an id" in line for line in read(change).report.lines())


def set_keypoints(values: Any) -> Change:
    def change(content: dict[str, Any]) -> None:
        content["annotations"][0]["keypoints"] = values

    return change


def set_category(**fields: Any) -> Change:
    def change(content: dict[str, Any]) -> None:
        content["categories"][0].update(fields)

    return change


def without_skeleton(content: dict[str, Any]) -> None:
    del content["categories"][0]["keypoints"]


def without_keypoints(content: dict[str, Any]) -> None:
    for annotation in content["annotations"]:
        annotation["keypoints"] = [0] * 9


def same_image_id(content: dict[str, Any]) -> None:
    content["images"][1]["id"] = 7


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (set_keypoints([10, 11, 3] * 3), "annotation 1: expected 0 .* as visibility of key point 0, got 3"),
        (set_keypoints([10, 11, -1] * 3), "as visibility of key point 0, got -1"),
        (set_keypoints([10, 11, 2] * 2), "annotation 1: expected 3 key points.* got 2"),
        (set_keypoints([10, 11, 2, 4]), "expected 'keypoints'.* got 4 numbers"),
        (set_keypoints("none"), "expected 'keypoints'.* got 'none'"),
        (set_keypoints(["x", 11, 2] * 3), r"annotations\[0\]"),
        (set_keypoints([float("nan"), 11, 2] * 3), "key point 0 is NaN or infinite"),
        (set_category(skeleton=[[1, 4]]), "numbers from 1 to 3 in 'skeleton', got 4"),
        (set_category(skeleton=[[1]]), r"categories\[0\]"),
        (set_category(keypoints=["a", "a", "b"]), "each name once, got a"),
        (without_skeleton, "names no 'keypoints'; name a skeleton in data.skeleton"),
        (without_keypoints, "expected objects with key points, none of the 4"),
        (same_image_id, "the image id 7 stands at"),
    ],
)
def test_faults_are_told_with_their_place(read, change, message):
    with pytest.raises(DataError, match=message):
        read(change)


def test_a_class_that_is_not_there_is_refused(read):
    with pytest.raises(DataError, match="did you mean 'person'"):
        read(classes=("Person",))


@pytest.mark.parametrize(
    ("boxes", "message"),
    [
        ([{"image_id": 3, "bbox": [1, 2, 3, 4]}], "expected a list of boxes"),
        ([{"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 1}], "none of its 1 boxes can be"),
        ([{"image_id": 3, "category_id": 1, "bbox": [1, 2, 3], "score": 1}], "expected a list of boxes"),
        ([{"image_id": 3, "category_id": 1, "bbox": [1, 2, 3, float("inf")], "score": 1}], "expected finite"),
    ],
)
def test_faulty_box_files_are_told(read, boxes, message):
    with pytest.raises(DataError, match=message):
        read(boxes=boxes)


def test_an_image_of_another_size_is_refused(read, folder):
    dataset = read()
    cv2.imwrite(str(folder / "b.png"), np.zeros((60, 40, 3), np.uint8))
    with pytest.raises(DataError, match="expected 60 x 40 pixels as annotated, the file has 40 x 60"):
        dataset[1]


def test_an_image_is_decoded_once_for_people_who_follow_each_other(read, monkeypatch):
    def change(content):
        content["annotations"][2]["keypoints"] = [1, 2, 2] * 3

    decoded: list[str] = []
    monkeypatch.setattr(coco, "read_image", lambda path: decoded.append(path) or read_image(path))
    dataset = read(change)
    shown = [dataset[i]["meta"].id for i in range(3)]
    assert shown == [7, 7, 3]
    assert [Path(path).stem for path in decoded] == ["a", "b"]
    assert dataset[0]["image"].shape == (3, 40, 60)


def test_an_unknown_skeleton_is_refused():
    with pytest.raises(DataError, match="expected one of coco"):
        skeleton_of("koko")


def test_the_shapes_world_is_read(shapes_world):
    dataset = CocoKeypoints(
        annotations="annotations/keypoints_train.json",
        images="images/train",
        root=str(shapes_world),
        classes=("figure",),
        skeleton="coco",
    )
    assert len(dataset) > 10
    assert len(dataset.info.skeleton) == 17
    sample = dataset[0]
    inside = sample["visibility"][0] > 0
    x1, y1, x2, y2 = sample["boxes"][0].tolist()
    places = sample["keypoints"][0].as_subclass(torch.Tensor)[inside]
    assert ((places >= torch.tensor([x1 - 12, y1 - 12])) & (places <= torch.tensor([x2 + 12, y2 + 12]))).all()


def whole_bodies(folder: Path, **parts: Any) -> CocoWholeBody:
    content = copy.deepcopy(FILE)
    content["categories"] = [{"id": 1, "name": "person"}]
    for annotation in content["annotations"]:
        annotation.update({"keypoints": [1, 2, 2] * 17, **parts})
    (folder / "file.json").write_text(json.dumps(content))
    return CocoWholeBody(annotations="file.json", images=".", root=str(folder), skeleton="coco_wholebody")


def test_whole_bodies_have_their_lists_behind_each_other(folder):
    dataset = whole_bodies(folder, face_kpts=[3, 4, 2] * 68, lefthand_kpts=[5, 6, 1] * 21)
    keypoints, visibility = dataset[0]["keypoints"][0], dataset[0]["visibility"][0]
    assert keypoints[[0, 17, 23, 91, 112]].tolist() == [[1, 2], [0, 0], [3, 4], [5, 6], [0, 0]]
    assert visibility[[0, 17, 23, 91, 112]].tolist() == [2, 0, 2, 1, 0]


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (
            {"face_kpts": [1, 2, 2] * 67},
            r"annotations\[0\].*expected 68 x .* in 'face_kpts', got 201",
        ),
        ({"foot_kpts": None}, "expected 6 x .* in 'foot_kpts', got None"),
        ({"lefthand_kpts": [1, 2, 3] * 21}, "as visibility of key point 91, got 3"),
    ],
)
def test_faults_of_whole_bodies_are_told_with_their_list(folder, parts, message):
    with pytest.raises(DataError, match=message):
        whole_bodies(folder, **parts)


def test_a_mirror_reverses_the_rows_of_a_face():
    mirror, names = WHOLEBODY.mirror, WHOLEBODY.names
    assert len(names) == 133
    opposite = {"face-0": "face-16", "face-8": "face-8", "face-19": "face-24", "face-30": "face-30"}
    opposite |= {"face-36": "face-45", "face-40": "face-47", "face-41": "face-46", "face-50": "face-52"}
    opposite |= {"face-55": "face-59", "face-60": "face-64", "face-65": "face-67", "left_heel": "right_heel"}
    opposite |= {"left_pinky_finger4": "right_pinky_finger4", "left_hand_root": "right_hand_root"}
    for name, other in opposite.items():
        assert names[mirror[names.index(name)]] == other
