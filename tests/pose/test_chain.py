"""A top-down model fed with boxes predicts what it predicts on samples of a data set with these boxes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from omma.cli.main import main
from omma.data.collate import collate
from omma.inference import BoxFile, Chain, KeypointNMS, Predictor
from omma.visualization import read_rgb
from omma_pose.datasets import CocoKeypoints
from omma_pose.transforms import TopDownCrop

CONFIG = "td-hm_res18_shapes"


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    torch.manual_seed(0)
    return Predictor(CONFIG, None, device="cpu", score_threshold=0.0)


@pytest.fixture(scope="module")
def boxes(shapes_world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a detector may have found: four boxes in each image but the first, by falling score."""
    rng = np.random.default_rng(0)
    truth = json.loads((shapes_world / "annotations" / "keypoints_val.json").read_text())
    category = truth["categories"][0]["id"]
    found = [
        {
            "image_id": image["id"],
            "category_id": category,
            "bbox": [*rng.uniform(0, 60, 2).round(1), *rng.uniform(20, 90, 2).round(1)],
            "score": 0.9 - 0.2 * rank,
        }
        for image in truth["images"][1:]
        for rank in range(4)
    ]
    path = tmp_path_factory.mktemp("boxes") / "boxes.json"
    path.write_text(json.dumps(found))
    return path


def dataset(shapes_world: Path, boxes: Path) -> CocoKeypoints:
    return CocoKeypoints(
        root=str(shapes_world),
        annotations="annotations/keypoints_val.json",
        images="images/val",
        classes=("figure",),
        boxes=str(boxes),
        transforms=(TopDownCrop(height=96, width=64, unbiased=True),),
    )


def test_boxes_of_an_image_give_what_samples_with_these_boxes_give(predictor, shapes_world, boxes):
    samples = dataset(shapes_world, boxes)
    with torch.inference_mode():
        expected = [predictor.model.predict(collate([samples[i]]))[0] for i in range(len(samples))]
    paths = list(dict.fromkeys(samples.path(int(source)) for source in samples.sources))
    given = [
        torch.cat([samples.boxes[rows], samples.scores[rows, None]], dim=1)
        for rows in (slice(4 * i, 4 * i + 4) for i in range(len(paths)))
    ]
    found = predictor.predict([read_rgb(path) for path in paths], boxes=given)
    assert len(found) == len(expected) // 4 > 3
    for i, prediction in enumerate(found):
        assert set(prediction) == set(expected[0])
        for key, value in prediction.items():
            together = torch.cat([each[key] for each in expected[4 * i : 4 * i + 4]])
            torch.testing.assert_close(value, together, rtol=1e-5, atol=1e-4)


def test_annotated_boxes_from_a_file_give_each_figure_key_points(predictor, shapes_world):
    path = shapes_world / "annotations" / "keypoints_val.json"
    truth = json.loads(path.read_text())
    count = {image["file_name"]: 0 for image in truth["images"]}
    names = {image["id"]: image["file_name"] for image in truth["images"]}
    for annotation in truth["annotations"]:
        count[names[annotation["image_id"]]] += not annotation["iscrowd"]
    assert 0 in count.values()
    results = list(Chain([BoxFile(path), predictor])(shapes_world / "images" / "val"))
    assert {Path(result.path).name: len(result.prediction["scores"]) for result in results} == count
    for result in results:
        assert result.prediction["keypoints"].shape[1:] == (17, 2)
        assert len(result.to_json()["prediction"]) == len(result.prediction["scores"])


def test_a_detector_of_the_other_package_finds_the_figures_to_look_at(predictor, shapes_world):
    torch.manual_seed(0)
    names = ["a", "b", "c", "d", "e", "f", "figure"]
    classes = [f"data.classes=[{', '.join(names)}]"]
    detector = Predictor("fcos_r18_shapes", None, device="cpu", score_threshold=0.0, overrides=classes)
    # Before training it is sure of nothing.
    torch.nn.init.zeros_(detector.model.bbox_head.conv_cls.bias)
    images = [read_rgb(path) for path in sorted((shapes_world / "images" / "val").iterdir())[:3]]
    found = detector.predict(images)
    figures = [each["labels"] == names.index("figure") for each in found]
    boxes = [
        torch.cat([each["boxes"], each["scores"][:, None]], dim=1)[own] for each, own in zip(found, figures)
    ]
    assert 0 < sum(len(each) for each in boxes) < sum(len(each["scores"]) for each in found)
    expected = predictor.predict(images, boxes=boxes)
    for prediction, same in zip(Chain([detector, predictor]).predict(images), expected, strict=True):
        torch.testing.assert_close(prediction["keypoints"], same["keypoints"])
        torch.testing.assert_close(prediction["scores"], same["scores"])


def test_without_boxes_the_whole_image_is_one_object(predictor):
    image = np.random.default_rng(0).integers(0, 256, (96, 64, 3), dtype=np.uint8)
    whole, given = predictor.predict([image]), predictor.predict([image], boxes=[[[0, 0, 64, 96]]])
    assert whole[0]["boxes"].tolist() == [pytest.approx([0, 0, 64, 96], abs=1e-3)]
    torch.testing.assert_close(whole[0]["keypoints"], given[0]["keypoints"])


def test_the_same_box_twice_is_one_object_after_suppression(predictor, tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (120, 120, 3), dtype=np.uint8)
    rows = [([10, 10, 60, 90], 0.9), ([10, 10, 60, 90], 0.8), ([70, 30, 110, 110], 0.7)]
    found = [{"box": box, "score": score, "label": 0} for box, score in rows]
    boxes = BoxFile(stored(tmp_path, [{"path": "array 0", "width": 120, "height": 120, "prediction": found}]))
    (kept,) = Chain([boxes, predictor, KeypointNMS(threshold=0.9)]).predict([image])
    assert kept["scores"].tolist() == pytest.approx([0.9, 0.7])


def stored(folder: Path, images: list[dict[str, Any]]) -> Path:
    """A detector's predictions of figures."""
    path = folder / "boxes.json"
    path.write_text(json.dumps({"classes": ["figure"], "images": images}))
    return path


def test_figures_of_a_video_are_numbered_and_smoothed(shapes_world, tmp_path):
    clip = next((shapes_world / "clips").rglob("*.mp4"))
    capture = cv2.VideoCapture(str(clip))
    frames = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    size = {
        name: int(capture.get(key))
        for name, key in (("width", cv2.CAP_PROP_FRAME_WIDTH), ("height", cv2.CAP_PROP_FRAME_HEIGHT))
    }
    found = [{"box": [20, 10, 90, 100], "score": 0.9, "label": 0}]
    images = [{"path": str(clip), "frame": i, **size, "prediction": found} for i in range(frames)]
    out, boxes = tmp_path / "out", stored(tmp_path, images)
    words = ["predict", CONFIG, "none", str(clip), "--out", str(out), "--boxes-file", str(boxes)]
    assert main([*words, "--smooth", "--batch-size", "4", "--device", "cpu"]) == 0
    told = json.loads((out / "predictions.json").read_text())["images"]
    assert [one["track"] for image in told for one in image["prediction"]] == [0] * frames
    assert (out / told[0]["picture"]).is_file()
