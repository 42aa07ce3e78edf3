from __future__ import annotations

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from omma.data.images import image_size, read_image
from omma.errors import DataError

COLOURS = cv2.resize(
    np.random.default_rng(0).integers(0, 255, (6, 8, 3), dtype=np.uint8),
    (40, 30),
    interpolation=cv2.INTER_CUBIC,
)
PICTURE = Image.fromarray(COLOURS)


def encoded(picture: Image.Image, form: str, **options) -> bytes:
    file = io.BytesIO()
    picture.save(file, form, **options)
    return file.getvalue()


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_that_claims(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(b"0")), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@pytest.fixture
def file(tmp_path):
    def write(data: bytes):
        path = tmp_path / "picture"
        path.write_bytes(data)
        return path

    return write


def pixels(path) -> np.ndarray:
    image = read_image(path)
    assert image.dtype == torch.uint8
    return image.permute(1, 2, 0).numpy()


@pytest.mark.parametrize("form", ["PNG", "BMP", "TIFF"])
def test_lossless_files_give_their_pixels_as_rgb(file, form):
    np.testing.assert_array_equal(pixels(file(encoded(PICTURE, form))), COLOURS)


@pytest.mark.parametrize("mode", ["L", "1", "P", "RGBA", "LA"])
def test_other_modes_become_rgb_as_pillow_converts_them(file, mode):
    picture = PICTURE.quantize(16) if mode == "P" else PICTURE.convert(mode)
    np.testing.assert_array_equal(pixels(file(encoded(picture, "PNG"))), np.asarray(picture.convert("RGB")))


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_16_bits_become_8(file, suffix):
    data = cv2.imencode(suffix, COLOURS[..., ::-1].astype(np.uint16) * 257)[1].tobytes()
    np.testing.assert_array_equal(pixels(file(data)), COLOURS)


def test_jpeg_agrees_with_pillow(file):
    path = file(encoded(PICTURE, "JPEG", quality=95, subsampling=0))
    assert np.abs(pixels(path).astype(int) - np.asarray(Image.open(path)).astype(int)).max() <= 2


def test_the_image_lies_in_memory_as_it_was_decoded(file):
    assert read_image(file(encoded(PICTURE, "PNG"))).permute(1, 2, 0).is_contiguous()


def test_an_orientation_tag_is_ignored(file):
    exif = Image.Exif()
    exif[0x0112] = 6
    path = file(encoded(PICTURE, "JPEG", exif=exif))
    assert read_image(path).shape == (3, 30, 40)
    assert image_size(path) == (30, 40)


def test_bytes_after_the_end_of_a_jpeg_do_no_harm(file):
    whole = encoded(PICTURE, "JPEG")
    np.testing.assert_array_equal(pixels(file(whole + bytes(9000))), pixels(file(whole)))


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("share", [0.6, 0.98])
def test_a_jpeg_that_was_cut_off_is_refused(file, progressive, share):
    whole = encoded(PICTURE.resize((400, 300)), "JPEG", quality=95, progressive=progressive)
    with pytest.raises(DataError, match="cut off"):
        read_image(file(whole[: int(len(whole) * share)]))


def test_the_end_of_a_thumbnail_does_not_pass_for_the_end_of_the_image(file):
    whole = encoded(PICTURE, "JPEG")
    thumbnail = encoded(PICTURE.resize((8, 6)), "JPEG")
    comment = b"\xff\xfe" + struct.pack(">H", len(thumbnail) + 2) + thumbnail
    path = file(whole[:2] + comment + whole[2:-40])
    with pytest.raises(DataError, match="cut off"):
        read_image(path)


@pytest.mark.parametrize("form", ["PNG", "BMP", "TIFF", "WEBP"])
def test_other_files_that_were_cut_off_are_refused(file, form):
    whole = encoded(PICTURE, form)
    with pytest.raises(DataError, match="expected"):
        read_image(file(whole[: len(whole) // 2]))


@pytest.mark.parametrize("read", [read_image, image_size])
@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"", "empty file"),
        (b"<html>not found</html>", "22 bytes"),
        (png_that_claims(17000, 17000), "17000 x 17000|claims more"),
        (png_that_claims(60000, 60000), "claims more"),
    ],
    ids=["empty", "text", "large", "huge"],
)
def test_what_is_no_image_is_refused_with_path_and_finding(file, read, data, found):
    path = file(data)
    with pytest.raises(DataError, match=found) as caught:
        read(path)
    assert str(path) in str(caught.value)


def test_float_images_are_refused(file):
    data = cv2.imencode(".tif", COLOURS[..., 0].astype(np.float32) / 255)[1].tobytes()
    with pytest.raises(DataError, match="32-bit floats"):
        read_image(file(data))


@pytest.mark.parametrize("read", [read_image, image_size])
def test_a_missing_file_and_a_folder_are_refused(tmp_path, read):
    with pytest.raises(DataError, match="No such file"):
        read(tmp_path / "missing.jpg")
    with pytest.raises(DataError, match="directory"):
        read(tmp_path)
