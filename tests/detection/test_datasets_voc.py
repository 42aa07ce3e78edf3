from __future__ import annotations

import cv2
import numpy as np
import pytest

from omma.errors import DataError
from omma_detection.datasets import VocDetection


def box(name="cat", corners=(1, 2, 5, 6), difficult=0):
    sides = "".join(f"<{side}>{v}</{side}>" for side, v in zip(("xmin", "ymin", "xmax", "ymax"), corners))
    return f"<object><name>{name}</name><difficult>{difficult}</difficult><bndbox>{sides}</bndbox></object>"


def xml(*objects, size="<size><width>20</width><height>10</height><depth>3</depth></size>"):
    return f"<annotation>\n{size}\n" + "\n".join(objects) + "\n</annotation>"


@pytest.fixture
def voc(tmp_path):
    """Writes one image's annotation and reads the folder."""

    def make(text, listed="a\n", **options):
        for folder in ("Annotations", "JPEGImages", "ImageSets/Main"):
            (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / "Annotations/a.xml").write_text(text)
        (tmp_path / "ImageSets/Main/train.txt").write_text(listed)
        cv2.imwrite(str(tmp_path / "JPEGImages/a.png"), np.zeros((10, 20, 3), np.uint8))
        return VocDetection(root=str(tmp_path), split="train", **options)

    return make


def test_a_box_covers_its_first_and_last_pixel(voc):
    # Pixels 1 to 5 across and 2 to 6 down, counted from 1.
    assert voc(xml(box())).target(0)["boxes"].tolist() == [[0, 1, 5, 6]]


def test_difficult_objects_are_ignored(voc):
    dataset = voc(xml(box(), box(corners=(3, 3, 9, 9), difficult=1)))
    assert len(dataset[0]["boxes"]) == 1
    assert dataset[0]["ignored_boxes"].tolist() == [[2, 2, 9, 9]]
    assert dataset.target(0)["crowd"].tolist() == [False, True]


def test_a_box_whose_corners_coincide_is_dropped(voc):
    dataset = voc(xml(box(), box(corners=(5, 5, 5, 9)), box(corners=(5, 5, 9, 5))))
    assert len(dataset[0]["boxes"]) == 1
    assert dataset.report.lines()[0].startswith("2 objects dropped")


def test_the_image_is_found_whatever_its_ending(voc):
    assert voc(xml(box()))[0]["meta"].path.endswith("a.png")


def test_class_lists_with_flags_can_be_read(voc):
    assert len(voc(xml(box()), listed="a -1\n")) == 1


def test_other_classes_are_left_out_and_counted(voc):
    dataset = voc(xml(box(), box("dog")), classes=("dog", "bird"))
    assert dataset.class_counts().tolist() == [[1, 0]]
    assert "class not asked for" in dataset.report.lines()[0]


BOMB = '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]>\n<annotation>&b;</annotation>'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BOMB, r"a\.xml:1: a document type declaration is refused"),
        ("<annotation>\n<size></annotation>", r"a\.xml:2:\d+: not valid XML: mismatched tag"),
        ("", "not valid XML"),
        (xml(box(), size=""), "expected a number in <size/height>"),
        (xml(box(), size="<size><width>nan</width><height>3</height></size>"), "in <size/width>"),
        (xml(box(), size="<size><width>2.5</width><height>3</height></size>"), "whole pixels"),
        (xml(box(), "<object></object>"), "object 1: expected a <name>"),
        (xml("<object><name>cat</name></object>"), "object 0: expected a number in <bndbox/xmin>, got None"),
        (xml(box(corners=(1, 2, "x", 4))), "in <bndbox/xmax>, got 'x'"),
        (xml(box(difficult=2)), "expected 0 or 1 in <difficult>"),
    ],
)
def test_a_mistake_in_an_annotation_is_told_with_its_place(voc, text, message):
    with pytest.raises(DataError, match=message):
        voc(text, classes=("cat",))


@pytest.mark.parametrize(
    ("listed", "message"),
    [
        ("", "at least one image"),
        ("../a\n", r"train\.txt:1: the file name '../a' is refused"),
        ("a\na\n", "'a' is listed twice"),
        ("missing\n", r"missing\.xml: can't be read"),
    ],
)
def test_a_mistake_in_a_split_is_told(voc, listed, message):
    with pytest.raises(DataError, match=message):
        voc(xml(box()), listed=listed)


def test_an_unknown_split_names_those_there_are(voc, tmp_path):
    voc(xml(box()))
    with pytest.raises(DataError, match="splits there: train"):
        VocDetection(root=str(tmp_path), split="trian")


def test_classes_that_match_nothing_are_told_with_both_lists(voc):
    with pytest.raises(
        DataError, match=r"(?s)none of the classes.*asked for: Cat.*in the file: cat.*'cat' for 'Cat'"
    ):
        voc(xml(box()), classes=("Cat",))
