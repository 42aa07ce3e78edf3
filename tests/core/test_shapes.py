"""The shapes world judged by pycocotools and by counting pixels."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from pycocotools import mask as rle
from pycocotools.coco import COCO

from omma.data.shapes import ACTIONS, CATEGORIES, FIGURE, THINGS, make_shapes
from omma.data.shapes.annotations import polygons_of, run_lengths
from omma.data.shapes.figure import KEYPOINTS, SKELETON, Pose, joints
from omma.errors import SetupError

SPLITS = ("train", "val")


def _coco(world: Path, kind: str, split: str) -> COCO:
    return COCO(str(world / "annotations" / f"{kind}_{split}.json"))


def _panoptic(world: Path, split: str) -> list[tuple[dict, np.ndarray]]:
    """(record, (H, W) segment ids) of each image, decoded as COCO says: R + 256 G + 65536 B."""
    content = json.loads((world / "annotations" / f"panoptic_{split}.json").read_text())
    pairs = []
    for record in content["annotations"]:
        bgr = cv2.imread(str(world / "panoptic" / split / record["file_name"])).astype(np.int64)
        pairs.append((record, bgr[..., 2] + 256 * bgr[..., 1] + 65536 * bgr[..., 0]))
    return pairs


def _files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture(scope="module", params=SPLITS)
def split(request: pytest.FixtureRequest) -> str:
    return request.param


def test_boxes_and_areas_are_those_of_the_decoded_masks(shapes_world: Path, split: str):
    coco = _coco(shapes_world, "instances", split)
    assert coco.anns
    for annotation in coco.anns.values():
        mask = coco.annToMask(annotation)
        ys, xs = np.nonzero(mask)
        tight = [xs.min(), ys.min(), xs.max() + 1 - xs.min(), ys.max() + 1 - ys.min()]
        assert annotation["bbox"] == tight
        assert annotation["area"] == mask.sum()


def test_masks_of_an_image_do_not_overlap_and_agree_with_the_semantic_map(shapes_world: Path, split: str):
    coco = _coco(shapes_world, "instances", split)
    for image_id, image in coco.imgs.items():
        path = shapes_world / "semantic" / split / image["file_name"].replace(".jpg", ".png")
        semantic = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        claimed = np.zeros_like(semantic, dtype=int)
        for annotation in coco.imgToAnns[image_id]:
            mask = coco.annToMask(annotation).astype(bool)
            claimed += mask
            assert (semantic[mask] == annotation["category_id"]).all()
        assert claimed.max() <= 1
        assert np.array_equal(claimed > 0, np.isin(semantic, list(THINGS)))


def test_every_form_of_segmentation_occurs(shapes_world: Path):
    annotations = list(_coco(shapes_world, "instances", "train").anns.values())
    forms = {
        (type(a["segmentation"]).__name__, type(a["segmentation"]["counts"]).__name__)
        if isinstance(a["segmentation"], dict)
        else ("list", "")
        for a in annotations
    }
    assert forms == {("list", ""), ("dict", "str"), ("dict", "list")}
    assert all(isinstance(a["segmentation"]["counts"], list) for a in annotations if a["iscrowd"])


def test_each_split_has_a_crowd_and_most_classes(shapes_world: Path, split: str):
    annotations = _coco(shapes_world, "instances", split).anns.values()
    assert any(a["iscrowd"] for a in annotations)
    assert len({a["category_id"] for a in annotations}) >= 6


def test_panoptic_segments_count_their_pixels(shapes_world: Path, split: str):
    for record, ids in _panoptic(shapes_world, split):
        found = dict(zip(*(values.tolist() for values in np.unique(ids, return_counts=True))))
        assert {s["id"]: s["area"] for s in record["segments_info"]} == found
        for segment in record["segments_info"]:
            ys, xs = np.nonzero(ids == segment["id"])
            assert segment["bbox"] == [xs.min(), ys.min(), np.ptp(xs) + 1, np.ptp(ys) + 1]


def test_semantic_map_shows_the_classes_of_the_panoptic_segments(shapes_world: Path, split: str):
    for record, ids in _panoptic(shapes_world, split):
        semantic = cv2.imread(
            str(shapes_world / "semantic" / split / record["file_name"]), cv2.IMREAD_UNCHANGED
        )
        assert semantic.dtype == np.uint8
        for segment in record["segments_info"]:
            assert (semantic[ids == segment["id"]] == segment["category_id"]).all()


def test_panoptic_things_are_the_instances(shapes_world: Path, split: str):
    coco = _coco(shapes_world, "instances", split)
    for record, _ in _panoptic(shapes_world, split):
        things = [s for s in record["segments_info"] if s["category_id"] in THINGS]
        instances = coco.imgToAnns[record["image_id"]]
        keys = ("category_id", "area", "iscrowd")
        assert [[s[k] for k in keys] for s in things] == [[a[k] for k in keys] for a in instances]


def test_visible_key_points_lie_on_the_figure(shapes_world: Path, split: str):
    coco = _coco(shapes_world, "keypoints", split)
    assert coco.anns
    for annotation in coco.anns.values():
        mask = coco.annToMask(annotation)
        points = np.array(annotation["keypoints"]).reshape(17, 3)
        x, y = np.floor(points[points[:, 2] == 2, :2]).astype(int).T
        assert mask[y, x].all()
        assert annotation["num_keypoints"] == (points[:, 2] > 0).sum()
        assert (points[points[:, 2] == 0] == 0).all()


def test_every_flag_of_visibility_occurs(shapes_world: Path):
    annotations = _coco(shapes_world, "keypoints", "train").anns.values()
    assert {flag for a in annotations for flag in a["keypoints"][2::3]} == {0, 1, 2}


def test_key_point_category_is_coco_s(shapes_world: Path):
    (category,) = _coco(shapes_world, "keypoints", "val").cats.values()
    assert category["id"] == FIGURE
    assert category["keypoints"] == list(KEYPOINTS)
    assert len(category["keypoints"]) == 17
    assert sorted(map(tuple, category["skeleton"])) == sorted(SKELETON)


def test_a_figure_facing_the_viewer_has_its_left_on_the_right():
    points = joints(Pose(), foot=(50, 100), height=80, faces_viewer=True)
    left = [i for i, name in enumerate(KEYPOINTS) if name.startswith("left")]
    right = [i for i, name in enumerate(KEYPOINTS) if name.startswith("right")]
    assert (points[left, 0] > 50).all()
    np.testing.assert_allclose(points[left, 0] - 50, 50 - points[right, 0])
    back = joints(Pose(), foot=(50, 100), height=80, faces_viewer=False)
    assert (back[left, 0] < 50).all()


def test_limbs_keep_their_length_in_every_pose():
    bones = [(5, 7), (7, 9), (11, 13), (13, 15), (6, 8), (8, 10), (12, 14), (14, 16)]
    poses = [Pose(), Pose(shoulders=(2, 1), elbows=(0.5, -1), hips=(0.9, 0), knees=(-1.5, 0.2), lean=0.3)]
    lengths = []
    for pose in poses:
        points = joints(pose, foot=(0, 0), height=80, faces_viewer=True)
        lengths.append([np.hypot(*(points[a] - points[b])) for a, b in bones])
        assert points[15:, 1].max() == pytest.approx(0)
    np.testing.assert_allclose(lengths[0], lengths[1])


@pytest.mark.parametrize("density", [0.1, 0.5, 0.9])
def test_outlines_and_run_lengths_decode_to_the_very_mask(density: float):
    rng = np.random.default_rng(0)
    for _ in range(40):
        coarse = rng.random((6, 7)) < density
        mask = coarse.repeat(3, axis=0).repeat(2, axis=1)
        counts = rle.frPyObjects({"size": list(mask.shape), "counts": run_lengths(mask)}, *mask.shape)
        assert np.array_equal(rle.decode(counts), mask)
        polygons = polygons_of(mask)
        if polygons:
            merged = rle.merge(rle.frPyObjects(polygons, *mask.shape))
            assert np.array_equal(rle.decode(merged), mask)


def test_a_mask_with_a_hole_has_no_outline():
    mask = np.ones((9, 9), dtype=bool)
    mask[4, 4] = False
    assert polygons_of(mask) is None


def test_splits_differ(shapes_world: Path):
    train, val = (shapes_world / "images" / split / "000001.jpg" for split in SPLITS)
    assert train.read_bytes() != val.read_bytes()


def test_same_parameters_make_the_same_bytes(shapes_world: Path, tmp_path: Path):
    make_shapes(tmp_path / "again", train=24, val=8, size=160, clips=8)
    first, second = _files(shapes_world), _files(tmp_path / "again")
    assert first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name]] == []


def test_another_seed_makes_other_pictures(shapes_world: Path, tmp_path: Path):
    make_shapes(tmp_path / "other", train=1, val=0, size=160, seed=1)
    name = "images/train/000001.jpg"
    assert (tmp_path / "other" / name).read_bytes() != (shapes_world / name).read_bytes()


def test_a_larger_set_begins_with_the_smaller(shapes_world: Path, tmp_path: Path):
    make_shapes(tmp_path / "small", train=3, val=0, size=160, clips=2)
    small, large = _files(tmp_path / "small"), _files(shapes_world)
    pixels = [name for name in small if name.endswith((".jpg", ".png", ".mp4"))]
    assert len(pixels) == 3 * 3 + 2
    assert all(small[name] == large[name] for name in pixels)
    few = _coco(tmp_path / "small", "instances", "train").anns
    many = _coco(shapes_world, "instances", "train").anns
    assert few == {i: a for i, a in many.items() if a["image_id"] <= 3}


def test_a_folder_made_with_the_same_parameters_is_kept(tmp_path: Path):
    make_shapes(tmp_path, train=1, val=1, size=64)
    image = tmp_path / "images/train/000001.jpg"
    os.utime(image, (1, 1))
    make_shapes(tmp_path, train=1, val=1, size=64)
    assert image.stat().st_mtime == 1


def test_a_folder_made_with_other_parameters_is_made_anew(tmp_path: Path):
    make_shapes(tmp_path, train=2, val=1, size=64)
    (tmp_path / "notes.txt").write_text("mine")
    make_shapes(tmp_path, train=1, val=1, size=64)
    assert len(list((tmp_path / "images/train").iterdir())) == 1
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_an_interrupted_run_is_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with monkeypatch.context() as patch:
        patch.setattr(cv2, "imencode", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            make_shapes(tmp_path, train=1, val=0, size=64)
    make_shapes(tmp_path, train=1, val=0, size=64)
    assert _coco(tmp_path, "instances", "train").imgs


def test_a_folder_with_other_files_is_refused(tmp_path: Path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(SetupError, match=r"found other files; name another folder"):
        make_shapes(tmp_path, train=1, val=1)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SetupError, match="can't write the shapes world"):
        make_shapes(tmp_path / "file" / "world", train=1, val=1)


@pytest.mark.parametrize("wrong", [{"train": -1}, {"clips": -2}, {"size": 32}])
def test_wrong_counts_are_refused(tmp_path: Path, wrong: dict[str, int]):
    with pytest.raises(ValueError, match=rf"{next(iter(wrong))} must be at least \d+.*, got -?\d+"):
        make_shapes(tmp_path / "world", **wrong)
    assert not (tmp_path / "world").exists()


def test_categories_are_the_same_in_all_files(shapes_world: Path):
    for kind in ("instances", "keypoints", "panoptic"):
        content = json.loads((shapes_world / "annotations" / f"{kind}_val.json").read_text())
        assert all(CATEGORIES[c["id"]] == c["name"] for c in content["categories"])


def test_clips_have_the_frames_and_labels_of_their_list(shapes_world: Path, split: str):
    with (shapes_world / "clips" / f"{split}.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == {"train": 8, "val": 2}[split]
    for row in rows:
        reader = cv2.VideoCapture(str(shapes_world / "clips" / row["path"]))
        frames = []
        while (read := reader.read())[0]:
            frames.append(read[1])
        assert len(frames) == int(row["frames"])
        assert {frame.shape for frame in frames} == {(112, 112, 3)}
        assert ACTIONS[int(row["label"])] == row["name"]
