"""Readers of CrowdHuman, WIDER FACE and Objects365 on files written here."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from omma.errors import DataError
from omma_detection.datasets import CrowdHumanDetection, Objects365Detection, WiderFaceDetection

from .test_datasets import CATEGORIES, annotation, image, picture

PERSON = {"tag": "person", "fbox": [-2, 1, 8, 6], "vbox": [1, 2, 3, 4], "hbox": [2, 2, 2, 2], "extra": {}}


def people(folder, *boxes, text=None, **options):
    if not (folder / "Images").exists():
        picture(folder / "Images" / "a,1.jpg")
    line = json.dumps({"ID": "a,1", "gtboxes": list(boxes)}) if text is None else text
    (folder / "x.odgt").write_text(line)
    return CrowdHumanDetection(root=str(folder), annotations="x.odgt", images="Images", **options)


@pytest.mark.parametrize(
    ("box", "expected"), [("full", [-2, 1, 6, 7]), ("visible", [1, 2, 4, 6]), ("head", [2, 2, 4, 4])]
)
def test_the_box_asked_for_is_read(tmp_path, box, expected):
    dataset = people(tmp_path, PERSON, box=box)
    assert dataset.target(0)["boxes"].tolist() == dataset[0]["boxes"].tolist() == [expected]


def test_boxes_are_cut_at_the_edge_if_asked(tmp_path):
    assert people(tmp_path, PERSON, cut=True).target(0)["boxes"].tolist() == [[0, 1, 6, 7]]


def test_a_box_outside_its_image_is_dropped_uncut_or_not(tmp_path):
    dataset = people(tmp_path, PERSON, {**PERSON, "fbox": [-9, 0, 5, 5]})
    assert len(dataset.target(0)["boxes"]) == 1
    assert dataset.report.lines()[0].startswith("1 objects dropped: a box outside its image")


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
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
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


FACE = "3 1 6 4 0 0 0 0 0 0"


def faces(folder, text, **options):
    for name in ("0--Parade/a.jpg", "1--Handshaking/b.jpg"):
        if not (folder / "images" / name).exists():
            picture(folder / "images" / name)
    (folder / "gt.txt").write_text(text)
    return WiderFaceDetection(root=str(folder), annotations="gt.txt", images="images", **options)


def test_faces_are_read_image_by_image(tmp_path):
    text = f"0--Parade/a.jpg\n2\n{FACE} \n1 2 3 4 2 0 0 1 0 0 \n1--Handshaking/b.jpg\n1\n{FACE}\n"
    dataset = faces(tmp_path, text)
    assert [dataset.target(i)["boxes"].tolist() for i in (0, 1)] == [
        [[3, 1, 9, 5], [1, 2, 4, 6]],
        [[3, 1, 9, 5]],
    ]
    assert dataset.target(1)["id"] == "1--Handshaking/b"
    assert dataset[1]["image"].shape == (3, 10, 20)


def test_invalid_and_too_small_faces_are_ignored(tmp_path):
    text = f"0--Parade/a.jpg\n3\n{FACE}\n1 2 3 4 2 0 0 1 0 0\n1 2 9 3 2 0 0 0 0 0\n"
    assert faces(tmp_path, text).target(0)["crowd"].tolist() == [False, True, False]
    assert faces(tmp_path, text, smallest=4).target(0)["crowd"].tolist() == [False, True, True]


@pytest.mark.parametrize("zeros", ["0 0 0 0 0 0 0 0 0 0 \n", ""])
def test_an_image_without_faces_has_a_line_of_zeros_or_none(tmp_path, zeros):
    dataset = faces(tmp_path, f"0--Parade/a.jpg\n0\n{zeros}1--Handshaking/b.jpg\n1\n{FACE}\n")
    assert [len(dataset.target(i)["boxes"]) for i in (0, 1)] == [0, 1]


def test_images_that_cannot_be_read_are_left_out_with_their_faces_if_asked(tmp_path):
    text = f"missing.jpg\n1\n{FACE}\n0--Parade/a.jpg\n1\n{FACE}\n"
    with pytest.raises(DataError, match=r"missing\.jpg"):
        faces(tmp_path, text)
    dataset = faces(tmp_path, text, on_error="skip")
    assert [dataset.target(i)["id"] for i in range(len(dataset))] == ["0--Parade/a"]
    assert dataset.target(0)["boxes"].tolist() == [[3, 1, 9, 5]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0--Parade/a.jpg\n", r"gt\.txt:2: expected the number of faces"),
        ("0--Parade/a.jpg\nx\n", r"gt\.txt:2: expected the number of faces"),
        (f"0--Parade/a.jpg\n2\n{FACE}\n", r"gt\.txt:2: expected 2 faces"),
        ("0--Parade/a.jpg\n1\n1 2 3 4\n", r"gt\.txt:3: expected 10 whole numbers"),
        ("0--Parade/a.jpg\n1\n1 2 3 4 0 0 0 0 0 x\n", r"gt\.txt:3: expected 10 whole numbers"),
        ("../a.jpg\n0\n", r"gt\.txt:1: the file name"),
        ("0--Parade/a.jpg\n0\n0--Parade/a.jpg\n0\n", r"gt\.txt:3: the image"),
        ("", "at least one image"),
    ],
)
def test_a_wrong_line_of_faces_is_told_of_with_its_number(tmp_path, text, message):
    with pytest.raises(DataError, match=message):
        faces(tmp_path, text)


words = st.sampled_from(["0--Parade/a.jpg", "1", "2", FACE, "0 0 0 0 0 0 0 0 0 0", "1--Handshaking/b.jpg"])


@given(lines=st.lists(words | st.text(max_size=4), max_size=6))
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_the_lines_of_faces_hold_is_read_or_refused(tmp_path, lines):
    told = ""
    try:
        faces(tmp_path, "\n".join(lines), on_error="skip")
    except DataError as error:
        told = str(error)
    assert "gt.txt" in told or not told
