"""Images from files, folders, patterns, videos and arrays."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from omma.errors import DataError
from omma.inference import open_source


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, value in (("b.png", 20), ("a.png", 10), ("deep/c.PNG", 30)):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(np.full((6, 8, 3), value, np.uint8)).save(path)
    (tmp_path / "notes.txt").write_text("no image")
    return tmp_path


def values(source, **options) -> list[int]:
    return [int(frame.image[0, 0, 0]) for frame in open_source(source, **options)]


def test_a_folder_gives_its_images_by_name(folder: Path):
    assert values(folder) == [10, 20, 30]


def test_a_pattern_gives_what_it_matches(folder: Path):
    assert values(str(folder / "[b-z].png")) == [20]


def test_a_list_keeps_its_order(folder: Path):
    assert values([folder / "b.png", str(folder / "a.png"), np.full((4, 4, 3), 99, np.uint8)]) == [20, 10, 99]


def test_an_image_is_rgb(tmp_path: Path):
    Image.new("RGB", (5, 4), (200, 100, 0)).save(tmp_path / "a.png")
    (frame,) = open_source(tmp_path / "a.png")
    assert (frame.image.shape, frame.image[0, 0].tolist()) == ((4, 5, 3), [200, 100, 0])
    assert (frame.path, frame.number) == (str(tmp_path / "a.png"), None)


def test_a_grey_array_gets_three_channels():
    (frame,) = open_source(np.full((4, 5), 7, np.uint8))
    assert frame.image.shape == (4, 5, 3)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_camera_s_orientation_is_applied(tmp_path: Path, orientation: int):
    image = Image.fromarray(np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3) * 3)
    exif = Image.Exif()
    exif[0x0112] = orientation
    image.save(tmp_path / "a.png", exif=exif)
    (frame,) = open_source(tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as file:
        assert np.array_equal(frame.image, np.asarray(ImageOps.exif_transpose(file)))


def test_a_video_gives_its_frames_with_their_numbers(tmp_path: Path):
    path = tmp_path / "clip.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 10, (64, 48))
    for value in (0, 120, 240):
        writer.write(np.full((48, 64, 3), value, np.uint8))
    writer.release()
    frames = list(open_source(path))
    assert [(frame.number, frame.fps, frame.image.shape) for frame in frames] == [
        (i, 10, (48, 64, 3)) for i in range(3)
    ]
    assert [int(frame.image.mean()) for frame in frames] == pytest.approx([0, 120, 240], abs=6)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("missing.jpg", "no such file"),
        ("*.jpg", "matches this pattern"),
        ("notes.txt", "neither an image nor a video"),
        ("empty", "holds no image"),
    ],
)
def test_a_source_with_nothing_in_it_is_an_error(folder: Path, source: str, message: str):
    (folder / "empty").mkdir()
    with pytest.raises(DataError, match=message):
        open_source(str(folder / source))


def test_an_empty_list_is_an_error():
    with pytest.raises(DataError, match="empty"):
        open_source([])


@pytest.mark.parametrize(
    "array", [np.zeros((4, 4, 3), np.float32), np.zeros((3, 4, 4), np.uint8), np.zeros((0, 4, 3), np.uint8)]
)
def test_an_array_that_is_no_image_is_an_error(array: np.ndarray):
    with pytest.raises(DataError, match=r"array 0: expected a uint8 RGB image"):
        list(open_source(array))


@pytest.mark.parametrize("name", ["broken.png", "broken.mp4"])
def test_a_broken_file_ends_the_pass(folder: Path, name: str):
    (folder / name).write_bytes(b"nonsense")
    with pytest.raises(DataError, match="broken"):
        values(folder)


def test_a_broken_file_is_left_out_and_counted_where_asked_for(folder: Path):
    (folder / "broken.png").write_bytes(b"nonsense")
    source = open_source(folder, on_error="skip")
    with pytest.warns(UserWarning, match=r"left out: .*broken\.png"):
        assert len(list(source)) == 3
    assert len(source.skipped) == 1
