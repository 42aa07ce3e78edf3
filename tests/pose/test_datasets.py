"""The readers of CrowdPose and MPII, and what OpenMMLab's files of other sets ask of COCO's."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from scipy.io import savemat

from omma.errors import DataError
from omma_pose.datasets import CocoKeypoints, CrowdPose, Mpii
from omma_pose.transforms import TopDownCrop

PERSON: dict[str, Any] = {
    "image": "000005.png",
    "center": [31.0, 21.0],
    "scale": 0.2,
    "joints": [[10.0 + i, 20.0] for i in range(15)] + [[-1.0, -1.0]],
    "joints_vis": [1] * 15 + [0],
}
PEOPLE = [
    PERSON,
    {**PERSON, "image": "000009.png", "center": [11.0, 31.0]},
    {**PERSON, "center": [50.0, 16.0], "scale": 0.1, "joints_vis": [0, *[1] * 14, 0]},
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("000005", "000009"):
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.full((40, 60, 3), 90, np.uint8))
    return tmp_path


def mpii(folder: Path, people: Any = PEOPLE, **arguments: Any) -> Mpii:
    (folder / "people.json").write_text(json.dumps(people))
    return Mpii(annotations="people.json", images=".", root=str(folder), **arguments)


def written(folder: Path, heads: np.ndarray) -> str:
    savemat(folder / "heads.mat", {"headboxes_src": heads})
    return "heads.mat"


def test_places_of_mpii_count_from_0_and_boxes_are_squares_below_the_centre(folder):
    dataset = mpii(folder)
    assert [dataset[i]["meta"].id for i in range(3)] == [5, 5, 9]
    sample = dataset[0]
    assert sample["keypoints"][0, [0, 14, 15]].tolist() == [[9, 19], [23, 19], [0, 0]]
    assert sample["visibility"][0].tolist() == [2] * 15 + [0]
    # 40 pixels a side, around (30, 20) lowered by 3: not cut at the right nor below.
    assert sample["boxes"].tolist() == [[10, 3, 50, 43]]
    assert dataset.target(0)["area"].tolist() == pytest.approx([0.53 * 40**2, 0.53 * 20**2])
    assert len(dataset.info.skeleton) == 16


def test_a_crop_of_mpii_is_centred_on_its_person(folder):
    sample = mpii(folder, transforms=(TopDownCrop(height=50, width=50),))[0]
    # The box of 40 pixels fills four fifths: one pixel of the image is one of the crop.
    assert sample["keypoints"][0, 0].tolist() == pytest.approx([9 - 30 + 25, 19 - 23 + 25])


def test_heads_belong_to_the_people_in_the_order_of_the_list(folder):
    diagonals = np.array([10.0, 20.0, 30.0])
    heads = np.stack([np.zeros((2, 3)), np.stack([0.6 * diagonals, 0.8 * diagonals])])
    dataset = mpii(folder, heads=written(folder, heads))
    assert dataset.target(0)["head_sizes"].tolist() == pytest.approx([6, 18])
    assert dataset.target(2)["head_sizes"].tolist() == pytest.approx([12])
    assert "head_sizes" not in mpii(folder).target(0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"joints": [[1, 2]] * 14, "joints_vis": [1] * 14}, "annotation 0: expected 16 key points.* got 14"),
        ({"joints": [[1, 2]] * 16, "joints_vis": [1] * 15}, r"people\[0\]: expected as many numbers"),
        ({"joints_vis": [2] * 16}, r"people\[0\]: expected 0 or 1 in 'joints_vis'\[0\], got 2"),
        ({"joints": [[1]] * 16}, r"people\[0\]: 'joints'\[0\]: expected 2 finite numbers, got \[1\]"),
        ({"joints": [[float("nan"), 1]] * 16}, r"'joints'\[0\]: expected 2 finite numbers"),
        ({"center": [1, None]}, r"people\[0\]: 'center': expected 2 finite numbers"),
        ({"scale": "big"}, r"people\[0\]: 'scale': expected 1 finite numbers"),
        ({"image": "../a.png"}, "the file name '../a.png' is refused"),
        ({"image": "absent.png"}, "absent.png: expected an image file"),
        ({"image": 5}, "expected text in 'image', got 5"),
    ],
)
def test_faults_of_mpii_are_told_with_their_place(folder, changes, message):
    with pytest.raises(DataError, match=message):
        mpii(folder, [{**PERSON, **changes}])


def test_people_of_mpii_without_size_or_outside_are_counted_and_dropped(folder):
    people = [{**PERSON, "scale": 0}, {**PERSON, "center": [-500.0, 10.0]}, PERSON]
    dataset = mpii(folder, people)
    assert len(dataset) == 1
    lines = dataset.report.lines()
    assert any("1 objects dropped: a box without width or height" in line for line in lines)
    assert any("1 objects dropped: a box outside its image" in line for line in lines)


def test_key_points_of_mpii_outside_their_image_are_counted(folder):
    dataset = mpii(folder, [{**PERSON, "joints": [[70.0, 20.0]] * 16}])
    assert any("15 key points outside of their image" in line for line in dataset.report.lines())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}", "expected a list of people"),
        ("[1]", r"people\[0\]: expected an object"),
        ("[", "not valid JSON"),
    ],
)
def test_files_of_another_kind_are_refused_as_mpii(folder, text, message):
    (folder / "people.json").write_text(text)
    with pytest.raises(DataError, match=message):
        Mpii(annotations="people.json", images=".", root=str(folder))


@pytest.mark.parametrize(
    ("heads", "message"),
    [
        (np.ones((2, 2, 2)).cumsum(0), "expected the heads of the 3 people in .*people.json, got 2"),
        (np.ones((2, 2, 3)), "expected head boxes with a size, that of person 0 is 0"),
        (np.ones((3, 2)), r"of shape \(2, 2, people\), got \(3, 2\)"),
    ],
)
def test_faulty_files_of_heads_are_told(folder, heads, message):
    with pytest.raises(DataError, match=message):
        mpii(folder, heads=written(folder, heads))


def test_a_file_that_is_no_file_of_heads_is_told(folder):
    (folder / "other.mat").write_text("no")
    with pytest.raises(DataError, match="expected MPII's mpii_gt_val"):
        mpii(folder, heads="other.mat")


# As CrowdPose and AI Challenger give them out: bones of other key points, and no areas.
CROWD: dict[str, Any] = {
    "images": [
        {"id": 5, "file_name": "000005.png", "height": 40, "width": 60, "crowdIndex": 0.33},
        {"id": 9, "file_name": "000009.png", "height": 40, "width": 60, "crowdIndex": 1},
    ],
    "annotations": [
        {
            "id": i,
            "image_id": image,
            "category_id": 1,
            "bbox": [5, 6, 20, 30],
            "iscrowd": 0,
            "keypoints": [10, 11, 2] * 14,
        }
        for i, image in enumerate((9, 5))
    ],
    "categories": [
        {"id": 1, "name": "person", "keypoints": [f"k{i}" for i in range(14)], "skeleton": [[16, 14]]}
    ],
}


def crowd(folder: Path, kind: type[CocoKeypoints] = CrowdPose, **arguments: Any) -> CocoKeypoints:
    content = copy.deepcopy(arguments.pop("content", CROWD))
    (folder / "crowd.json").write_text(json.dumps(content))
    return kind(annotations="crowd.json", images=".", root=str(folder), **arguments)


def test_a_named_skeleton_replaces_one_that_contradicts_itself(folder):
    assert crowd(folder, skeleton="crowdpose").info.skeleton.names[12] == "top_head"
    with pytest.raises(DataError, match="numbers from 1 to 14 in 'skeleton', got 16; or name a skeleton"):
        crowd(folder)


def test_people_without_an_area_fill_half_of_their_box(folder):
    assert crowd(folder, skeleton="crowdpose").target(0)["area"].tolist() == pytest.approx([0.53 * 600])


def test_targets_of_crowdpose_say_how_crowded_the_image_is(folder):
    dataset = crowd(folder, skeleton="crowdpose")
    assert [dataset.target(i)["id"] for i in range(2)] == [5, 9]
    assert [dataset.target(i)["crowd_index"] for i in range(2)] == [0.33, 1.0]
    assert "crowd_index" not in crowd(folder, CocoKeypoints, skeleton="crowdpose").target(0)


@pytest.mark.parametrize("index", [None, "much", 1.5, -0.1, float("nan"), True])
def test_images_without_a_crowd_index_are_refused(folder, index):
    content = copy.deepcopy(CROWD)
    content["images"][1]["crowdIndex"] = index
    with pytest.raises(DataError, match=r"images\[1\]: expected a number in 0..1 in 'crowdIndex'"):
        crowd(folder, skeleton="crowdpose", content=content)


def test_a_category_with_an_empty_list_of_names_needs_a_named_skeleton(folder):
    content = copy.deepcopy(CROWD)
    content["categories"][0].update({"keypoints": [], "skeleton": []})  # as Halpe's
    assert len(crowd(folder, CocoKeypoints, skeleton="aic", content=content)) == 2
    with pytest.raises(DataError, match="names no 'keypoints'; name a skeleton"):
        crowd(folder, CocoKeypoints, content=content)


def test_animals_are_labelled_by_their_names(folder):
    content = copy.deepcopy(CROWD)
    content["categories"] = [{"id": 26, "name": "zebra"}, {"id": 1, "name": "cow"}]
    content["annotations"][1].update({"category_id": 26, "keypoints": [10, 11, 2] * 17})
    content["annotations"][0]["keypoints"] = [1, 1, 2] * 17
    dataset = crowd(folder, CocoKeypoints, classes=("cow", "zebra"), skeleton="ap10k", content=content)
    assert [dataset[i]["labels"].item() for i in range(2)] == [1, 0]
