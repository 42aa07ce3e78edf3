"""The LVIS reader on files written here."""

from __future__ import annotations

import json

import pytest

from omma.errors import DataError
from omma_detection.datasets import LvisDetection

from .test_datasets import annotation, picture

CATEGORIES = [
    {"id": 5, "name": "cup", "frequency": "f"},
    {"id": 2, "name": "newt", "frequency": "r"},
    {"id": 9, "name": "sled", "frequency": "c"},
]


def image(id=1, absent=(), partial=(), **other):
    return {
        "id": id,
        "coco_url": f"http://images.cocodataset.org/val2017/{id}.jpg",
        "height": 10,
        "width": 20,
        "neg_category_ids": list(absent),
        "not_exhaustive_category_ids": list(partial),
        **other,
    }


@pytest.fixture
def lvis(tmp_path):
    def make(annotations=(), images=None, categories=CATEGORIES, **options):
        images = [image()] if images is None else images
        content = {"images": images, "annotations": list(annotations), "categories": categories}
        (tmp_path / "x.json").write_text(json.dumps(content))
        for each in images:
            picture(tmp_path / "val2017" / f"{each['id']}.jpg")
        return LvisDetection(root=str(tmp_path), annotations="x.json", images=".", **options)

    return make


def test_each_image_knows_what_was_looked_for(lvis):
    images = [image(1, absent=[9, 2], partial=[5]), image(2), image(3, absent=[5])]
    dataset = lvis([annotation(category_id=5)], images)
    assert dataset.info.classes == ("newt", "cup", "sled")
    assert [dataset.target(i)["absent"].tolist() for i in range(3)] == [[2, 0], [], [1]]
    assert [dataset.target(i)["partial"].tolist() for i in range(3)] == [[1], [], []]


def test_images_left_out_take_their_lists_with_them(lvis):
    images = [image(1, absent=[2]), image(2, absent=[9]), image(3, absent=[2])]
    dataset = lvis([annotation(image_id=2, category_id=5)], images, drop_empty=True)
    assert len(dataset) == 1
    assert dataset.target(0)["absent"].tolist() == [2]


def test_classes_that_are_not_asked_for_are_left_out_of_the_lists(lvis):
    dataset = lvis(images=[image(1, absent=[2, 9])], classes=("sled", "cup"))
    assert dataset.target(0)["absent"].tolist() == [0]
    assert dataset.info.groups == {"r": (), "c": (0,), "f": (1,)}


def test_groups_are_those_of_the_frequencies(lvis):
    assert lvis().info.groups == {"r": (0,), "c": (2,), "f": (1,)}


def test_images_are_found_by_their_url(lvis):
    assert lvis()[0]["image"].shape == (3, 10, 20)


@pytest.mark.parametrize(
    ("images", "categories", "message"),
    [
        (
            [{"id": 1, "file_name": "a.jpg", "height": 10, "width": 20}],
            CATEGORIES,
            r"images\[0\].*neg_category",
        ),
        ([image(absent=["x", 2.5])], CATEGORIES, r"images\[0\].*id"),
        ([image(absent=[77])], CATEGORIES, "77"),
        ([image()], [{"id": 5, "name": "cup"}], r"categories\[0\].*frequency"),
        ([image()], [{"id": 5, "name": "cup", "frequency": ["r"]}], r"categories\[0\].*frequency"),
    ],
)
def test_a_file_that_is_no_lvis_file_is_told_of_with_the_place(lvis, images, categories, message):
    with pytest.raises(DataError, match=message):
        lvis(images=images, categories=categories)
