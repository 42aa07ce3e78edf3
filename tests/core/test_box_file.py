"""Boxes from files: which image an entry means, and what a file must look like."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from omma.errors import DataError
from omma.inference import BoxFile, Frame

IMAGE = np.zeros((60, 80, 3), np.uint8)


def coco(folder: Path, names: list[str]) -> Path:
    annotations = [
        {"id": 1, "image_id": 0, "category_id": 7, "bbox": [10, 20, 30, 15]},
        {"id": 2, "image_id": 0, "category_id": 3, "bbox": [1, 2, 3, 4]},
        {"id": 3, "image_id": 0, "category_id": 3, "bbox": [0, 0, 60, 60], "iscrowd": 1},
    ]
    images = [{"id": i, "file_name": name, "height": 60, "width": 80} for i, name in enumerate(names)]
    categories = [{"id": 3, "name": "cat"}, {"id": 7, "name": "dog"}]
    return written(folder, {"images": images, "annotations": annotations, "categories": categories})


def predicted(folder: Path, images: Any, classes: Any = ("cat", "dog")) -> Path:
    sized = [{"width": 80, "height": 60, **each} if isinstance(each, dict) else each for each in images]
    return written(folder, {"config": "x", "classes": list(classes), "images": sized})


def written(folder: Path, content: Any) -> Path:
    path = folder / "boxes.json"
    path.write_text(json.dumps(content))
    return path


def one(box: Any = (1, 2, 3, 4), score: Any = 0.5, label: Any = 1) -> dict[str, Any]:
    return {"box": box, "score": score, "label": label, "name": "dog"}


def test_annotated_objects_are_found_for_sure_and_crowds_are_not(tmp_path: Path):
    file = BoxFile(coco(tmp_path, ["a.jpg", "b.jpg"]), score_threshold=1.0)
    first, second = (file.find(Frame(IMAGE, name)) for name in ("photos/a.jpg", "photos/b.jpg"))
    assert file.info.classes == ("cat", "dog")
    assert first["boxes"].tolist() == [[10, 20, 40, 35], [1, 2, 4, 6]]
    assert first["labels"].tolist() == [1, 0]
    assert first["scores"].tolist() == [1, 1]
    assert len(second["scores"]) == 0


def test_frames_of_a_video_have_boxes_each(tmp_path: Path):
    frames = [{"path": "v.mp4", "frame": i, "prediction": [one(score=0.1 * i)]} for i in range(3)]
    file = BoxFile(predicted(tmp_path, frames))
    assert file.find(Frame(IMAGE, "v.mp4", 2))["scores"].tolist() == pytest.approx([0.2])
    with pytest.raises(DataError, match=r"says nothing of frame 3 of v\.mp4"):
        file.find(Frame(IMAGE, "v.mp4", 3))


def test_of_entries_with_the_same_name_the_one_in_the_same_folder_counts(tmp_path: Path):
    images = [
        {"path": f"/x/{f}/a.jpg", "prediction": [one(score=s)]} for f, s in (("day", 0.1), ("night", 0.2))
    ]
    file = BoxFile(predicted(tmp_path, images))
    assert file.find(Frame(IMAGE, "/y/night/a.jpg"))["scores"].tolist() == pytest.approx([0.2])
    with pytest.raises(
        DataError, match=r"several entries may mean /y/a\.jpg: /x/day/a\.jpg, /x/night/a\.jpg"
    ):
        file.find(Frame(IMAGE, "/y/a.jpg"))


def test_an_image_that_the_file_does_not_know_is_an_error(tmp_path: Path):
    with pytest.raises(DataError, match=r"says nothing of c\.jpg; it knows of 2 files, such as a\.jpg"):
        BoxFile(coco(tmp_path, ["a.jpg", "b.jpg"])).find(Frame(IMAGE, "c.jpg"))


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ([{"path": "a.jpg", "prediction": {"classes": []}}], "was it a detector"),
        (
            [{"path": "a.jpg", "prediction": [one(box=[1, 2, 3])]}],
            r"images\[0\]: expected objects with 'box'",
        ),
        ([{"path": "a.jpg", "prediction": [one(box=[1, 2, 3, float("nan")])]}], "expected objects"),
        ([{"path": "a.jpg", "prediction": [one(score=None)]}], "expected objects"),
        ([{"path": "a.jpg", "prediction": [one(label=2)]}], "expected objects"),
        ([{"path": "a.jpg", "prediction": [one(label=True)]}], "expected objects"),
        ([{"prediction": []}], "expected the 'path', 'width' and 'height'"),
        ([{"path": "a.jpg", "frame": [1], "prediction": []}], "expected the 'path'"),
        ([{"path": "a.jpg", "width": None, "prediction": []}], "expected the 'path'"),
        (["a.jpg"], "expected the 'path'"),
    ],
)
def test_predictions_of_another_form_are_told(tmp_path: Path, images: Any, message: str):
    with pytest.raises(DataError, match=message):
        BoxFile(predicted(tmp_path, images))


def test_an_image_of_another_size_than_the_boxes_were_found_in_is_an_error(tmp_path: Path):
    with pytest.raises(DataError, match=r"in a\.jpg are those of 80 x 60 pixels, but there are 60 x 80"):
        BoxFile(coco(tmp_path, ["a.jpg"])).find(Frame(IMAGE.swapaxes(0, 1), "a.jpg"))


def test_files_of_another_form_are_told(tmp_path: Path):
    with pytest.raises(DataError, match=r"expected the predictions\.json of a detector.*its keys are info"):
        BoxFile(written(tmp_path, {"info": 1}))
    with pytest.raises(DataError, match="expected names in 'classes'"):
        BoxFile(predicted(tmp_path, [], classes=[1]))
    with pytest.raises(DataError, match="found a list"):
        BoxFile(written(tmp_path, [one()]))
