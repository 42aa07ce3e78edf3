"""The reader of images with label maps, against arrays made here."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools import mask as coco_mask

from omma.data.images import read_label_map
from omma.errors import DataError
from omma_detection.datasets import LabelMapDetection


@pytest.fixture
def folder(tmp_path):
    """Two images; the first has objects 3 and 700, the second none."""
    for kind in ("images", "labels"):
        (tmp_path / kind).mkdir()
    labels = np.zeros((10, 20), np.uint16)
    labels[2:5, 4:9] = 3
    labels[6:8, 0:3] = 700
    for name, array in {"a": labels, "b": np.zeros((10, 20), np.uint16)}.items():
        cv2.imwrite(str(tmp_path / "images" / f"{name}.jpg"), np.full((10, 20, 3), 50, np.uint8))
        cv2.imwrite(str(tmp_path / "labels" / f"{name}.png"), array)
    (tmp_path / "train.txt").write_text("b\n\na\n")
    return tmp_path, labels


def test_each_number_is_an_object(folder):
    root, labels = folder
    dataset = LabelMapDetection(root=str(root), classes=("cell",))
    target = dataset.target(0)
    assert target["boxes"].tolist() == [[4, 2, 9, 5], [0, 6, 3, 8]]
    assert target["area"].tolist() == [15, 6]
    assert target["labels"].tolist() == [0, 0]
    for number, encoding in zip((3, 700), target["segmentations"], strict=True):
        assert np.array_equal(coco_mask.decode(encoding), labels == number)
    sample = dataset[0]
    assert torch.equal(sample["masks"].bool(), torch.from_numpy(np.stack([labels == 3, labels == 700])))
    assert len(dataset[1]["boxes"]) == 0


def test_a_split_gives_the_order_and_empty_images_can_go(folder):
    root, _ = folder
    assert [LabelMapDetection(root=str(root), split="train.txt").target(i)["id"] for i in (0, 1)] == [
        "b",
        "a",
    ]
    assert len(LabelMapDetection(root=str(root), split="train.txt", drop_empty=True)) == 1


@pytest.mark.parametrize("names", ["c\n", "../a\n"])
def test_a_split_that_names_no_image_is_refused(folder, names):
    root, _ = folder
    (root / "train.txt").write_text(names)
    with pytest.raises(DataError, match=r"train\.txt|labels"):
        LabelMapDetection(root=str(root), split="train.txt")


def test_two_classes_are_refused(folder):
    with pytest.raises(DataError, match="one class"):
        LabelMapDetection(root=str(folder[0]), classes=("a", "b"))


def test_a_label_map_keeps_its_numbers(tmp_path):
    numbers = np.arange(200, dtype=np.uint8).reshape(10, 20)
    palette = Image.fromarray(numbers, mode="P")
    palette.putpalette(bytes(range(255, -1, -1)) * 3)
    palette.save(tmp_path / "palette.png")
    Image.fromarray(numbers).save(tmp_path / "grey.png")
    cv2.imwrite(str(tmp_path / "deep.png"), numbers.astype(np.uint16) * 300)
    assert np.array_equal(read_label_map(tmp_path / "palette.png").numpy(), numbers)
    assert np.array_equal(read_label_map(tmp_path / "grey.png").numpy(), numbers)
    assert np.array_equal(read_label_map(tmp_path / "deep.png").numpy(), numbers.astype(int) * 300)


def test_a_picture_is_no_label_map(tmp_path):
    cv2.imwrite(str(tmp_path / "colour.png"), np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(DataError, match="one number per pixel"):
        read_label_map(tmp_path / "colour.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "colour.png").read_bytes()[:-20])
    with pytest.raises(DataError, match="cut off"):
        read_label_map(tmp_path / "cut.png")
