"""Images beside label maps: numbers become classes, and nothing is misread in silence."""

from __future__ import annotations

import shutil

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from omma.data.dataset import RepeatDataset, Subset
from omma.data.summary import require_usable
from omma.errors import DataError
from omma.structures import IGNORED
from omma_segmentation.datasets import LabelMap, MaskFolder
from omma_segmentation.datasets.classes import KNOWN
from omma_segmentation.datasets.label_map import KNOWN_MAPS

CLASSES = ("ground", "house")


@pytest.fixture
def folder(tmp_path):
    """Two images; the masks have numbers 1 and 2, and 0 for pixels that don't count."""
    numbers = np.zeros((6, 8), np.uint8)
    numbers[:, 2:5], numbers[:, 5:] = 1, 2
    for name in ("a", "sub/b"):
        for kind, picture in (("images", np.full((6, 8, 3), 9, np.uint8)), ("masks", numbers)):
            path = tmp_path / kind / f"{name}{'.jpg' if kind == 'images' else '_mask.png'}"
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), picture)
    return tmp_path, numbers


def read(root, **options):
    options = {"label_map": LabelMap(first=1, ignored=(0,)), "mask_suffix": "_mask.png", **options}
    return MaskFolder(root=str(root), images="images", masks="masks", classes=CLASSES, **options)


def test_numbers_become_classes(folder):
    root, numbers = folder
    dataset = read(root)
    wanted = np.select([numbers == 1, numbers == 2], [0, 1], IGNORED)
    assert len(dataset) == 2
    assert np.array_equal(dataset[0]["semantic"].numpy(), wanted)
    assert np.array_equal(dataset.target(1)["semantic"].numpy(), wanted)
    assert dataset.target(1)["id"] == "sub/b"
    assert dataset.image_sizes.tolist() == [[6, 8], [6, 8]]
    assert dataset.class_counts().tolist() == [[18, 18], [18, 18]]
    assert dataset.usable().tolist() == [True, True]


def test_values_may_come_in_any_order(folder):
    root, numbers = folder
    dataset = read(root, label_map=LabelMap(values=(2, 1), ignored=(0, 7)))
    assert np.array_equal(dataset[0]["semantic"].numpy() == 0, numbers == 2)


def test_a_number_without_meaning_is_an_error_that_names_it(folder):
    root, numbers = folder
    numbers[0, :3] = 77
    cv2.imwrite(str(root / "masks" / "a_mask.png"), numbers)
    with pytest.raises(DataError, match=r"a_mask\.png.*77 \(3 pixels\).*0\.\.2"):
        read(root)


def many(root, count=20):
    """So many more images, of which only some are looked at when the data set is made."""
    for kind, name in (("images", "a.jpg"), ("masks", "a_mask.png")):
        for number in range(count):
            copy = name.replace("a", f"z{number:02d}", 1)
            shutil.copy(root / kind / name, root / kind / copy)


def damage(root, name, numbers):
    """Give an image another mask: of other numbers, of another size, or none that can be read."""
    path = root / "masks" / f"{name}_mask.png"
    if numbers is None:
        path.write_bytes(b"")
    else:
        cv2.imwrite(str(path), numbers)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda numbers: np.where(numbers == 2, 7, numbers).astype(np.uint8), r"7 \(18 pixels\)"),
        (lambda numbers: numbers[:4], "the mask has 8 x 4"),
        (lambda numbers: None, "an empty file"),
    ],
)
def test_one_look_at_all_masks_finds_those_that_cannot_be_used(folder, change, message):
    root, numbers = folder
    many(root)
    damage(root, "z05", change(numbers))
    dataset = read(root)
    wrong = dataset.names.index("z05")
    assert np.flatnonzero(~dataset.usable()).tolist() == [wrong]
    with pytest.raises(DataError, match=rf"(?s)x: 11 of 22 samples.*z05_mask\.png: .*{message}"):
        require_usable(RepeatDataset(dataset=Subset(dataset=dataset, indices=(0, wrong)), times=11), "x")


def test_the_look_is_remembered_for_any_label_map(folder, monkeypatch):
    root, _ = folder
    read(root).class_counts()
    monkeypatch.setattr("omma_segmentation.datasets.histograms.read_label_map", None)
    other = read(root, label_map=LabelMap(values=(2, 1), ignored=(0,)))
    assert other.class_counts().tolist() == [[18, 18], [18, 18]]
    merged = read(root, label_map=LabelMap(values=(0, 2), ignored=(1,)))
    assert merged.class_counts().tolist() == [[12, 18], [12, 18]]


def test_colours_may_stand_for_classes(folder):
    root, numbers = folder
    picture = np.zeros((6, 8, 3), np.uint8)
    picture[numbers == 1], picture[numbers == 2] = (255, 0, 0), (0, 128, 255)
    for name in ("a", "sub/b"):
        cv2.imwrite(str(root / "masks" / f"{name}_mask.png"), picture[..., ::-1])
    dataset = read(root, label_map=LabelMap(values=(0xFF0000, 0x0080FF), ignored=(0,), colours=True))
    assert np.array_equal(
        dataset[0]["semantic"].numpy(), np.select([numbers == 1, numbers == 2], [0, 1], IGNORED)
    )
    assert dataset.class_counts().tolist() == [[18, 18], [18, 18]]
    with pytest.raises(DataError, match=r"the colour 0x000000 \(12 pixels\).*are 0x0080FF, 0xFF0000"):
        read(root, label_map=LabelMap(values=(0xFF0000, 0x0080FF), colours=True))
    with pytest.raises(ValueError, match="needs the colour of each class"):
        read(root, label_map=LabelMap(colours=True))


def test_numbers_beyond_16_bits_mean_nothing(folder):
    root, numbers = folder
    wide = numbers.astype(np.int32)
    wide[0, :2], wide[1, 0] = 70000, -1
    Image.fromarray(wide).save(root / "masks" / "a_mask.tif")
    (root / "masks" / "sub" / "b_mask.png").rename(root / "masks" / "sub" / "b_mask.tif")
    with pytest.raises(DataError, match=r"-1 \(1 pixels\), 70000 \(2 pixels\)"):
        read(root, mask_suffix="_mask.tif")


@pytest.mark.parametrize(
    ("label_map", "problem"),
    [
        (LabelMap(values=(1,)), "1 numbers for 2"),
        (LabelMap(values=(1, 1)), "more than one meaning"),
        (LabelMap(first=255), "more than one meaning"),
        (LabelMap(values=(1, -2)), "from 0 to"),
    ],
)
def test_a_label_map_that_contradicts_itself_is_refused(folder, label_map, problem):
    with pytest.raises(ValueError, match=problem):
        read(folder[0], label_map=label_map)


def test_mask_and_image_of_different_size_are_refused(folder):
    root, numbers = folder
    cv2.imwrite(str(root / "masks" / "a_mask.png"), numbers[:, :5])
    with pytest.raises(DataError, match="8 x 6 pixels as the image has, the mask has 5 x 6"):
        read(root)[0]


def test_colours_are_no_label_map(folder):
    root, numbers = folder
    cv2.imwrite(str(root / "masks" / "a_mask.png"), np.dstack([numbers] * 3))
    with pytest.raises(DataError, match="one number per pixel"):
        read(root)


def test_numbers_of_16_bits_are_kept(folder):
    root, numbers = folder
    for name in ("a", "sub/b"):
        cv2.imwrite(str(root / "masks" / f"{name}_mask.png"), numbers.astype(np.uint16) * 1000)
    dataset = read(root, label_map=LabelMap(values=(1000, 2000), ignored=(0,)))
    assert np.array_equal(dataset[0]["semantic"].numpy() == 1, numbers == 2)


def test_an_image_without_a_mask_is_named(folder):
    root, _ = folder
    (root / "masks" / "a_mask.png").unlink()
    with pytest.raises(DataError, match=r"a_mask\.png.*'a\.jpg'"):
        read(root)


def test_lists_may_name_files_or_paths(folder):
    root, _ = folder
    (root / "list.txt").write_text("somewhere/images/sub/b.jpg somewhere/masks/b.png\n\na\n")
    assert read(root, split="list.txt").names == ["sub/b", "a"]
    (root / "list.txt").write_text("c\n")
    with pytest.raises(DataError, match=r"list\.txt:1: there is no image 'c'"):
        read(root, split="list.txt")


def test_a_mask_of_ignored_pixels_alone_is_allowed(folder):
    root, numbers = folder
    cv2.imwrite(str(root / "masks" / "a_mask.png"), np.zeros_like(numbers))
    assert torch.equal(read(root)[0]["semantic"].unique(), torch.tensor([IGNORED], dtype=torch.uint8))


def test_known_maps_have_a_number_for_each_of_their_classes():
    assert len(KNOWN["coco_stuff164k"]) == 171
    table = KNOWN_MAPS["coco_stuff164k"].table(171)
    # 'person' is category 1, 'toothbrush' 90, 'banner' 92 and 'wood' 182.
    assert [KNOWN["coco_stuff164k"][int(table[number])] for number in (0, 89, 91, 181)] == [
        "person",
        "toothbrush",
        "banner",
        "wood",
    ]


def test_a_map_that_is_not_known_is_refused(folder):
    with pytest.raises(ValueError, match="coco_stuff164k"):
        read(folder[0], label_map="coco")
