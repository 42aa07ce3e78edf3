"""Wrong input on the command line: one error that names the place and the way out, code 2, no traceback.

Readers of configs, images, annotations and weights have tests of their own; here each kind goes all the way.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from omma.checkpoint import save_weights
from omma.cli.main import main
from omma.data.shapes import make_shapes

SMALL = [f"data.{split}.{words}" for split in ("train", "val") for words in ("workers=0", "batch_size=2")]
TRAIN = "annotations/instances_train.json"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world") / "shapes"
    make_shapes(folder, train=4, val=2, size=64)
    return folder


@pytest.fixture
def root(world: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(world, tmp_path / "shapes"))


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs the command line, which must refuse its input; returns the error."""

    def run(*words: object) -> str:
        assert main([str(word) for word in words]) == 2
        error = capsys.readouterr().err
        assert error.count("error:") == 1
        assert "Traceback" not in error
        return error

    return run


def train(root: Path, *words: object) -> list[object]:
    out = root.parent / "run"
    return ["train", "fcos_r18_shapes", f"data.root={root}", "--fast-dev-run", "--out", out, *SMALL, *words]


def evaluate(root: Path, weights: object, *words: object) -> list[object]:
    return ["test", "fcos_r18_shapes", weights, f"data.root={root}", "--device", "cpu", *SMALL, *words]


def predict(root: Path, weights: object, *words: object) -> list[object]:
    out = root.parent / "predictions"
    return ["predict", "fcos_r18_shapes", weights, root / "images" / "val", "--out", out, *words]


@pytest.mark.parametrize("command", ["train", "test"])
@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "train: {epoch: 3}",
            "c.yaml:2: train.epoch: Train has no argument 'epoch'\n    did you mean 'epochs'",
        ),
        ("train: {epochs: many}", "c.yaml:2: train.epochs: expected float, got 'many'"),
        (
            "model: {neck!: {type: GIoULoss}}",
            "c.yaml:2: model.neck.type: expected a Neck, but GIoULoss is a Loss",
        ),
        ("model: {neck!: {type: FPM}}", "nothing is registered as 'FPM'\n    did you mean 'FPN'"),
        ("a: !!python/object/apply:os.system ['exit 1']", "c.yaml:2: a: the tag"),
    ],
)
def test_a_mistake_in_a_config(command: str, text: str, message: str, refused, tmp_path: Path):
    (tmp_path / "c.yaml").write_text(f"base: fcos_r18_shapes\n{text}\n")
    weights = ["none"] if command == "test" else ["--out", tmp_path / "run"]
    assert message in refused(command, tmp_path / "c.yaml", *weights)


@pytest.mark.parametrize("base", ["c.yaml", "gone.yaml"])
@pytest.mark.parametrize("command", ["train", "show"])
def test_a_base_that_is_missing_or_circular(base: str, command: str, refused, tmp_path: Path):
    (tmp_path / "c.yaml").write_text(f"base: {base}\n")
    assert f"c.yaml:1: base: {'inherits' if base == 'c.yaml' else 'no such'}" in refused(
        command, tmp_path / "c.yaml"
    )


def broken_annotation(index: int, **change: Any) -> Callable[[dict[str, Any]], None]:
    return lambda content: content["annotations"][index].update(change)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (broken_annotation(0, image_id=99999), r"annotations[0] (id 1001): no image has the id 99999"),
        (broken_annotation(0, category_id=99), r"annotations[0] (id 1001): no category has the id 99"),
        (lambda content: content.update(images=[], annotations=[]), "expected at least one image"),
    ],
)
@pytest.mark.parametrize("command", ["train", "data"])
def test_annotations_that_contradict_themselves(edit, message: str, command: str, refused, root: Path):
    content = json.loads((root / TRAIN).read_text())
    edit(content)
    (root / TRAIN).write_text(json.dumps(content))
    words = train(root) if command == "train" else ["data", "check", "fcos_r18_shapes", f"data.root={root}"]
    error = refused(*words)
    assert message in error
    assert str(root / TRAIN) in error


@pytest.mark.parametrize(
    ("box", "what"),
    [
        ([5, 5, 0, 9], "a box without width"),
        ([5, 5, 9, -3], "a box without"),
        ([float("nan"), 5, 4, 3], "NaN"),
    ],
)
def test_degenerate_boxes_are_told_before_the_first_step(box: list[float], what: str, root: Path, capsys):
    content = json.loads((root / TRAIN).read_text())
    broken_annotation(0, bbox=box)(content)
    (root / TRAIN).write_text(json.dumps(content))
    assert main([str(word) for word in train(root)]) == 0
    out = capsys.readouterr().out
    assert "warning: 1 objects dropped: " in out
    assert what in out


def test_classes_that_match_nothing(refused, root: Path):
    words = ["data.classes=[zebra]", "data.num_classes=1", "data.train.dataset.classes=${data.classes}"]
    error = refused(*train(root, *words))
    assert "asked for: zebra\n  in the file: circle, square" in error


def test_a_number_of_classes_that_the_data_have_not(refused, root: Path):
    assert "set data.num_classes=7" in refused(*train(root, "data.num_classes=3"))


def test_a_head_of_another_number_of_classes(refused, root: Path):
    error = refused(*train(root, "model.bbox_head.num_classes=3"))
    assert "data.num_classes is 7, but model.bbox_head.conv_cls.weight has 3 rows" in error


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("model.bbox_head.points.strides=[8, 16, 32, 128]", "the pyramid has strides (8, 16, 32, 64)"),
        ("model.neck.num_outs=3", "the pyramid has"),
        ("model.bbox_head.in_channels=32", "bbox_head.in_channels is 32"),
        ("model.neck.in_channels=[64, 128, 256]", "in_channels"),
    ],
)
def test_parts_that_do_not_fit_each_other(change: str, message: str, refused, root: Path):
    assert message in refused(*train(root, change))


def first(root: Path, split: str) -> Path:
    return sorted((root / "images" / split).iterdir())[0]


@pytest.mark.parametrize("broken", ["truncated", "missing"])
def test_a_broken_training_image_ends_the_run_or_is_skipped_and_counted(
    broken: str, refused, root: Path, capsys
):
    image = first(root, "train")
    data = image.read_bytes()
    image.unlink()
    if broken == "truncated":
        image.write_bytes(data[: len(data) // 2])
    assert str(image) in refused(*train(root, "data.train.batch_size=4"))
    shutil.rmtree(root.parent / "run")
    skip = ["data.train.batch_size=4", "data.train.dataset.on_error=skip"]
    assert main([str(word) for word in train(root, *skip)]) == 0
    assert "warning: 1 of 4 images skipped" in capsys.readouterr().out


def test_a_broken_validation_image_is_skipped_in_pictures_too(root: Path, capsys):
    first(root, "val").write_bytes(b"nothing")
    skip = "data.val.dataset.on_error=skip"
    assert main([str(word) for word in train(root, skip)]) == 0
    assert main([str(word) for word in evaluate(root, "none", skip, "--out", root.parent / "out")]) == 0
    assert capsys.readouterr().out.count("1 of 2 images skipped") == 2
    assert len(list((root.parent / "out").rglob("samples/*.jpg"))) == 1


@pytest.mark.parametrize("mode", ["I;16", "L", "RGBA"])
def test_images_of_other_modes_are_taken(mode: str, root: Path):
    for image in (root / "images" / "train").iterdir():
        pixels = np.asarray(Image.open(image).convert("L" if mode == "I;16" else mode))
        other = pixels.astype(np.uint16) * 257 if mode == "I;16" else pixels
        Image.fromarray(other).save(image, format="PNG")
    assert main([str(word) for word in train(root)]) == 0


@pytest.fixture
def weights(tmp_path: Path) -> Callable[[str], Path]:
    def make(kind: str) -> Path:
        file = tmp_path / f"{kind}.pth"
        if kind == "other":
            file = file.with_suffix(".safetensors")
            save_weights(torch.nn.Linear(2, 2), file)
        elif kind == "malicious":
            # Its pickle would call os.system("touch executed").
            file.write_bytes(b"cos\nsystem\n(S'touch " + str(tmp_path / "executed").encode() + b"'\ntR.")
        elif kind == "truncated":
            torch.save({"a": torch.ones(30)}, file)
            file.write_bytes(file.read_bytes()[:300])
        return file

    return make


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("other", "not weights of this model"),
        ("truncated", "damaged, or not a weights file"),
        ("malicious", "refused, nothing was executed"),
        ("absent", "no such file"),
    ],
)
@pytest.mark.parametrize("command", ["train", "test", "predict"])
def test_weights_that_can_not_be_used(
    kind: str, message: str, command: str, weights, refused, root, tmp_path
):
    file = weights(kind)
    words = {
        "train": train(root, "--weights", file),
        "test": evaluate(root, file),
        "predict": predict(root, file, "--device", "cpu"),
    }[command]
    error = refused(*words)
    assert str(file) in error
    assert message in error
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("command", ["train", "test", "predict", "check", "browse", "make-shapes"])
def test_a_folder_that_can_not_be_written_to(command: str, refused, root: Path, tmp_path: Path):
    (tmp_path / "file").write_text("precious")
    out = tmp_path / "file" / "out"
    config = ["fcos_r18_shapes", f"data.root={root}", "--out", out]
    words = {
        "train": ["train", *config],
        "test": evaluate(root, "none", "--out", out),
        "predict": ["predict", "fcos_r18_shapes", "none", root / "images" / "val", "--out", out],
        "check": ["data", "check", *config],
        "browse": ["data", "browse", *config],
        "make-shapes": ["data", "make-shapes", out],
    }[command]
    assert str(out) in refused(*words)
    assert (tmp_path / "file").read_text() == "precious"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
@pytest.mark.parametrize("command", ["train", "test", "predict"])
def test_a_gpu_that_is_not_there(command: str, refused, root: Path):
    words = {
        "train": train(root, "train.device=cuda"),
        "test": ["test", "fcos_r18_shapes", "none", f"data.root={root}", "--device", "cuda"],
        "predict": predict(root, "none", "--device", "cuda"),
    }[command]
    assert "set train.device=auto or cpu" in refused(*words)


def test_debug_shows_the_traceback(root: Path):
    from omma.errors import SetupError

    with pytest.raises(SetupError):
        main([str(word) for word in train(root, "data.num_classes=3", "--debug")])
