"""Readers of CrowdHuman and Objects365 on files written here."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from omma.errors import DataError
from omma_detection.datasets import CrowdHumanDetection, Objects365Detection

from .test_datasets import CATEGORIES, annotation, image, picture

PERSON = {"tag": "person", "fbox": [-2, 1, 8, 6], "vbox": [1, 2, 3, 4], "hbox": [2, 2, 2, 2], "extra": {}}


def people(folder, *boxes, text=None, **options):
    picture(folder / "Images" / "a,1.jpg")
    line = json.dumps({"ID": "a,1", "gtboxes": list(boxes)}) if text is None else text
    (folder / "x.odgt").write_text(line)
    return CrowdHumanDetection(root=str(folder), annotations="x.odgt", images="Images", **options)


@pytest.mark.parametrize(
    ("box", "expected"), [("full", [0, 1, 6, 7]), ("visible", [1, 2, 4, 6]), ("head", [2, 2, 4, 4])]
)
def test_the_box_asked_for_is_read_and_cut_at_the_edge(tmp_path, box, expected):
    assert people(tmp_path, PERSON, box=box).target(0)["boxes"].tolist() == [expected]


def test_masks_and_people_marked_so_are_ignored(tmp_path):
    crowd = {"tag": "mask", "fbox": [0, 0, 5, 5], "extra": {"ignore": 1}}
    dataset = people(tmp_path, PERSON, {**PERSON, "extra": {"ignore": 1}}, crowd)
    assert dataset.target(0)["crowd"].tolist() == [False, True, True]
    assert len(dataset[0]["boxes"]) == 1
    assert dataset.target(0)["id"] == "a,1"


def test_a_head_is_ignored_by_its_own_mark(tmp_path):
    dataset = people(tmp_path, {**PERSON, "head_attr": {"ignore": 1}}, PERSON, box="head")
    assert dataset.target(0)["crowd"].tolist() == [True, False]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r"x\.odgt:1: not valid JSON"),
        ("[]", r"x\.odgt:1: expected an object"),
        ('\n{"ID": "a,1"}', r"x\.odgt:2: expected an object"),
        ('{"ID": "../a", "gtboxes": []}', r"x\.odgt:1: the file name"),
        ('{"ID": "a,1", "gtboxes": [3]}', r"gtboxes\[0\]: expected the tag"),
        ('{"ID": "a,1", "gtboxes": [{"tag": "person"}]}', r"gtboxes\[0\]: expected 'fbox'"),
        ('{"ID": "a,1", "gtboxes": []}\n{"ID": "a,1", "gtboxes": []}', r"x\.odgt:2: the image 'a,1'"),
        ("", "at least one image"),
    ],
)
def test_a_wrong_line_is_told_of_with_its_number(tmp_path, text, message):
    with pytest.raises(DataError, match=message):
        people(tmp_path, text=text)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.sampled_from(list(PERSON)), inner),
    max_leaves=8,
)


@given(box=json_values | st.fixed_dictionaries({"tag": st.just("person"), "fbox": st.lists(json_values)}))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_a_line_holds_is_read_or_refused(tmp_path, box):
    told = ""
    try:
        people(tmp_path, box)
    except DataError as error:
        told = str(error)
    assert "x.odgt:1" in told or not told


@pytest.mark.parametrize("name", ["images/v1/patch8/a.jpg", "patch8/a.jpg"])
def test_images_of_objects365_lie_in_their_last_folder(tmp_path, name):
    picture(tmp_path / "train" / "patch8" / "a.jpg")
    content = {"images": [image(name=name)], "annotations": [annotation()], "categories": CATEGORIES}
    (tmp_path / "x.json").write_text(json.dumps(content))
    dataset = Objects365Detection(root=str(tmp_path), annotations="x.json", images="train")
    assert dataset[0]["boxes"].tolist() == [[1, 2, 4, 6]]
