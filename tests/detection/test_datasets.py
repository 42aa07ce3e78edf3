"""Readers of detection data sets, against files written here and against pycocotools."""

from __future__ import annotations

import json
import math

import cv2
import numpy as np
import pytest
import torch
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from omma.data.transforms import RandomFlip
from omma.errors import DataError
from omma_detection.datasets import CocoDetection, VocDetection, YoloDetection

CATEGORIES = [{"id": 7, "name": "cat"}, {"id": 3, "name": "dog"}]


def picture(path, height=10, width=20):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((height, width, 3), 9, np.uint8))


def image(id=1, name="a.jpg", **other):
    return {"id": id, "file_name": name, "height": 10, "width": 20, **other}


def annotation(id=1, image_id=1, category_id=7, bbox=(1, 2, 3, 4), **other):
    return {"id": id, "image_id": image_id, "category_id": category_id, "bbox": list(bbox), **other}


@pytest.fixture
def coco(tmp_path):
    """Writes a COCO file and reads it."""

    def make(annotations=(), images=None, categories=CATEGORIES, text=None, **options):
        images = [image()] if images is None else images
        content = {"images": images, "annotations": list(annotations), "categories": categories}
        (tmp_path / "x.json").write_text(text or json.dumps(content))
        for name in ("a.jpg", "b.jpg", "c.jpg"):
            picture(tmp_path / "images" / name)
        return CocoDetection(root=str(tmp_path), annotations="x.json", images="images", **options)

    return make


def test_labels_follow_names_not_the_files_order(coco):
    dataset = coco([annotation(category_id=7), annotation(id=2, category_id=3)], classes=("cat", "dog"))
    assert dataset.target(0)["labels"].tolist() == [0, 1]
    assert coco([annotation()]).info.classes == ("dog", "cat")


def test_lists_may_come_in_any_order(coco):
    content = {"annotations": [annotation()], "categories": CATEGORIES, "images": [image()]}
    assert coco(text=json.dumps(content)).target(0)["boxes"].tolist() == [[1, 2, 4, 6]]


def test_crowds_are_ignored_in_samples_and_kept_in_targets(coco):
    dataset = coco([annotation(iscrowd=1), annotation(id=2, bbox=(0, 0, 5, 5))])
    sample, target = dataset[0], dataset.target(0)
    assert sample["boxes"].tolist() == [[0, 0, 5, 5]]
    assert sample["ignored_boxes"].tolist() == [[1, 2, 4, 6]]
    assert target["crowd"].tolist() == [True, False]


def test_categories_not_asked_for_are_left_out_and_counted(coco):
    dataset = coco([annotation(), annotation(id=2, category_id=3)], classes=("cat",))
    assert dataset.class_counts().tolist() == [[1]]
    assert dataset.report.lines()[0].startswith("1 objects left out: a category not asked for")


def test_images_without_objects_are_kept_unless_dropped(coco):
    images = [image(), image(2, "b.jpg"), image(3, "c.jpg")]
    boxes = [annotation(image_id=2), annotation(id=2, image_id=3, iscrowd=1)]
    assert len(coco(boxes, images)) == 3
    dataset = coco(boxes, images, drop_empty=True)
    assert [dataset.target(i)["id"] for i in range(len(dataset))] == [2]
    assert dataset[0]["meta"].path.endswith("b.jpg")


def test_image_ids_may_be_text(coco):
    dataset = coco([annotation(image_id="x1")], [image("x1")])
    assert (dataset.target(0)["id"], dataset[0]["meta"].id) == ("x1", "x1")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"annotations": [annotation(image_id=9)]}, r"annotations\[0\] \(id 1\): no image has the id 9"),
        ({"annotations": [annotation(category_id=9)]}, r"annotations\[0\].*no category has the id 9.*7 cat"),
        ({"annotations": [annotation(bbox=(1, 2, 3))]}, r"annotations\[0\]: expected 'bbox'"),
        ({"annotations": [annotation(bbox=(1, 2, 3, "4"))]}, r"annotations\[0\]: expected 'bbox'"),
        ({"annotations": [annotation(bbox=(1, 2, 3, True))]}, r"annotations\[0\]: expected 'bbox'"),
        ({"annotations": [annotation(iscrowd=2)]}, "expected 0 or 1 in 'iscrowd'"),
        ({"annotations": [annotation(area="x")]}, "expected a number in 'area'"),
        ({"annotations": [{"id": 1}]}, "there is no 'image_id', 'category_id', 'bbox'; it has id"),
        ({"annotations": [5]}, "expected an object"),
        ({"images": [image(), image()]}, r"images\[1\]: the image id 1 stands at images\[0\] too"),
        ({"images": [image(name="../a.jpg")]}, r"images\[0\]: the file name '../a.jpg' is refused"),
        ({"images": [image(name="/etc/passwd")]}, "refused"),
        ({"images": [image(name=3)]}, "expected text in 'file_name'"),
        ({"images": [image(height=0)]}, "expected a height and width"),
        ({"images": [image(height=math.inf)]}, "expected a height and width"),
        ({"images": [image(True)]}, "expected a number or text as an id"),
        ({"images": []}, "at least one image"),
        ({"categories": []}, "at least one category"),
        ({"categories": [*CATEGORIES, {"id": 7, "name": "x"}]}, "the category id 7 is that of 'cat' too"),
        ({"categories": [*CATEGORIES, {"id": 8, "name": "cat"}]}, "two categories called 'cat'"),
        ({"text": '{"images": []}'}, "it has no annotations and no categories"),
        ({"text": "[]"}, "expected an object .* found a list"),
        ({"text": '{"images": 5}'}, "expected a list in 'images', found int"),
        ({"text": '{"images": [\n{]}'}, r"x\.json:2:2: not valid JSON"),
        ({"annotations": [annotation()], "classes": ("horse",)}, "none of the classes"),
        ({"annotations": [annotation()], "classes": ("cat", "dogs")}, "no class 'dogs'"),
        ({"annotations": [annotation()], "classes": ("Cat",)}, "did you mean 'cat' for 'Cat'"),
        ({"annotations": [annotation(iscrowd=1)], "drop_empty": True}, "none of the 1 images has an object"),
        (
            {"annotations": [annotation(segmentation=[[1, 2, 3]])], "masks": True},
            r"annotations\[0\]: expected x, y pairs",
        ),
    ],
)
def test_a_mistake_in_a_coco_file_is_told_with_its_place(coco, given, message):
    with pytest.raises(DataError, match=f"(?s){message}"):
        coco(**given)


def test_degenerate_boxes_are_dropped_and_counted(coco):
    boxes = [(1, 1, 0, 5), (1, 1, -3, 5), (1, 1, math.nan, 5), (1, 1, math.inf, 5), (30, 1, 5, 5)]
    dataset = coco([annotation(i, bbox=box) for i, box in enumerate(boxes)])
    assert len(dataset.target(0)["boxes"]) == 0
    assert sum(count for what, count in dataset.report.counts.items() if "dropped" in what) == 5


@pytest.mark.parametrize("classes", [("cat", "cat"), (), "cocoo"])
def test_a_class_list_that_cannot_be_meant_is_refused(coco, classes):
    with pytest.raises(ValueError, match="classes: expected"):
        coco([annotation()], classes=classes)


def test_an_image_of_another_size_than_annotated_is_told(coco):
    with pytest.raises(
        DataError, match=r"a\.jpg: expected 21 x 10 pixels as annotated, the file has 20 x 10"
    ):
        coco(images=[image(width=21)])[0]


def test_a_missing_image_is_told(coco):
    with pytest.raises(DataError, match=r"missing\.jpg"):
        coco(images=[image(name="missing.jpg")])[0]


def test_a_broken_image_is_skipped_for_the_next_one_and_counted(coco):
    images = [image(), image(2, "missing.jpg"), image(3, "c.jpg")]
    dataset = coco(images=images, on_error="skip")
    assert [dataset[1]["meta"].index for _ in range(2)] == [2, 2]
    assert [path.rsplit("/", 1)[1] for path in dataset.skipped()] == ["missing.jpg"]


def test_what_workers_skip_is_known_to_the_parent(coco):
    dataset = coco(images=[image(), image(2, "missing.jpg")], on_error="skip")
    list(torch.utils.data.DataLoader(dataset, num_workers=1, batch_size=None))
    assert len(dataset.skipped()) == 1


def test_a_data_set_of_broken_images_does_not_skip_for_ever(coco):
    with pytest.raises(DataError, match="in a row can't be read"):
        coco(images=[image(name="missing.jpg")], on_error="skip")[0]


def test_masks_follow_their_objects_through_a_flip(coco):
    ring = [1, 2, 4, 2, 4, 6]
    flip = RandomFlip(prob=1.0)
    sample = coco([annotation(segmentation=[ring])], masks=True, transforms=(flip,))[0]
    assert sample["boxes"].tolist() == [[16, 2, 19, 6]]
    assert sample["masks"].to_coco() == [[[19, 2, 16, 2, 16, 6]]]


def test_objects_with_run_lengths_become_bitmaps(coco):
    rle = {"size": [10, 20], "counts": [33, 7, 160]}
    objects = [annotation(segmentation=rle), annotation(id=2, segmentation=[[0, 0, 4, 0, 4, 4, 0, 4]])]
    masks = coco(objects, masks=True)[0]["masks"]
    assert masks.flatten(1).sum(1).tolist() == [7, 16]


@pytest.mark.parametrize("split", ["train", "val"])
def test_targets_are_what_pycocotools_reads(shared_data, split):
    folder = shared_data / "coco_mini"
    name = f"annotations/instances_{split}2017.json"
    dataset = CocoDetection(
        root=str(folder), annotations=name, images=f"{split}2017", classes="coco", masks=True
    )
    reference = COCO(str(folder / name))
    names = {c["id"]: c["name"] for c in reference.loadCats(reference.getCatIds())}
    assert dataset.report.lines() == []
    assert len(dataset) == len(reference.getImgIds())
    for index in range(len(dataset)):
        target = dataset.target(index)
        expected = reference.imgToAnns[target["id"]]
        assert [dataset.info.classes[i] for i in target["labels"]] == [
            names[a["category_id"]] for a in expected
        ]
        boxes = np.array([a["bbox"] for a in expected]).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        np.testing.assert_allclose(target["boxes"].numpy().reshape(-1, 4), boxes, atol=1e-4)
        assert target["crowd"].tolist() == [bool(a["iscrowd"]) for a in expected]
        for found, a in zip(target["segmentations"], expected, strict=True):
            size = (target["height"], target["width"])
            rle = found if isinstance(found, dict) else coco_mask.merge(coco_mask.frPyObjects(found, *size))
            assert (coco_mask.decode(rle) == reference.annToMask(a)).all()


def test_all_images_of_coco_mini_can_be_read(shared_data):
    folder = shared_data / "coco_mini"
    dataset = CocoDetection(
        root=str(folder), annotations="annotations/instances_val2017.json", images="val2017", masks=True
    )
    assert sum(len(dataset[i]["boxes"]) + len(dataset[i]["ignored_boxes"]) for i in range(79)) == 624


def test_the_blood_cells_have_the_counts_of_their_source(shared_data):
    sets = {s: VocDetection(root=str(shared_data / "bccd"), split=s) for s in ("train", "val", "test")}
    assert {split: len(dataset) for split, dataset in sets.items()} == {"train": 205, "val": 87, "test": 72}
    total = sum(dataset.class_counts().sum(axis=0, dtype=int) for dataset in sets.values())
    # Two degenerate boxes of red cells are dropped.
    assert dict(zip(sets["train"].info.classes, total.tolist())) == {
        "Platelets": 361,
        "RBC": 4153,
        "WBC": 372,
    }
    assert [sum(d.report.counts.values()) for d in sets.values()] == [1, 1, 0]


def test_instances_of_label_maps_survive_as_run_lengths(shared_data, tmp_path):
    folder = shared_data / "nuclei"
    names = (folder / "test.txt").read_text().split()
    images, annotations = [], []
    for number, name in enumerate(names):
        (file,) = (folder / "labels").glob(f"{name.rsplit('.', 1)[0]}*")
        labels = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
        (source,) = (folder / "images").glob(f"{name.rsplit('.', 1)[0]}*")
        images.append({"id": number, "file_name": source.name, "height": 256, "width": 256})
        for label in range(1, int(labels.max()) + 1):
            rle = coco_mask.encode(np.asfortranarray((labels == label).astype(np.uint8)))
            box = coco_mask.toBbox(rle).tolist()
            segmentation = {"size": [256, 256], "counts": rle["counts"].decode()}
            annotations.append(annotation(len(annotations), number, 1, box, segmentation=segmentation))
        if number == 4:
            break
    content = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "nucleus"}]}
    (tmp_path / "x.json").write_text(json.dumps(content))
    dataset = CocoDetection(annotations=str(tmp_path / "x.json"), images=str(folder / "images"), masks=True)
    (file,) = (folder / "labels").glob(f"{names[0].rsplit('.', 1)[0]}*")
    labels = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
    masks = dataset[0]["masks"].numpy()
    assert (masks == (labels == np.arange(1, len(masks) + 1)[:, None, None])).all()


def test_yolo_reads_boxes_and_outlines(tmp_path):
    picture(tmp_path / "images/train/sub/a.jpg")
    picture(tmp_path / "images/train/b.png")
    text = tmp_path / "labels/train/sub/a.txt"
    text.parent.mkdir(parents=True)
    text.write_text("1 0.5 0.5 0.2 0.4\n0 0.1 0.1 0.5 0.1 0.5 0.9\n")
    (tmp_path / "data.yaml").write_text("names: {0: dog, 1: cat}\ntrain: images/train\n")
    dataset = YoloDetection(root=str(tmp_path), classes=("cat", "dog"))
    target = dataset.target(1)
    assert target["labels"].tolist() == [0, 1]
    np.testing.assert_allclose(target["boxes"].numpy(), [[8, 3, 12, 7], [2, 1, 10, 9]], atol=1e-5)
    assert len(dataset[0]["boxes"]) == 0
    masked = YoloDetection(root=str(tmp_path), masks=True)
    np.testing.assert_allclose(masked[1]["masks"].to_coco()[0][0], [2, 1, 10, 1, 10, 9], atol=1e-5)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0 .5 .5 .2", r"a\.txt:2: expected 'class cx cy w h'"),
        ("0 .5 .5 .2 .2 .9", "got 6 words"),
        ("x .5 .5 .2 .2", "expected numbers"),
        ("0.5 .5 .5 .2 .2", "expected numbers, a whole one first"),
        ("2 .5 .5 .2 .2", "there is no class 2; the names go from 0 to 1"),
        ("-1 .5 .5 .2 .2", "there is no class -1"),
        ("0 320 240 10 10", "relative to the image's size"),
    ],
)
def test_a_mistake_in_a_yolo_file_is_told_with_its_line(tmp_path, line, message):
    picture(tmp_path / "images/train/a.jpg")
    (tmp_path / "labels/train").mkdir(parents=True)
    (tmp_path / "labels/train/a.txt").write_text(f"0 .5 .5 .1 .1\n{line}\n")
    (tmp_path / "classes.txt").write_text("dog\ncat\n")
    with pytest.raises(DataError, match=message):
        YoloDetection(root=str(tmp_path))


@pytest.mark.parametrize(
    "text",
    [
        "names: !!python/object/apply:os.getcwd []",
        "names: [a",
        "names: 3",
        "names: {0: a, 2: b}",
        "x: 1",
        "[]",
    ],
)
def test_names_that_are_none_are_refused(tmp_path, text):
    (tmp_path / "data.yaml").write_text(text)
    with pytest.raises(DataError, match=r"data\.yaml"):
        YoloDetection(root=str(tmp_path))


def test_a_split_without_any_object_is_told_of(coco):
    assert "1 images in all, and none has an object" in coco().report.lines()[0]
    assert coco([annotation()]).report.lines() == []
    assert "none has an object" in coco([annotation(iscrowd=1)]).report.lines()[0]
