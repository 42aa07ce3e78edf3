"""The reader of Open Images' CSV files on files written here."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from omma.errors import DataError
from omma_detection.datasets import OpenImagesDetection

from .test_datasets import picture

HEADER = "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf"
CLASSES = "/m/d,Dog\n/m/a,Animal\n/m/w,Wheel\n/m/c,Cat\n"
TREE = {
    "LabelName": "/m/0",
    "Subcategory": [
        {"LabelName": "/m/a", "Subcategory": [{"LabelName": "/m/d"}, {"LabelName": "/m/c"}]},
        {"LabelName": "/m/car", "Part": [{"LabelName": "/m/w"}]},
    ],
}


def row(id="a", label="/m/d", box="0.1,0.5,0.2,0.6", group=0):
    return f"{id},xclick,{label},1,{box},0,0,{group}"


def pets(folder, *rows, header=HEADER, labels=None, names=CLASSES, tree=TREE, **options):
    for name in "ab":
        if not (folder / "images" / f"{name}.jpg").exists():
            picture(folder / "images" / f"{name}.jpg")
    (folder / "boxes.csv").write_text("\n".join([header, *rows]) + "\n")
    (folder / "names.csv").write_text(names)
    (folder / "tree.json").write_text(tree if isinstance(tree, str) else json.dumps(tree))
    if labels is not None:
        (folder / "labels.csv").write_text("ImageID,Source,LabelName,Confidence\n" + "\n".join(labels))
        options["image_labels"] = "labels.csv"
    return OpenImagesDetection(
        root=str(folder),
        annotations="boxes.csv",
        images="images",
        descriptions="names.csv",
        hierarchy="tree.json",
        **options,
    )


def test_boxes_are_of_the_images_size_and_images_come_in_the_order_of_the_file(tmp_path):
    dataset = pets(tmp_path, row("b"), row("a", "/m/c"), row("b", "/m/a", "0,1,0,1", group=1))
    assert [dataset.target(i)["id"] for i in (0, 1)] == ["b", "a"]
    assert dataset.target(0)["boxes"].flatten().tolist() == pytest.approx([2, 2, 10, 6, 0, 0, 20, 10])
    assert dataset.target(0)["labels"].tolist() == [0, 1]
    assert dataset.target(0)["crowd"].tolist() == [False, True]
    assert dataset.info.classes == ("Dog", "Animal", "Wheel", "Cat")
    assert len(dataset[0]["boxes"]) == 1


def test_groups_may_be_learnt_as_objects(tmp_path):
    dataset = pets(tmp_path, row(), row(group=1), groups="objects")
    assert dataset.target(0)["crowd"].tolist() == [False, False]


def test_the_wider_classes_are_known_without_the_root_and_parts(tmp_path):
    assert pets(tmp_path, row()).info.ancestors == {0: (1,), 3: (1,)}


def test_a_class_below_several_others_belongs_to_all(tmp_path):
    tree = {
        "LabelName": "/m/0",
        "Subcategory": [
            {"LabelName": "/m/a", "Subcategory": [{"LabelName": "/m/d"}]},
            {
                "LabelName": "/m/w",
                "Subcategory": [{"LabelName": "/m/c", "Subcategory": [{"LabelName": "/m/d"}]}],
            },
        ],
    }
    assert pets(tmp_path, row(), tree=tree).info.ancestors == {0: (1, 2, 3), 3: (2,)}


def test_verified_labels_without_a_box_are_absent(tmp_path):
    # No animal in b, so neither dog nor cat; in a the dog is an animal, and a cat was verified but not boxed.
    labels = [
        "b,verification,/m/a,0",
        "a,verification,/m/d,1",
        "a,verification,/m/c,1",
        "b,verification,/m/w,1",
    ]
    dataset = pets(tmp_path, row("a"), labels=labels)
    assert dataset.target(0)["absent"].tolist() == [3]
    assert dataset.target(1)["id"] == "b"
    assert dataset.target(1)["absent"].tolist() == [0, 1, 2, 3]
    assert dataset.target(1)["partial"].tolist() == []
    assert "absent" not in pets(tmp_path, row("a")).target(0)


def test_the_challenges_columns_and_a_header_of_names_are_read(tmp_path):
    header = "ImageID,LabelName,XMin,XMax,YMin,YMax,IsGroupOf"
    names = "LabelName,DisplayName\n" + CLASSES
    dataset = pets(tmp_path, "a,/m/d,0.5,1,0,1,1", header=header, names=names)
    assert dataset.target(0)["boxes"].tolist() == [[10, 0, 20, 10]]
    assert dataset.target(0)["crowd"].tolist() == [True]


def test_sizes_may_come_from_a_file(tmp_path):
    (tmp_path / "sizes.csv").write_text("ImageID,Height,Width\nfar,100,200\n")
    dataset = pets(tmp_path, row("far"), sizes="sizes.csv")
    assert dataset.target(0)["boxes"].flatten().tolist() == pytest.approx([20, 20, 100, 60])
    with pytest.raises(DataError, match=r"boxes\.csv:2: the file of sizes has no image 'a'"):
        pets(tmp_path, row("a"), sizes="sizes.csv")


def test_classes_may_be_chosen(tmp_path):
    dataset = pets(tmp_path, row(), row(label="/m/c"), classes=("Cat", "Animal"))
    assert dataset.target(0)["labels"].tolist() == [0]
    assert dataset.info.ancestors == {0: (1,)}
    with pytest.raises(DataError, match=r"names\.csv: no class 'Cow'"):
        pets(tmp_path, row(), classes=("Cat", "Cow"))


def test_images_that_cannot_be_read_are_left_out_if_asked(tmp_path):
    dataset = pets(tmp_path, row("missing"), row("b"), on_error="skip")
    assert [dataset.target(i)["id"] for i in range(len(dataset))] == ["b"]
    assert len(dataset.target(0)["boxes"]) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"header": "ImageID,LabelName"}, r"boxes\.csv:1: expected a header"),
        ({"rows": ["a,b"]}, r"boxes\.csv:2: expected 11 columns"),
        ({"rows": [row(), row(box="0,x,0,1")]}, r"boxes\.csv:3: expected numbers"),
        ({"rows": [row(box="0,1,0,300")]}, r"boxes\.csv:2: expected coordinates relative"),
        ({"rows": [row(group=7)]}, r"boxes\.csv:2: expected 0 or 1 in IsGroupOf"),
        ({"rows": [row(id="../x")]}, r"boxes\.csv:2: the file name"),
        ({"labels": ["a,machine,/m/d,0.7"]}, r"labels\.csv:2: expected 0 or 1 in Confidence"),
        ({"names": "/m/d\n"}, r"names\.csv:1: expected"),
        ({"names": CLASSES + "/m/d,Dog\n"}, r"names\.csv:5: the class"),
        ({"tree": "{"}, r"tree\.json:1:2: not valid JSON"),
        ({"tree": {"LabelName": 3}}, r"tree\.json: expected objects"),
    ],
)
def test_a_wrong_line_is_told_of_with_its_number(tmp_path, options, message):
    rows = options.pop("rows", [row()])
    with pytest.raises(DataError, match=message):
        pets(tmp_path, *rows, **options)


cells = st.sampled_from(["a", "b", "/m/d", "1", "0", "0.5", "nan", "1e400", '"', ""]) | st.text(max_size=3)


@given(line=st.lists(cells, min_size=9, max_size=12).map(",".join))
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_a_line_holds_is_read_or_refused(tmp_path, line):
    told = ""
    try:
        pets(tmp_path, row(), line, on_error="skip")
    except DataError as error:
        told = str(error)
    assert "boxes.csv:" in told or not told
