"""Single frames of videos, and videos with something wrong about them."""

from __future__ import annotations

import warnings
from pathlib import Path

import av
import numpy as np
import pytest

from omma.data import torchcodec_frames
from omma.data.videos import VideoFile, read_video, upright
from omma.errors import DataError

from .video_files import HEIGHT, WIDTH, number_of, write_sound, write_video

IRREGULAR = np.cumsum(np.random.default_rng(0).integers(10, 120, 60)).tolist()
OPEN_GOP = {"x264-params": "open-gop=1:bframes=3:scenecut=0:keyint=12:min-keyint=12"}
PICKS = np.array([50, 3, 3, 17, 59, 33])


def numbers(frames: np.ndarray) -> list[int]:
    return [number_of(frame) for frame in frames]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("x.mp4", {}),
        ("x.mp4", {"bf": "0"}),
        ("x.mp4", {"gop": 2}),
        ("x.mp4", OPEN_GOP),
        ("x.mp4", {"times": IRREGULAR}),
        ("x.mkv", {"times": IRREGULAR}),
        ("x.mkv", {}),
        ("x.ts", {}),
        ("x.h264", {}),
        ("x.avi", {"codec": "mpeg4", "bf": "2"}),
        ("x.avi", {"codec": "mjpeg"}),
        ("x.mpg", {"codec": "mpeg2video", "bf": "2"}),
        ("x.mpg", {"codec": "mpeg2video", "gop": 5}),
    ],
)
def test_frames_are_found_by_their_place_in_the_order_of_showing(name: str, options: dict, tmp_path: Path):
    path = write_video(tmp_path / name, **options)
    video = VideoFile(path)
    assert video.total == 60
    assert numbers(video.read(PICKS)) == PICKS.tolist()
    assert numbers(video.read(np.arange(60))) == list(range(60))
    for number in (59, 11, 12, 13, 0):
        assert numbers(video.read(np.array([number]))) == [number]
    assert [number_of(shown.image) for shown in read_video(path)] == list(range(60))


@pytest.mark.parametrize("name", ["x.mp4", "x.mkv"])
def test_videos_of_variable_frame_rate_have_the_times_of_their_frames(name: str, tmp_path: Path):
    path = write_video(tmp_path / name, times=IRREGULAR)
    expected = (np.array(IRREGULAR) - IRREGULAR[0]) / 1000
    video = VideoFile(path)
    np.testing.assert_allclose(video.times, expected, atol=1e-3)
    assert video.rate == pytest.approx(59 / expected[-1], abs=1e-3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_allclose([shown.time for shown in read_video(path)], expected, atol=1e-3)


def test_only_what_frames_need_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torchcodec_frames, "read", lambda *_: None)
    video = VideoFile(write_video(tmp_path / "x.mp4", gop=12, bf="0"))
    fed = []
    plain = video._from
    monkeypatch.setattr(video, "_from", lambda start: (fed.append(p.pts) or p for p in plain(start)))
    video.read(np.array([26, 28, 49]))
    assert [round(pts * float(video.stream.time_base) * 25) for pts in fed] == [24, 25, 26, 27, 28, 48, 49]


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_turned_videos_are_upright(degrees: int, tmp_path: Path):
    """A rotation of the display matrix counts against the clock."""
    path = write_video(tmp_path / "x.mp4", rotation=degrees)
    plain = VideoFile(write_video(tmp_path / "plain.mp4")).read(np.array([37]))[0]
    expected = np.rot90(plain, degrees // 90)
    assert np.abs(VideoFile(path).read(np.array([37]))[0].astype(int) - expected).max() == 0
    assert np.abs(list(read_video(path))[37].image.astype(int) - expected).max() == 0


@pytest.mark.parametrize("matrix", [(1, 0, 0, 1), (-1, 0, 0, 1), (0, -1, 1, 0), (0, 1, 1, 0), (0, -1, -1, 0)])
def test_a_display_matrix_takes_pixels_where_it_says(matrix: tuple[int, ...]):
    """(x, y) goes to (a x + c y, b x + d y), moved into the picture, as QuickTime defines it."""
    a, b, c, d = matrix
    image = np.arange(6, dtype=np.uint8).reshape(2, 3)[..., None].repeat(3, axis=2)
    there = {(a * x + c * y, b * x + d * y): image[y, x, 0] for y in range(2) for x in range(3)}
    left, top = (min(place[axis] for place in there) for axis in (0, 1))
    out = upright(image, np.array([[a, b], [c, d]]))
    assert {(x + left, y + top): out[y, x, 0] for y, x in np.ndindex(out.shape[:2])} == there


def test_a_file_cut_off_before_its_index_is_refused(tmp_path: Path):
    path = write_video(tmp_path / "x.mp4")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DataError, match=r"x\.mp4: is no video that can be decoded .* leave it out"):
        VideoFile(path)


@pytest.mark.parametrize("name", ["x.mp4", "x.avi"])
def test_a_file_cut_off_behind_its_index_is_refused(name: str, tmp_path: Path):
    options = {"movflags": "faststart"} if name == "x.mp4" else {}
    with av.open(str(tmp_path / name), "w", options=options) as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for noise in np.random.default_rng(0).integers(0, 256, (60, HEIGHT, WIDTH, 3), np.uint8):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(noise, format="rgb24")))
        container.mux(stream.encode())
    path = tmp_path / name
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DataError, match=rf"{name}: expected a whole video, .* cut off: \d+ of 60 frames"):
        VideoFile(path)
    with pytest.warns(UserWarning, match=r"cut off: \d+ of 60 frames"):
        assert 20 < len(list(read_video(path))) < 40


def test_a_file_that_tells_only_its_length_in_time_is_known_to_be_cut_off(tmp_path: Path):
    path = write_video(tmp_path / "x.mkv")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.warns(UserWarning, match=r"x\.mkv: is damaged or cut off: \d\.\d of 2\.4 seconds"):
        video = VideoFile(path)
    assert numbers(video.read(np.arange(5))) == list(range(5))


def test_a_file_without_anything_in_it_is_refused(tmp_path: Path):
    """What writers leave behind that were given no frame: nothing but a header."""
    for name in ("x.mp4", "x.avi"):
        with av.open(str(tmp_path / name), "w") as container:
            stream = container.add_stream("mpeg4", rate=25)
            stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
            container.start_encoding()
    with pytest.raises(DataError, match=r"x\.mp4: expected a video, found neither pictures nor sound; leave"):
        VideoFile(tmp_path / "x.mp4")
    with pytest.raises(DataError, match=r"x\.avi: is no video that can be decoded: it has no frame"):
        VideoFile(tmp_path / "x.avi")


def test_sound_without_pictures_is_refused(tmp_path: Path):
    path = write_sound(tmp_path / "x.mp4")
    for read in (VideoFile, lambda path: next(read_video(path))):
        with pytest.raises(DataError, match=r"x\.mp4: expected a video, found sound without pictures; leave"):
            read(path)


def test_a_file_without_pictures_and_sound_is_refused(tmp_path: Path):
    path = tmp_path / "x.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        container.start_encoding()
    with pytest.raises(DataError, match=r"x\.mp4: expected a video, found neither pictures nor sound; leave"):
        VideoFile(path)


def test_a_video_without_a_frame_is_refused(tmp_path: Path):
    path = tmp_path / "x.avi"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        container.start_encoding()
    for read in (VideoFile, lambda path: next(read_video(path))):
        with pytest.raises(DataError, match=r"x\.avi: is no video .*: it has no frame"):
            read(path)


@pytest.mark.parametrize("data", [b"", b"no video" * 100, b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n"])
def test_what_is_no_video_is_refused(data: bytes, tmp_path: Path):
    (tmp_path / "x.mp4").write_bytes(data)
    with pytest.raises(DataError, match=r"x\.mp4: is no video that can be decoded"):
        VideoFile(tmp_path / "x.mp4")
    with pytest.raises(DataError, match=r"y\.mp4: there is no such file"):
        VideoFile(tmp_path / "y.mp4")


def test_frames_of_several_sizes_are_refused(tmp_path: Path):
    parts = [write_video(tmp_path / f"{i}.h264", frames=10) for i in range(2)]
    with av.open(str(tmp_path / "large.h264"), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p"
        frame = av.VideoFrame.from_ndarray(np.zeros((96, 128, 3), np.uint8), format="rgb24")
        container.mux([*stream.encode(frame), *stream.encode()])
    path = tmp_path / "both.h264"
    path.write_bytes(parts[0].read_bytes() + (tmp_path / "large.h264").read_bytes())
    video = VideoFile(path)
    with pytest.raises(DataError, match=r"expected frames of 64 x 48 pixels, frame 10 has 128 x 96"):
        video.read(np.arange(11))


class FakeDecoders:
    """Stands for torchcodec: every frame is grey."""

    class VideoDecoder:
        def __init__(self, path: str, **options) -> None:
            assert options["seek_mode"] == "exact"
            assert options["dimension_order"] == "NHWC"

        def __len__(self) -> int:
            return 60

        def get_frames_at(self, indices: list[int]):
            import torch

            class Frames:
                data = torch.full((len(indices), HEIGHT, WIDTH, 3), 7, dtype=torch.uint8)

            return Frames


def test_torchcodec_decodes_where_it_is_installed_and_finds_as_many_frames(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(torchcodec_frames, "_decoders", lambda: FakeDecoders)
    assert (VideoFile(write_video(tmp_path / "x.mp4")).read(PICKS) == 7).all()
    assert numbers(VideoFile(write_video(tmp_path / "y.mp4", frames=59)).read(np.array([5]))) == [5]


def test_a_broken_torchcodec_is_none(monkeypatch: pytest.MonkeyPatch):
    def refuse(name: str):
        raise RuntimeError("Could not load libtorchcodec")

    monkeypatch.setattr(torchcodec_frames.importlib, "import_module", refuse)
    torchcodec_frames._decoders.cache_clear()
    try:
        assert torchcodec_frames.read(Path("x.mp4"), PICKS, 60) is None
    finally:
        torchcodec_frames._decoders.cache_clear()
