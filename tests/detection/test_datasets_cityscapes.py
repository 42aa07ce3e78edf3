"""Cityscapes' polygons against the whole picture of numbers that its authors' tools would draw."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image, ImageDraw
from pycocotools import mask as coco_mask

from omma.errors import DataError
from omma_detection.datasets import CityscapesDetection

from .test_datasets import picture

HEIGHT, WIDTH = 40, 60


def thing(label, *points):
    return {"label": label, "polygon": [list(point) for point in points]}


def square(label, x1, y1, x2, y2):
    return thing(label, (x1, y1), (x2, y1), (x2, y2), (x1, y2))


def city(folder, *objects, text=None, **options):
    name = "aachen/aachen_000000_000019"
    path = folder / "gtFine" / "train" / f"{name}_gtFine_polygons.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"imgHeight": HEIGHT, "imgWidth": WIDTH, "objects": list(objects)}
    path.write_text(json.dumps(content) if text is None else text)
    picture(folder / "leftImg8bit" / "train" / f"{name}_leftImg8bit.png", HEIGHT, WIDTH)
    return CityscapesDetection(root=str(folder), split="train", **options)


def drawn(objects):
    """(H, W) number of the object that each pixel shows, from 1 on."""
    image = Image.new("I", (WIDTH, HEIGHT))
    for number, each in enumerate(objects, 1):
        if each["label"] != "license plate":
            ImageDraw.Draw(image).polygon([tuple(p) for p in each["polygon"]], fill=number)
    return np.array(image)


def test_masks_boxes_and_areas_are_of_what_is_seen(tmp_path):
    rng = np.random.default_rng(0)
    names = ["car", "road", "person", "license plate", "cargroup", "bus", "vegetation"]
    corners = rng.integers(-10, 65, (40, 2))
    objects = [
        thing(names[rng.integers(len(names))], *(c + rng.integers(0, 18, (5, 2))).tolist()) for c in corners
    ]
    dataset = city(tmp_path, *objects, masks=True)
    target, numbers = dataset.target(0), drawn(objects)
    wanted = [
        (number, each["label"])
        for number, each in enumerate(objects, 1)
        if each["label"] in ("car", "person", "cargroup", "bus") and (numbers == number).any()
    ]
    assert len(wanted) > 5
    assert len(target["boxes"]) == len(wanted)
    for row, (number, label) in enumerate(wanted):
        seen = numbers == number
        y, x = np.nonzero(seen)
        found = coco_mask.decode(target["segmentations"][row])
        np.testing.assert_array_equal(found, seen)
        assert target["boxes"][row].tolist() == [x.min(), y.min(), x.max() + 1, y.max() + 1]
        assert target["area"][row] == seen.sum()
        assert dataset.info.classes[target["labels"][row]] == label.removesuffix("group")
        assert bool(target["crowd"][row]) is label.endswith("group")


def test_a_mask_that_reaches_the_last_pixel_is_whole(tmp_path):
    dataset = city(tmp_path, square("car", 50, 30, 70, 70), masks=True)
    mask = coco_mask.decode(dataset.target(0)["segmentations"][0])
    assert mask.sum() == mask[30:, 50:].sum() == 100
    assert dataset[0]["masks"].shape == (1, HEIGHT, WIDTH)


def test_what_is_wholly_hidden_is_left_out(tmp_path):
    dataset = city(
        tmp_path, square("car", 5, 5, 9, 9), square("pole", 0, 0, 20, 20), square("rider", 30, 0, 40, 9)
    )
    assert dataset.target(0)["labels"].tolist() == [dataset.info.classes.index("rider")]
    assert dataset.report.lines()[0].startswith("1 objects left out: nothing is seen")


def test_classes_may_be_chosen_and_the_image_is_found(tmp_path):
    dataset = city(tmp_path, square("car", 5, 5, 9, 9), square("bus", 20, 5, 29, 9), classes=("bus",))
    assert dataset[0]["boxes"].tolist() == [[20, 5, 30, 10]]
    assert dataset.target(0)["id"] == "aachen_000000_000019"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{\n"imgHeight": }', r"polygons\.json:2:14: not valid JSON"),
        ("[]", r"polygons\.json: expected an object"),
        ('{"imgHeight": 4.5, "imgWidth": 3, "objects": []}', r"imgHeight: expected a whole number"),
        (
            '{"imgHeight": 4, "imgWidth": 3, "objects": [{"label": "car"}]}',
            r"objects\[0\]: expected an object",
        ),
        (
            '{"imgHeight": 4, "imgWidth": 3, "objects": [{"label": "car", "polygon": [[1, 2], [3, 1e9]]}]}',
            r"objects\[0\]: expected \[x, y\]",
        ),
    ],
)
def test_a_wrong_file_is_told_of_with_the_place(tmp_path, text, message):
    with pytest.raises(DataError, match=message):
        city(tmp_path, text=text)


def test_a_split_without_files_is_refused(tmp_path):
    with pytest.raises(DataError, match="at least one image"):
        CityscapesDetection(root=str(tmp_path), split="val")
