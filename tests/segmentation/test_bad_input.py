"""Wrong masks and configs on the command line: one error that names the place, code 2, no traceback."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from omma.cli.main import main
from omma.data.shapes import make_shapes

CONFIG = str(Path(__file__).with_name("fcn_shapes.yaml"))
SMALL = [f"data.{split}.{words}" for split in ("train", "val") for words in ("workers=0", "batch_size=2")]
CLASSES = 9


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world") / "shapes"
    make_shapes(folder, train=24, val=2, size=64)
    return folder


@pytest.fixture
def root(world: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(world, tmp_path / "shapes"))


def train(root: Path, *words: object) -> int:
    out = root.parent / "run"
    command = ["train", CONFIG, f"data.root={root}", "--fast-dev-run", "--out", out, *SMALL, *words]
    return main([str(word) for word in command])


def check(root: Path, *words: object) -> int:
    command = [
        "data",
        "check",
        CONFIG,
        f"data.root={root}",
        "--out",
        root.parent / "sheets",
        *words,
    ]
    return main([str(word) for word in command])


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Trains, which must be refused before the first step; returns the error."""

    def run(root: Path, *words: object) -> str:
        assert train(root, *words) == 2
        printed = capsys.readouterr()
        assert printed.err.count("error:") == 1
        assert "Traceback" not in printed.err
        assert "loss" not in printed.out
        return printed.err

    return run


def mask(root: Path) -> Path:
    """One that isn't among the few that are read when the data set is made."""
    return sorted((root / "semantic" / "train").iterdir())[2]


def numbers(path: Path) -> np.ndarray:
    return np.array(Image.open(path))


def strange(path: Path) -> None:
    changed = numbers(path)
    changed[3, 4:9] = 77
    Image.fromarray(changed).save(path)


def smaller(path: Path) -> None:
    Image.fromarray(numbers(path)[:60, :50]).save(path)


def coloured(path: Path) -> None:
    Image.fromarray(np.stack([numbers(path)] * 3, axis=-1)).save(path)


def see_through(path: Path) -> None:
    Image.fromarray(np.stack([numbers(path)] * 2, axis=-1), mode="LA").save(path)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:60])


DAMAGES = [
    (
        strange,
        "the number 77 (5 pixels) is neither a class nor ignored; the 9 classes and ignored pixels are "
        "0..8, 255: see label_map",
    ),
    (smaller, "expected 64 x 64 pixels as the image has, the mask has 50 x 60"),
    (
        coloured,
        "expected one number per pixel (a grey or a palette image), found one of mode RGB; if its colours",
    ),
    (see_through, "found one of mode LA"),
    (empty, "found an empty file"),
    (cut_off, "cut off"),
]


@pytest.mark.parametrize(("damage", "message"), DAMAGES)
def test_a_mask_that_cannot_be_used_is_named_before_the_first_step(damage, message, refused, root: Path):
    damage(mask(root))
    error = refused(root)
    assert "data.train: 1 of 24 samples can't be used" in error
    assert f"{mask(root)}: " in error
    assert message in error


def test_data_check_names_all_of_them(root: Path, capsys: pytest.CaptureFixture[str]):
    masks = sorted((root / "semantic" / "train").iterdir())
    for (damage, _), path in zip(DAMAGES, (masks[i] for i in (1, 2, 4, 5, 7, 8)), strict=True):
        damage(path)
    assert check(root, "--images", "1") == 2
    printed = capsys.readouterr().out
    assert re.search(r"6 of \d+ images tried can't be used", printed)
    assert all(message in printed for _, message in DAMAGES)


def test_an_image_without_a_mask_is_named(refused, root: Path):
    gone = mask(root)
    gone.unlink()
    assert f"{gone}: there is no such mask for the image" in refused(root)


@pytest.mark.parametrize("folder", ["images/train", "semantic/train"])
def test_a_folder_that_is_missing_or_empty_is_named(folder: str, refused, root: Path):
    shutil.rmtree(root / folder)
    assert f"{root / folder}: expected a folder" in refused(root)
    (root / folder).mkdir()
    error = refused(root)
    assert str(root / folder) in error


def test_an_evaluation_is_refused_too(root: Path, capsys: pytest.CaptureFixture[str]):
    strange(sorted((root / "semantic" / "val").iterdir())[0])
    words = ["test", CONFIG, "none", f"data.root={root}", "--device", "cpu", *SMALL]
    assert main(words) == 2
    assert "77 (5 pixels)" in capsys.readouterr().err


@pytest.mark.parametrize("form", ["palette", "16 bits"])
def test_masks_of_other_forms_are_taken(form: str, root: Path, capsys: pytest.CaptureFixture[str]):
    assert check(root) == 0
    plain = capsys.readouterr().out
    for path in (root / "semantic" / "train").iterdir():
        if form == "palette":
            image = Image.fromarray(numbers(path), mode="P")
            image.putpalette([channel for i in range(256) for channel in (255 - i, i, 40)])
        else:
            image = Image.fromarray(numbers(path).astype(np.uint16))
        image.save(path)
    assert check(root) == 0
    assert capsys.readouterr().out == plain


@pytest.mark.parametrize("label", [0, 255])
def test_masks_of_one_class_or_of_none_are_trained_on(label: int, root: Path, capsys):
    for path in (root / "semantic" / "train").iterdir():
        Image.fromarray(np.full((64, 64), label, np.uint8)).save(path)
    assert check(root) == 0
    assert f"labelled pixels    {0 if label else 24 * 64 * 64} of 9 classes" in capsys.readouterr().out
    # A loss that is no number would end the run.
    assert train(root) == 0


def test_images_smaller_than_the_crop_are_trained_on(root: Path):
    assert train(root, "data.train.dataset.transforms=[{type: SemanticCrop, height: 96, width: 80}]") == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            "model.decode_head.num_classes=3",
            "data.num_classes is 9, but model.decode_head.conv_seg.weight has 3 rows",
        ),
        ("data.num_classes=3", "data.train has 9 classes"),
        ("model.decode_head.in_channels=[64, 128, 256, 500]", "says 500 for map 3, which has 512"),
        ("model.decode_head.in_index=[0, 1, 2, 7]", "takes map 7, but there are 4"),
        ("model.decode_head.in_index=[0, 1]", "must name as many maps"),
        (
            "model.window={height: 64, width: 64, stride_height: 65, stride_width: 64}",
            "expected strides from 1 to the size of a tile",
        ),
        (
            "model.window={height: 64, width: 50, stride_height: 64, stride_width: 50}",
            "tiles of 64 x 50 pixels, but the network takes multiples of 32",
        ),
        (
            "model.auxiliary_head={type: FCNHead, in_channels: 256, in_index: 2, channels: 8, "
            "num_classes: 2, loss: {type: PixelCrossEntropy}}",
            "aux head has 2 classes, decode head 9",
        ),
        ("data.train.dataset.label_map={values: [1, 2]}", "has 2 numbers for 9 classes"),
        ("data.train.dataset.label_map={ignored: [3]}", "more than one meaning"),
        ("data.train.dataset.label_map=ade", "expected numbers or one of"),
    ],
)
def test_parts_that_do_not_fit_are_told_before_the_first_step(change: str, message: str, refused, root: Path):
    assert message in refused(root, change)
