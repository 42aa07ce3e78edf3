"""Predictions on videos: a timeline of what is done, alone and behind a detector and a pose model."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from omma.cli.main import main
from omma.errors import SetupError
from omma.inference import Chain, ClipFeed, Predictor, Seen, open_source, timeline
from omma.structures import DataInfo, Skeleton

CLASSES = "[run, jump, fall]"
PARTS = """
data:
  classes: {classes}
  num_classes: 3
  val: {{dataset: {dataset}}}
optimizer: {{type: SGD, lr: 0.1}}
schedule: {{type: Constant}}
metrics: [{{type: ClipAccuracy}}]
train: {{steps: 1}}
"""
CLIPS = """
model:
  type: Recognizer
  backbone: {type: ResNet, depth: 18, base_channels: 8, bricks: true, norm_eval: false, out_indices: [3]}
  mixing: {type: TemporalShift, frames: 4}
  cls_head: {type: TSMHead, num_classes: 3, in_channels: 64}
  preprocessor: {type: ClipPreprocessor}
""" + PARTS.format(
    classes=CLASSES,
    dataset="{type: VideoDataset, annotations: absent.txt, folder: absent, num_classes: 3, "
    "sampling: {type: Segments, segments: 4, random: false}, "
    "transforms: [{type: Resize, short: 32, long: 64}]}",
)
SKELETONS = """
model:
  type: Recognizer
  backbone: {type: STGCN, layout: coco, base_channels: 8, blocks: 2, widen: [], shorten: []}
  cls_head: {type: GraphHead, num_classes: 3, in_channels: 8}
  preprocessor: {type: SkeletonPreprocessor}
""" + PARTS.format(
    classes=CLASSES,
    dataset="{type: SkeletonPickle, annotations: absent.pkl, classes: [run, jump, fall], transforms: "
    "[{type: NormalizeSkeleton2D}, {type: UniformFrames, frames: 16, fixed: true}, {type: PadPersons}]}",
)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """5.2 seconds, 10 frames each, of 48 x 32 pixels."""
    path = tmp_path / "street.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 10, (48, 32))
    for noise in np.random.default_rng(0).integers(0, 256, (52, 32, 48, 3), np.uint8):
        writer.write(noise)
    writer.release()
    return path


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "clips.yaml").write_text(CLIPS)
    return tmp_path / "clips.yaml"


@pytest.fixture
def of_skeletons(tmp_path: Path) -> Path:
    (tmp_path / "skeletons.yaml").write_text(SKELETONS)
    return tmp_path / "skeletons.yaml"


def test_each_stretch_of_a_video_has_a_label(config: Path, clip: Path):
    predictor = Predictor(config, None, device="cpu", batch_size=2)
    results = list(predictor(clip))
    assert [result.frame.number for result in results] == list(range(52))
    found = list(timeline(results))
    assert [(each.start, each.end) for each in found] == [(0, 2), (2, 4), (4, 5.2)]
    for each in found:
        (scores,) = {tuple(r.prediction["class_scores"].tolist()) for r in results if r.span == _span(each)}
        assert each.score == pytest.approx(max(scores), abs=1e-4)
        assert each.name == ("run", "jump", "fall")[int(np.argmax(scores))]
    assert results[0].draw().shape == (32, 48, 3)


def _span(doing):
    from omma.inference import Span

    return Span(doing.start, doing.end)


def test_a_prediction_is_that_of_the_model_on_the_sampled_frames(config: Path, clip: Path):
    predictor = Predictor(config, None, device="cpu", clips=ClipFeed(every=10))
    result = next(iter(predictor(clip)))
    frames = [frame.image for frame in open_source(clip)]
    middles = [int(52 / 4 * (i + 0.5)) for i in range(4)]
    images = [cv2.resize(frames[i], (48, 32)) for i in middles]
    video = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)[None]
    with torch.inference_mode():
        expected = predictor.model([video]).softmax(dim=1)[0]
    torch.testing.assert_close(result.prediction["class_scores"], expected, rtol=1e-4, atol=1e-5)


def test_the_command_writes_a_timeline_and_a_video(config: Path, clip: Path, tmp_path: Path, capsys):
    out = tmp_path / "out"
    assert main(["predict", str(config), "none", str(clip), "--out", str(out), "--every", "1"]) == 0
    assert "5 stretches of videos" in capsys.readouterr().out
    with (out / "timeline.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(float(row["start"]), float(row["end"])) for row in rows] == [
        (0, 1),
        (1, 2),
        (2, 3),
        (3, 4),
        (4, 5.2),
    ]
    told = json.loads((out / "timeline.json").read_text())
    assert [(each["name"], each["score"]) for each in told] == [(r["name"], float(r["score"])) for r in rows]
    written = json.loads((out / "predictions.json").read_text())["images"]
    assert [(each["start"], each["end"]) for each in written] == [
        (each["start"], each["end"]) for each in told
    ]
    assert [each["prediction"][0]["score"] for each in written] == [each["score"] for each in told]
    capture = cv2.VideoCapture(str(out / "street.mp4"))
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 52


def test_single_images_are_refused(config: Path):
    with pytest.raises(SetupError, match="array 0 is a single image, but the model looks at clips"):
        list(Predictor(config, None, device="cpu")(np.zeros((32, 32, 3), np.uint8)))


class Poses:
    """Finds a walking person with so many key points, and nobody from the third second on."""

    def __init__(self, keypoints: int = 17) -> None:
        names = tuple(str(i) for i in range(keypoints))
        self.info = DataInfo(("person",), skeleton=Skeleton(names=names, bones=()))
        self.places = torch.rand(keypoints, 2, generator=torch.Generator().manual_seed(0)) * 30

    def __call__(self, source) -> Iterator[Seen]:
        for frame in open_source(source):
            there = int((frame.number or 0) < 30)
            places = (self.places + (frame.number or 0) / 10)[None][:there]
            yield Seen(
                frame,
                {
                    "boxes": torch.tensor([[0.0, 0, 40, 30]])[:there],
                    "scores": torch.ones(there),
                    "labels": torch.zeros(there, dtype=torch.int64),
                    "areas": torch.full((there,), 1200.0),
                    "keypoints": places,
                    "keypoint_scores": torch.ones(places.shape[:2]),
                },
                self.info,
            )


def test_skeletons_of_the_stage_before_are_looked_at(of_skeletons: Path, clip: Path):
    chain = Chain([Poses(), Predictor(of_skeletons, None, device="cpu", clips=ClipFeed(every=1.5))])
    results = list(chain(clip))
    assert [result.frame.number for result in results] == list(range(52))
    # Nobody is there from 3 s on.
    assert [(each.start, each.end) for each in timeline(results)] == [(0, 1.5), (1.5, 3)]
    assert results[-1].to_json()["prediction"] == []


def test_skeletons_that_dont_fit_are_refused(of_skeletons: Path, clip: Path):
    predictor = Predictor(of_skeletons, None, device="cpu")
    with pytest.raises(SetupError, match="skeletons of 17 key points, but the stage before finds 5"):
        Chain([Poses(5), predictor])
    with pytest.raises(SetupError, match="put a model that finds key points before it"):
        predictor(clip)


def test_boxes_poses_and_skeletons_are_one_command(of_skeletons: Path, clip: Path, tmp_path: Path):
    """The boxes as a detector's ``predictions.json`` has them; nobody is there from the third second on."""
    person = {"box": [5, 2, 30, 30], "score": 0.9, "label": 0}
    images = [
        {"path": "street.mp4", "frame": i, "width": 48, "height": 32, "prediction": [person] * (i < 30)}
        for i in range(52)
    ]
    boxes, out = tmp_path / "boxes.json", tmp_path / "out"
    boxes.write_text(json.dumps({"classes": ["figure"], "images": images}))
    command = ["predict", str(of_skeletons), "none", str(clip), "--out", str(out), "--every", "1"]
    command += ["--boxes-file", str(boxes), "--poses-from", "td-hm_res18_shapes", "none"]
    assert main(command) == 0
    rows = json.loads((out / "timeline.json").read_text())
    assert [(row["start"], row["end"]) for row in rows] == [(0, 1), (1, 2), (2, 3)]
    assert cv2.VideoCapture(str(out / "street.mp4")).get(cv2.CAP_PROP_FRAME_COUNT) == 52
