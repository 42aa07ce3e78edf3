from __future__ import annotations

import cv2
import pytest

from omma.cli.main import main

CONFIG = "fcos_r18_shapes"


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shapes") / "world"
    assert main(["data", "make-shapes", str(folder), "--train", "6", "--val", "3", "--size", "96"]) == 0
    return folder


@pytest.fixture
def broken(tmp_path):
    folder = tmp_path / "world"
    main(["data", "make-shapes", str(folder), "--train", "3", "--val", "1", "--size", "96"])
    image = folder / "images" / "train" / "000002.jpg"
    image.write_bytes(image.read_bytes()[:200])
    return folder


def check(folder, out, *options):
    return main(["data", "check", CONFIG, f"data.root={folder}", "--out", str(out), *options])


def test_make_shapes_writes_as_many_images_as_asked_for(shapes):
    assert len(list((shapes / "images" / "train").iterdir())) == 6
    assert len(list((shapes / "images" / "val").iterdir())) == 3


def test_make_shapes_tells_a_wrong_size_without_a_traceback(tmp_path, capsys):
    assert main(["data", "make-shapes", str(tmp_path / "x"), "--size", "3"]) == 2
    assert "size must be at least" in capsys.readouterr().err


def test_check_counts_and_draws_a_sheet(shapes, tmp_path, capsys):
    assert check(shapes, tmp_path) == 0
    printed = capsys.readouterr().out
    assert "images             6 (" in printed
    assert "0 of 6 images tried can't be used" in printed
    (sheet,) = tmp_path.glob("*.png")
    assert cv2.imread(str(sheet)).shape[1] == 1600


def test_check_looks_at_the_split_asked_for(shapes, tmp_path, capsys):
    check(shapes, tmp_path, "--split", "val")
    assert "images             3 (" in capsys.readouterr().out


def test_check_names_broken_images_and_fails(broken, tmp_path, capsys):
    assert check(broken, tmp_path) == 2
    printed = capsys.readouterr().out
    assert "1 of 3 images tried can't be used" in printed
    assert "000002.jpg" in printed


def test_check_tries_no_more_images_than_told(shapes, tmp_path, capsys):
    check(shapes, tmp_path, "--images", "2")
    assert "of 2 images tried" in capsys.readouterr().out


def test_browse_draws_samples_as_transformed(shapes, tmp_path, capsys):
    command = ["data", "browse", CONFIG, f"data.root={shapes}", "--out", str(tmp_path), "--count", "5"]
    assert main(command) == 0
    first = (tmp_path / "train_001.png").read_bytes()
    assert str(tmp_path / "train_001.png") in capsys.readouterr().out
    main(command)
    assert (tmp_path / "train_001.png").read_bytes() == first


def test_a_split_that_the_config_lacks_is_told(shapes, tmp_path, capsys):
    command = ["data", "check", CONFIG, f"data.root={shapes}", "data.val=null", "--split", "val"]
    assert main([*command, "--out", str(tmp_path)]) == 2
    assert "has no data.val" in capsys.readouterr().err


def test_an_unwritable_out_is_told(shapes, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert check(shapes, tmp_path / "file") == 2
    assert "can't be written" in capsys.readouterr().err


@pytest.mark.parametrize("count", ["0", "-3", "x"])
def test_a_count_that_is_none_is_refused(shapes, tmp_path, count):
    with pytest.raises(SystemExit):
        main(["data", "browse", CONFIG, "--out", str(tmp_path), f"--count={count}"])
