"""Clips in videos and folders of pictures."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from omma.errors import DataError
from omma_action.datasets.clips import read_list
from omma_action.datasets.frame_folders import FrameFolders
from omma_action.datasets.sampling import Clips, Segments
from omma_action.datasets.videos import VideoDataset, VideoFolders


def write_video(path: Path, frames: int = 20) -> None:
    """Frames of 64 x 48 pixels that get brighter by 12."""
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))
    for value in range(frames):
        writer.write(np.full((48, 64, 3), 12 * value, np.uint8))
    writer.release()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_video(tmp_path / "videos" / "a.avi")
    write_video(tmp_path / "videos" / "two words.avi", 8)
    (tmp_path / "list.txt").write_text("a.avi 2\n\ntwo words.avi 0 1\n")
    return tmp_path


def videos(root: Path, **arguments) -> VideoDataset:
    arguments = {"sampling": Segments(segments=4, random=False), "num_classes": 3} | arguments
    return VideoDataset(root=str(root), annotations="list.txt", folder="videos", **arguments)


def brightness(video: torch.Tensor) -> list[float]:
    return video.float().mean((2, 3, 4)).flatten().tolist()


def test_samples_have_the_frames_that_were_chosen(root: Path):
    sample = videos(root)[0]
    assert sample["video"].shape == (1, 4, 3, 48, 64)
    assert brightness(sample["video"]) == pytest.approx([12 * i for i in (2, 7, 12, 17)], abs=4)
    assert sample["labels"].tolist() == [2]
    assert (sample["meta"].height, sample["meta"].width) == (48, 64)


def test_targets_and_counts_need_no_video(root: Path):
    dataset = videos(root)
    (root / "videos" / "a.avi").unlink()
    assert dataset.target(1)["labels"].tolist() == [0, 1]
    assert dataset.target(1)["path"].endswith("two words.avi")
    assert dataset.class_counts().tolist() == [[0, 0, 1], [1, 1, 0]]
    with pytest.raises(DataError, match=r"a\.avi: there is no such file"):
        dataset[0]


TABLE = """path,name,label,start,end,frames
a.avi,jump,0,0.5,1.0,20
"two words.avi",run,2,,,8
a.avi,run,2,1.5,,
"""


def test_tables_have_names_of_classes_and_times_of_clips(root: Path):
    (root / "list.csv").write_text(TABLE)
    arguments = {"root": str(root), "folder": "videos", "num_classes": 3, "annotations": "list.csv"}
    named = VideoDataset(
        **arguments, classes=("run", "jump", "fall"), sampling=Segments(segments=1, random=False)
    )
    assert [named.target(i)["labels"].tolist() for i in range(3)] == [[1], [0], [0]]
    middles = [brightness(named[i]["video"])[0] for i in range(3)]
    assert middles == pytest.approx([12 * 7, 12 * 4, 12 * 17], abs=4)
    numbered = VideoDataset(**arguments, sampling=Segments(segments=1))
    assert [numbered.target(i)["labels"].tolist() for i in range(3)] == [[0], [2], [2]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a.avi,1\n", r"list\.csv:1: expected a line that names the columns, 'path'"),
        ("path,label\na.avi,x\n", r"list\.csv:2: expected the number of a class in 'label', found 'x'"),
        ("path,label\na.avi\n", r"list\.csv:2: expected 2 columns"),
        ("path,name\na.avi,swim\n", r"list\.csv:2: 'swim' is none of the classes, run, jump, fall"),
        ("path,label,start,end\na.avi,1,3,2\n", r"list\.csv:2: expected 'start' before 'end', found 3 and 2"),
        ("path,label,start\na.avi,1,soon\n", r"list\.csv:2: expected seconds in 'start', found 'soon'"),
        ("path,label,strat\na.avi,1,2\n", r"list\.csv:1: the column 'strat' isn't known; .* 'start'\?"),
        ("path,label\n../a.avi,1\n", r"list\.csv:2: the file name .* is refused"),
        ("path,label\n", r"list\.csv: expected lines of clips"),
        (f"path,label\n{'x' * 2**18},1\n", r"list\.csv:1: expected a line of a table"),
    ],
)
def test_tables_that_are_wrong_are_refused_with_their_line(root: Path, text: str, message: str):
    (root / "list.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        VideoDataset(
            root=str(root),
            annotations="list.csv",
            folder="videos",
            classes=("run", "jump", "fall"),
            num_classes=3,
            sampling=Segments(segments=1),
        )


def test_a_clip_behind_the_end_of_its_video_is_an_error(root: Path):
    (root / "list.csv").write_text("path,label,start,end\na.avi,1,5,6\n")
    dataset = VideoDataset(
        root=str(root), annotations="list.csv", folder="videos", num_classes=2, sampling=Segments(segments=1)
    )
    with pytest.raises(DataError, match=r"a\.avi: has no frame from 5 s to 6 s, only up to 1\.90 s"):
        dataset[0]
    assert "no frame from 5 s" in (dataset.problem(0) or "")


def test_folders_are_classes(tmp_path: Path):
    write_video(tmp_path / "run" / "a.avi")
    write_video(tmp_path / "jump" / "deep" / "b.avi", 8)
    (tmp_path / "run" / "notes.txt").write_text("no video")
    arguments = {"folder": str(tmp_path), "num_classes": 2, "sampling": Segments(segments=2, random=False)}
    dataset = VideoFolders(**arguments)
    assert dataset.info.classes == ("jump", "run")
    assert [dataset.target(i)["labels"].tolist() for i in range(2)] == [[0], [1]]
    assert brightness(dataset[0]["video"]) == pytest.approx([24, 72], abs=4)
    (tmp_path / "jump" / "deep" / "b.avi").write_bytes(b"no video" * 100)
    assert "b.avi: is no video" in (dataset.problem(0) or "")
    assert dataset.problem(1) is None
    assert VideoFolders(**arguments, classes=("run", "jump")).target(0)["path"].endswith("a.avi")
    with pytest.raises(DataError, match="not on both sides are jump, swim"):
        VideoFolders(**arguments, classes=("run", "swim"))


def test_videos_in_folders_that_cant_be_read_are_found_by_the_check(tmp_path: Path):
    write_video(tmp_path / "run" / "a.avi")
    (tmp_path / "run" / "b.avi").write_bytes(b"no video" * 100)
    dataset = VideoFolders(folder=str(tmp_path), num_classes=1, sampling=Segments(segments=2))
    assert dataset.problem(0) is None
    assert "b.avi: is no video" in (dataset.problem(1) or "")


def test_clips_shorter_than_what_is_looked_at_begin_again(root: Path):
    """Eight frames, of which every second of twelve positions is looked at: the ninth is the first again."""
    dataset = videos(root, sampling=Clips(frames=6, step=2, random=False))
    expected = [12 * i for i in (0, 2, 4, 6, 0, 2)]
    assert brightness(dataset[1]["video"]) == pytest.approx(expected, abs=4)


def test_what_is_no_video_is_an_error(root: Path):
    (root / "videos" / "a.avi").write_bytes(b"no video" * 100)
    with pytest.raises(DataError, match=r"a\.avi: is no video"):
        videos(root)[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a.avi\n", r"list\.txt:1: expected a name and numbers"),
        ("a.avi 3\n", r"list\.txt:1: expected labels from 0 to 2"),
        ("a.avi 1\n../b.avi 2\n", r"list\.txt:2: the file name .* is refused"),
        ("\n", r"list\.txt: expected lines of clips"),
    ],
)
def test_lists_that_are_wrong_are_refused_with_their_line(root: Path, text: str, message: str):
    (root / "list.txt").write_text(text)
    with pytest.raises(DataError, match=message):
        videos(root)


def test_names_may_have_spaces_and_numbers(tmp_path: Path):
    (tmp_path / "list.txt").write_text("a 1 b.avi 2 3\n12 3\n")
    first, second = read_list(str(tmp_path), "list.txt")
    assert (first.name, first.numbers) == ("a 1 b.avi", (2, 3))
    assert (second.name, second.numbers) == ("12", (3,))


def test_classes_are_named_or_numbered(root: Path):
    assert videos(root).info.classes == ("0", "1", "2")
    assert videos(root, classes=("run", "jump", "fall")).info.classes == ("run", "jump", "fall")
    with pytest.raises(ValueError, match="2 classes, but num_classes is 3"):
        videos(root, classes=("run", "jump"))


def test_pictures_in_folders_are_clips(tmp_path: Path):
    folder = tmp_path / "rawframes" / "x"
    folder.mkdir(parents=True)
    for number in range(1, 7):
        cv2.imwrite(str(folder / f"{number:05}.png"), np.full((10, 12, 3), 20 * number, np.uint8))
    (tmp_path / "list.txt").write_text("x 6 1\n")
    arguments = {"root": str(tmp_path), "annotations": "list.txt", "folder": "rawframes", "num_classes": 2}
    sampling = Clips(frames=3, step=2, random=False)
    sample = FrameFolders(template="{:05}.png", sampling=sampling, **arguments)[0]
    assert brightness(sample["video"]) == [20, 60, 100]
    assert sample["labels"].tolist() == [1]
    assert FrameFolders(template="{:05}.png", sampling=sampling, **arguments).problem(0) is None
    (folder / "00003.png").unlink()
    with pytest.raises(DataError, match=r"00003\.png"):
        FrameFolders(template="{:05}.png", sampling=sampling, **arguments)[0]
    (folder / "00006.png").unlink()
    assert "00006.png" in (
        FrameFolders(template="{:05}.png", sampling=sampling, **arguments).problem(0) or ""
    )
    for template in ("frame.png", "{:05}_{}.png"):
        with pytest.raises(ValueError, match="one place for a"):
            FrameFolders(template=template, sampling=sampling, **arguments)
    (tmp_path / "list.txt").write_text(f"x {10**12} 1\n")
    with pytest.raises(DataError, match=r"list\.txt:1: expected 1 to 4194304 frames"):
        FrameFolders(sampling=sampling, **arguments)
