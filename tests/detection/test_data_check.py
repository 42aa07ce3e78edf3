"""``omma data check`` on a file of each data set whose form is its own, through the configs that use it."""

from __future__ import annotations

import json

import pytest

from omma.cli.main import main

from .test_datasets import CATEGORIES, annotation, image, picture
from .test_datasets_cityscapes import city, square
from .test_datasets_open_images import CLASSES, HEADER, TREE, row
from .test_datasets_people import FACE, PERSON


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def wider_face(root):
    picture(root / "WIDER_val" / "images" / "0--Parade" / "a.jpg")
    write(root / "wider_face_split" / "wider_face_val_bbx_gt.txt", f"0--Parade/a.jpg\n1\n{FACE}\n")
    return "ssd300_8xb32-24e_widerface"


def cityscapes(root):
    city(root, square("car", 5, 5, 20, 20), square("cargroup", 30, 5, 50, 20))
    for name in ("gtFine", "leftImg8bit"):
        (root / name / "train").rename(root / name / "val")
    return "mask-rcnn_r50_fpn_1x_cityscapes"


def open_images(root):
    picture(root / "validation" / "a.jpg")
    write(root / "annotations" / "validation-annotations-bbox.csv", f"{HEADER}\n{row()}\n")
    write(root / "annotations" / "class-descriptions-boxable.csv", CLASSES)
    write(root / "annotations" / "bbox_labels_600_hierarchy.json", json.dumps(TREE))
    labels = "ImageID,Source,LabelName,Confidence\na,verification,/m/c,0\n"
    write(root / "annotations" / "validation-annotations-human-imagelabels-boxable.csv", labels)
    return "faster-rcnn_r50_fpn_32xb2-1x_openimages"


def objects365(root):
    picture(root / "val" / "patch8" / "a.jpg")
    images = [image(name="images/v1/patch8/a.jpg")]
    content = {"images": images, "annotations": [annotation()], "categories": CATEGORIES}
    write(root / "annotations" / "zhiyuan_objv2_val.json", json.dumps(content))
    return "faster-rcnn_r50_fpn_16xb4-1x_objects365v2"


def crowd_human(root):
    picture(root / "Images" / "a.jpg")
    write(root / "annotation_val.odgt", json.dumps({"ID": "a", "gtboxes": [PERSON]}))
    (root / "own.yaml").write_text(
        "base: faster-rcnn_r50_fpn_1x_coco\n"
        "data:\n"
        f"  root: {root}\n"
        "  classes: [person]\n"
        "  num_classes: 1\n"
        "  val:\n"
        "    dataset!:\n"
        "      type: CrowdHumanDetection\n"
        '      root: "${data.root}"\n'
        "      annotations: annotation_val.odgt\n"
        "      images: Images\n"
        "metrics: [{type: CrowdHumanMetric}]\n"
    )
    return str(root / "own.yaml")


@pytest.mark.parametrize("make", [wider_face, cityscapes, open_images, objects365, crowd_human])
def test_the_file_is_counted_and_drawn(tmp_path, capsys, make):
    root = tmp_path / "data"
    root.mkdir()
    config = make(root)
    arguments = ["data", "check", config, f"data.root={root}", "--split", "val", "--out", str(tmp_path)]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert "images             1 (0 without objects)" in printed
    assert "objects            1 of" in printed
    assert "0 of 1 images tried can't be used" in printed
    assert list(tmp_path.glob("*_val.png"))
