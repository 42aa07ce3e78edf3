"""Annotation files of strangers: the readers answer with a data set or a DataError, whatever stands there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from omma.data.columns import _length
from omma.errors import DataError
from omma_detection.datasets import CocoDetection, VocDetection, YoloDetection
from omma_detection.metrics.rle import coco_mask

bounded = settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**30), 10**30),
    st.floats(),
    st.text(st.characters(), max_size=6),
    st.sampled_from(["../a", "/etc/passwd", "C:\\a", "a\0", "\ud800", ""]),
)
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=8,
)
IMAGE = {"id": 1, "file_name": "a.png", "height": 10, "width": 20}
OBJECT = {
    "id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "area": 12, "iscrowd": 0,
    "segmentation": [[1, 2, 4, 2, 4, 6]],
}  # fmt: skip
CATEGORY = {"id": 1, "name": "cat"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("untrusted")
    for sub in ("JPEGImages", "Annotations", "ImageSets/Main", "images/train", "labels/train"):
        (root / sub).mkdir(parents=True)
    for sub in (".", "JPEGImages", "images/train"):
        cv2.imwrite(str(root / sub / "a.png"), np.zeros((10, 20, 3), np.uint8))
    (root / "ImageSets/Main/train.txt").write_text("a\n")
    (root / "classes.txt").write_text("cat\n")
    return root


def use(make: Any) -> None:
    """Make the data set and read all of it."""
    try:
        dataset = make()
        for index in range(len(dataset)):
            dataset[index], dataset.target(index)
    except DataError as error:
        str(error).encode()


def changed(record: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    """``record`` with one value replaced by anything."""
    return st.sampled_from(sorted(record)).flatmap(
        lambda key: ANYTHING.map(lambda value: record | {key: value})
    )


def coco(folder: Path, text: str | bytes, *, masks: bool = True) -> None:
    (folder / "x.json").write_bytes(
        text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
    )
    use(lambda: CocoDetection(root=str(folder), annotations="x.json", images=".", masks=masks))


@bounded
@given(
    image=changed(IMAGE) | st.just(IMAGE), thing=changed(OBJECT) | st.just(OBJECT), category=changed(CATEGORY)
)
def test_coco_records_with_a_value_of_any_kind(image, thing, category, folder):
    coco(folder, json.dumps({"images": [image], "annotations": [thing], "categories": [CATEGORY, category]}))


@bounded
@given(noise=st.binary(max_size=40), at=st.integers(0, 200))
def test_coco_files_with_bytes_changed(noise, at, folder):
    whole = json.dumps({"images": [IMAGE], "annotations": [OBJECT], "categories": [CATEGORY]}).encode()
    coco(folder, whole[:at] + noise + whole[at + len(noise) :])


@bounded
@given(text=st.text(st.characters(min_codepoint=40, max_codepoint=120), max_size=12))
def test_compressed_run_lengths_of_any_text(text, folder):
    thing = OBJECT | {"segmentation": {"size": [10, 20], "counts": text}}
    coco(folder, json.dumps({"images": [IMAGE], "annotations": [thing], "categories": [CATEGORY]}))


@bounded
@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 40))
def test_the_length_of_run_lengths_is_that_of_their_mask(seed, height, width):
    mask = np.random.default_rng(seed).random((height, width)) < 0.3
    code = coco_mask().encode(np.asfortranarray(mask.astype(np.uint8)))["counts"]
    assert _length(code) == height * width


@pytest.mark.parametrize(
    "text",
    [
        '{"images": ' + "[" * 100_000,
        '{"images": [], "annotations": [' + '{"a":' * 100_000,
        '{"images": [{"id": ' + "9" * 5000 + "}]}",
        '{"images": [{"id": 1, "file_name": "\\ud800", "height": 1, "width": 1}]}',
        '{"images": [{"id": 1, "file_name": "a", "height": 60000, "width": 60000}]}',
        '{"images": [{"id": "\\udfff", "file_name": "a", "height": 6, "width": 6}]}',
    ],
    ids=["deep lists", "deep objects", "digits", "half a character", "pixels", "half an id"],
)
def test_coco_files_that_blow_up_are_refused(text, folder):
    (folder / "x.json").write_text(text)
    with pytest.raises(DataError, match=r"x\.json|the image a"):
        CocoDetection(root=str(folder), annotations="x.json", images=".")


def test_an_outline_far_off_is_dropped_before_it_is_drawn(folder):
    thing = OBJECT | {"segmentation": [[1e8, 1, 2e9, 3, 5, 6]]}
    content = {"images": [IMAGE], "annotations": [thing], "categories": [CATEGORY]}
    (folder / "x.json").write_text(json.dumps(content))
    dataset = CocoDetection(root=str(folder), annotations="x.json", images=".", masks=True)
    assert len(dataset[0]["boxes"]) == 0


VOC = (
    "<annotation><size><width>{width}</width><height>10</height></size><object><name>{name}</name>"
    "<bndbox><xmin>{xmin}</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox></object></annotation>"
)


@bounded
@given(
    values=st.tuples(*[SCALARS.map(str).map(lambda text: text.encode("utf-8", "replace").decode())] * 3),
    noise=st.binary(max_size=8),
    at=st.integers(0, 250),
)
def test_voc_files_of_any_values_and_bytes(values, noise, at, folder):
    text = VOC.format(width=values[0], name=values[1], xmin=values[2]).encode()
    (folder / "Annotations/a.xml").write_bytes(text[:at] + noise + text[at + len(noise) :] if noise else text)
    use(lambda: VocDetection(root=str(folder), split="train"))


@pytest.mark.parametrize(
    "data",
    [
        b'<?xml version="1.0" encoding="utf-99"?><a/>',
        b'<?xml version="1.0" encoding="utf-7"?><a/>',
        b"<a>" * 100_000,
        VOC.format(width="1e20", name="c", xmin=1).encode(),
        b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>',
    ],
    ids=["encoding", "wide encoding", "deep", "width", "entity"],
)
def test_voc_files_that_blow_up_are_refused(data, folder):
    (folder / "Annotations/a.xml").write_bytes(data)
    with pytest.raises(DataError):
        VocDetection(root=str(folder), split="train")


@bounded
@given(
    line=st.lists(st.one_of(st.integers(), st.floats(), st.text(max_size=3)), max_size=9).map(
        lambda w: " ".join(map(str, w))
    )
)
def test_yolo_lines_of_any_words(line, folder):
    (folder / "labels/train/a.txt").write_bytes(line.encode("utf-8", "replace"))
    use(lambda: YoloDetection(root=str(folder), masks=True))


_BOMB = "a: &a [x, x, x]\n" + "".join(
    f"{b}: &{b} [*{a}, *{a}, *{a}]\n" for a, b in zip("abcdefgh", "bcdefghi")
)


@pytest.mark.parametrize(
    "text",
    [
        _BOMB + "names: *i",
        "names: " + "[" * 20_000,
        "names: [0x" + "f" * 20_000 + "]",
        "names: [[a], [b]]",
        "names: {[a]: 1}",
    ],
    ids=["expansion", "deep", "digits", "nested", "key"],
)
def test_names_that_blow_up_are_refused(text, folder, tmp_path):
    (tmp_path / "data.yaml").write_text(text)
    with pytest.raises(DataError, match=r"data\.yaml"):
        YoloDetection(root=str(tmp_path))
