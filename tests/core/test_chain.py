"""Chains: what one stage finds in an image is looked at by the next."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from omma.cli.main import main
from omma.errors import DataError, SetupError
from omma.inference import BoxFeed, Chain, KeypointNMS, Predictor, Smoothing, Tracking

from .chain_parts import Known, write_config
from .test_predictor import CONFIG as FINDER
from .test_predictor import scene

DOG = [1.0, 2.0, 30.0, 40.0, 0.9, 1]
SMALL_DOG = [50.0, 20.0, 60.0, 30.0, 0.4, 1]
CAT = [5.0, 5.0, 20.0, 20.0, 0.8, 0]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return write_config(tmp_path)


def looker(config: Path, **options) -> Predictor:
    return Predictor(config, None, device="cpu", **options)


def test_every_box_is_looked_at_and_the_best_comes_first(config: Path):
    chain = Chain([Known([SMALL_DOG, DOG]), looker(config)])
    (result,) = chain(scene())
    assert result.prediction["boxes"].tolist() == [DOG[:4], SMALL_DOG[:4]]
    assert result.prediction["keypoints"].tolist() == [[[1, 2], [30, 40]], [[50, 20], [60, 30]]]
    assert result.prediction["scores"].tolist() == pytest.approx([0.9, 0.4])


def test_results_are_drawn_and_written_as_those_of_the_last_model(config: Path):
    (result,) = Chain([Known([DOG]), looker(config)])(scene())
    assert result.task.name == "pose"
    assert result.draw().shape == (80, 160, 3)
    (told,) = result.to_json()["prediction"]
    assert told["name"] == "dog"
    assert len(told["keypoints"]) == 2


def test_only_boxes_of_the_models_own_classes_are_looked_at(config: Path):
    chain = Chain([Known([CAT, DOG]), looker(config)])
    (found,) = chain.predict([scene()])
    assert found["boxes"].tolist() == [DOG[:4]]
    assert found["labels"].tolist() == [0]


def test_boxes_of_other_classes_are_looked_at_by_name(config: Path):
    chain = Chain([Known([CAT, DOG]), looker(config, boxes=BoxFeed(of=("cat",)))])
    (found,) = chain.predict([scene()])
    assert found["boxes"].tolist() == [CAT[:4]]
    assert found["labels"].tolist() == [0]


def test_a_model_of_several_classes_keeps_its_own_labels(tmp_path: Path):
    changes = {"num_classes: 1": "num_classes: 2", "[dog]": "[dog, cat]"}
    chain = Chain([Known([CAT, DOG]), looker(write_config(tmp_path, changes))])
    (found,) = chain.predict([scene()])
    assert found["labels"].tolist() == [0, 1]
    strange = looker(tmp_path / "looker.yaml", boxes=BoxFeed(of=("cow",)))
    with pytest.raises(SetupError, match=r"boxes of 'cow' can't be looked at.*dog, cat"):
        Chain([Known(classes=("cow", "cat")), strange])


@pytest.mark.parametrize(
    ("of", "classes", "message"),
    [
        (None, ("cat", "Dogs"), "finds no 'dog', but cat, Dogs; did you mean 'Dogs' for 'dog'"),
        (("cat", "cou"), ("cat", "cow"), "finds no 'cou', but cat, cow; did you mean 'cow' for 'cou'"),
        (("zebra",), ("cat", "dog"), "finds no 'zebra', but cat, dog; name the classes"),
    ],
)
def test_a_class_that_the_stage_before_does_not_find_is_told_at_once(config, of, classes, message):
    with pytest.raises(SetupError, match=message.replace("?", r"\?")):
        Chain([Known(classes=classes), looker(config, boxes=BoxFeed(of=of))])


def test_an_image_without_boxes_has_an_empty_prediction(config: Path):
    chain = Chain([Known([], [DOG], [CAT]), looker(config, batch_size=3)])
    results = list(chain([scene()] * 3))
    assert [len(result.prediction["scores"]) for result in results] == [0, 1, 0]
    assert results[0].prediction["keypoints"].shape == (0, 2, 2)
    assert results[0].to_json()["prediction"] == []
    assert np.array_equal(results[0].draw(), results[0].frame.image)


def test_no_more_objects_than_allowed_are_looked_at_together(config: Path):
    predictor = looker(config, batch_size=2, boxes=BoxFeed(at_once=4))
    chain = Chain([Known([DOG] * 3, [DOG] * 6, [DOG]), predictor])
    assert [len(found["scores"]) for found in chain.predict([scene()] * 3)] == [3, 6, 1]
    assert predictor.model.sizes == [4, 4, 1, 1]


def test_of_overlapping_boxes_only_the_best_is_looked_at(config: Path):
    near = [2.0, 2.0, 31.0, 40.0, 0.95, 1]
    chain = Chain([Known([DOG, near, SMALL_DOG]), looker(config, boxes=BoxFeed(nms=0.6))])
    assert chain.predict([scene()])[0]["scores"].tolist() == pytest.approx([0.95, 0.4])


def test_scores_under_the_threshold_of_the_model_are_left_out(config: Path):
    chain = Chain([Known([DOG, SMALL_DOG]), looker(config, score_threshold=0.5)])
    assert chain.predict([scene()])[0]["scores"].tolist() == pytest.approx([0.9])


def test_images_flow_through_and_stay_in_order(config: Path):
    first = Known([DOG], [], [DOG, DOG], [DOG])
    results = Chain([first, looker(config)])([scene(80 + i) for i in range(4)])
    next(results)
    assert first.read == 1
    assert [result.frame.image.shape[0] for result in results] == [81, 82, 83]


def test_of_those_with_like_key_points_the_best_stays(config: Path):
    near = [1.1, 2.0, 30.0, 40.1, 0.95, 1]
    chain = Chain([Known([DOG, near, SMALL_DOG]), looker(config), KeypointNMS(threshold=0.9)])
    assert chain.predict([scene()])[0]["scores"].tolist() == pytest.approx([0.95, 0.4])
    assert Chain([Known([]), looker(config), KeypointNMS()]).predict([scene()])[0]["scores"].shape == (0,)


def test_a_model_that_sees_whole_images_follows_nothing(tmp_path: Path):
    (tmp_path / "toy.yaml").write_text(FINDER)
    with pytest.raises(SetupError, match="looks at whole images"):
        Chain([Known([DOG]), Predictor(tmp_path / "toy.yaml", None, device="cpu")])


@pytest.mark.parametrize("stage", [Smoothing(), KeypointNMS()])
def test_stages_for_key_points_follow_a_model_that_predicts_some(tmp_path: Path, stage):
    (tmp_path / "toy.yaml").write_text(FINDER)
    with pytest.raises(SetupError, match="no key points"):
        Chain([Predictor(tmp_path / "toy.yaml", None, device="cpu"), stage])


def test_a_chain_without_a_model_is_refused():
    with pytest.raises(SetupError, match="needs a model"):
        Chain([Known([DOG])])


def test_what_finds_nothing_itself_can_not_be_first(tmp_path):
    (tmp_path / "toy.yaml").write_text(FINDER)
    with pytest.raises(SetupError, match="begins with a Predictor or a BoxFile, not with Tracking"):
        Chain([Tracking(), Predictor(tmp_path / "toy.yaml", None, device="cpu")])


@pytest.mark.parametrize("arguments", [{"of": ()}, {"of": "person"}, {"nms": 1.5}, {"at_once": 0}])
def test_a_feed_out_of_range_is_refused(arguments):
    with pytest.raises(ValueError, match="expected"):
        BoxFeed(**arguments)


def test_boxes_may_be_given_with_and_without_scores(config: Path):
    predictor = looker(config)
    plain, scored, none = predictor.predict(
        [scene()] * 3, boxes=[np.array([DOG[:4]]), torch.tensor([SMALL_DOG[:5], DOG[:5]]), []]
    )
    assert (plain["boxes"].tolist(), plain["scores"].tolist()) == ([DOG[:4]], [1.0])
    assert scored["boxes"].tolist() == [DOG[:4], SMALL_DOG[:4]]
    assert len(none["scores"]) == 0


@pytest.mark.parametrize(
    ("boxes", "message"),
    [
        ([[[0, 0, 1]]], r"array 0: expected finite boxes of shape \(N, 4\)"),
        ([[[0, 0, 1, float("nan")]]], "array 0: expected finite"),
        ([[], []], "boxes for each of the 1 images, got 2"),
    ],
)
def test_boxes_of_another_form_are_told(config: Path, boxes, message):
    with pytest.raises(DataError, match=message):
        looker(config).predict([scene()], boxes=boxes)


@pytest.fixture
def scenes(tmp_path: Path) -> Path:
    (tmp_path / "scenes").mkdir()
    for name in ("a.png", "b.png"):
        Image.fromarray(scene()).save(tmp_path / "scenes" / name)
    return tmp_path / "scenes"


def test_omma_predict_runs_a_detector_and_a_model_on_its_boxes(config: Path, scenes: Path, tmp_path: Path):
    (tmp_path / "toy.yaml").write_text(FINDER)
    out = tmp_path / "out"
    words = ["predict", str(config), "none", str(scenes), "--out", str(out)]
    assert main([*words, "--boxes-from", str(tmp_path / "toy.yaml"), "none"]) == 0
    told = json.loads((out / "predictions.json").read_text())
    assert told["boxes_from"] == str(tmp_path / "toy.yaml")
    for image in told["images"]:
        (one,) = image["prediction"]
        assert one["box"] == pytest.approx([40, 20, 120, 40], abs=4)
        assert (out / image["picture"]).is_file()


def test_omma_predict_takes_the_boxes_that_a_detector_wrote(config: Path, scenes: Path, tmp_path: Path):
    (tmp_path / "toy.yaml").write_text(FINDER)
    detector = [str(tmp_path / "toy.yaml"), "none"]
    assert main(["predict", *detector, str(scenes), "--out", str(tmp_path / "boxes"), "--score", "0.1"]) == 0
    chosen = ["--box-threshold", "0.1", "--boxes-of", "cat", "--no-pictures"]
    told = []
    for name, boxes in {
        "at once": ["--boxes-from", *detector],
        "in turn": ["--boxes-file", str(tmp_path / "boxes" / "predictions.json")],
    }.items():
        words = ["predict", str(config), "none", str(scenes), "--out", str(tmp_path / name)]
        assert main([*words, *boxes, *chosen]) == 0
        told.append(json.loads((tmp_path / name / "predictions.json").read_text())["images"])
    assert told[0] == told[1]
    assert [one["score"] for one in told[0][0]["prediction"]] == [0.2]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--boxes-of", "dog"], "--boxes-from CONFIG WEIGHTS finds any"),
        (["--boxes-file", "absent.json"], "absent.json"),
        (["--keypoint-nms", "2"], "--keypoint-nms"),
        (["--box-threshold", "-1"], "--box-threshold in 0..1"),
    ],
)
def test_omma_predict_tells_mistakes_in_what_is_looked_at(config, scenes, tmp_path, words, message, capsys):
    out = ["--out", str(tmp_path / "out")]
    assert main(["predict", str(config), "none", str(scenes), *out, *words]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
