"""Videos of any make, also of strangers."""

from __future__ import annotations

import warnings
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from omma.data import videos
from omma.data.videos import read_video
from omma.errors import DataError


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Twenty frames of 64 x 48 pixels that get brighter, in two forms."""
    found = {}
    for suffix, code in ((".mp4", "mp4v"), (".avi", "MJPG")):
        path = tmp_path_factory.mktemp("videos") / f"clip{suffix}"
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*code), 10, (64, 48))
        for value in range(20):
            writer.write(np.full((48, 64, 3), 12 * value, np.uint8))
        writer.release()
        found[suffix] = path
    return found


@pytest.mark.parametrize("suffix", [".mp4", ".avi"])
def test_frames_come_in_order_with_their_rate(suffix, whole):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        frames = list(read_video(whole[suffix]))
    assert [frame.rate for frame in frames] == [10] * 20
    assert [frame.time for frame in frames] == pytest.approx([i / 10 for i in range(20)])
    assert [int(frame.image.mean()) for frame in frames] == pytest.approx([12 * i for i in range(20)], abs=6)


def test_frames_are_rgb(tmp_path):
    path = tmp_path / "red.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))
    writer.write(np.full((48, 64, 3), (0, 0, 250), np.uint8))
    writer.release()
    shown, *_ = read_video(path)
    assert shown.image[20, 20].tolist() == pytest.approx([250, 0, 0], abs=8)


def test_frames_of_too_many_pixels_are_refused_before_one_is_decoded(whole, monkeypatch):
    monkeypatch.setattr(videos, "MAX_PIXELS", 64 * 48 - 1)
    monkeypatch.setattr(videos, "_next", lambda frames: pytest.fail("decoded"))
    with pytest.raises(DataError, match=r"clip\.mp4: expected frames of at most 3071 pixels, found 64 x 48"):
        list(read_video(whole[".mp4"]))


def test_a_size_that_the_header_is_silent_about_is_seen_in_the_frames(whole, monkeypatch):
    monkeypatch.setattr(videos, "MAX_PIXELS", 100 * 100)
    monkeypatch.setattr(videos, "_next", lambda frames: av.VideoFrame(100, 200, "rgb24"))
    with pytest.raises(DataError, match="found 100 x 200"):
        list(read_video(whole[".mp4"]))


def test_a_video_that_claims_too_many_frames_is_refused(whole, monkeypatch):
    monkeypatch.setattr(videos, "MAX_FRAMES", 19)
    with pytest.raises(DataError, match="at most 19 frames, found 20; cut the video"):
        next(read_video(whole[".mp4"]))


def test_a_video_without_an_end_is_refused(whole, monkeypatch):
    monkeypatch.setattr(videos, "MAX_FRAMES", 50)
    monkeypatch.setattr(videos, "_next", lambda frames: av.VideoFrame(64, 48, "rgb24"))
    with pytest.raises(DataError, match="at most 50 frames, found 51"):
        list(read_video(whole[".mp4"]))


def test_a_video_that_was_cut_off_gives_what_it_has_and_a_warning(tmp_path):
    path = tmp_path / "cut.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))
    for noise in np.random.default_rng(0).integers(0, 256, (20, 48, 64, 3), np.uint8):
        writer.write(noise)
    writer.release()
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.warns(UserWarning, match=r"cut\.avi: is damaged or cut off: \d+ of 20 frames"):
        assert 0 < len(list(read_video(path))) < 15


@pytest.mark.parametrize("data", [b"", b"nonsense", b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n"])
def test_what_is_no_video_is_refused(data, tmp_path):
    (tmp_path / "x.mp4").write_bytes(data)
    with pytest.raises(DataError, match=r"x\.mp4: is no video that can be decoded"):
        list(read_video(tmp_path / "x.mp4"))


def test_digits_in_a_name_are_no_series_of_pictures(tmp_path):
    for number in (1, 2):
        (tmp_path / f"frame{number}.mp4").write_bytes(cv2.imencode(".png", np.zeros((8, 8, 3)))[1].tobytes())
    try:
        assert len(list(read_video(tmp_path / "frame1.mp4"))) == 1
    except DataError as error:
        assert "frame1.mp4" in str(error)  # noqa: PT017


@pytest.mark.filterwarnings("ignore:.*cut off")
@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    suffix=st.sampled_from([".mp4", ".avi"]),
    edits=st.lists(st.tuples(st.floats(0, 1), st.binary(min_size=1, max_size=8)), min_size=1, max_size=4),
    end=st.floats(0.5, 1),
)
def test_videos_with_bytes_changed(suffix, edits, end, whole, tmp_path):
    data = bytearray(whole[suffix].read_bytes())
    for share, noise in edits:
        at = int(share * len(data))
        data[at : at + len(noise)] = noise
    path = tmp_path / f"x{suffix}"
    path.write_bytes(data[: int(end * len(data))])
    try:
        for shown in read_video(path):
            assert shown.image.dtype == np.uint8
            assert shown.rate > 0
    except DataError as error:
        assert path.name in str(error)  # noqa: PT017
