"""COCO's AP of key points against pycocotools, and what goes into it."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from omma.errors import DataError
from omma.ops.oks import oks_nms, pairwise_oks, soft_oks_nms
from omma.structures import DataInfo
from omma_pose.datasets import KNOWN
from omma_pose.metrics import CocoKeypointMetric, CrowdPoseMetric

from .keypoints import COCO, INFO, crowd_of_people, part_of, predictions_of, referee, targets_of

NAMES = ("AP", "AP50", "AP75", "APm", "APl", "AR", "AR50", "AR75", "ARm", "ARl")


def metric(**arguments) -> CocoKeypointMetric:
    made = CocoKeypointMetric(**{"suppression": None, "scoring": "box", **arguments})
    made.start(INFO)
    return made


@pytest.mark.parametrize("seed", range(4))
def test_numbers_are_those_of_pycocotools(seed):
    images = 40
    annotations, results = crowd_of_people(images, seed)
    judged = metric()
    judged.update(predictions_of(results, images), targets_of(annotations, images))
    ours = list(judged.compute().values())
    np.testing.assert_allclose(ours, referee(annotations, results, images), atol=1e-6)


def test_numbers_of_coco_s_example_are_the_published_ones(shared_data: Path):
    folder = shared_data / "cocoeval" / "keypoints_example"
    truth = json.loads((folder / "example_coco_val.json").read_text())
    results = json.loads((folder / "example_coco_preds.json").read_text())
    position = {image["id"]: i for i, image in enumerate(truth["images"])}
    annotations = [{**a, "image_id": position[a["image_id"]]} for a in truth["annotations"]]
    results = [{**r, "image_id": position[r["image_id"]]} for r in results]
    judged = metric()
    judged.update(predictions_of(results, len(position)), targets_of(annotations, len(position)))
    expected = [
        0.8608896054440609, 0.993145468392993, 0.9108910891089109, 0.7755775577557756, 0.9372524752475248,
        0.875, 1.0, 0.9166666666666666, 0.78, 0.9428571428571428,
    ]  # fmt: skip
    values = judged.compute()
    assert list(values) == [f"keypoint/{name}" for name in NAMES]
    np.testing.assert_allclose(list(values.values()), expected, atol=1e-6)


def test_several_samples_of_an_image_count_its_people_once():
    annotations, results = crowd_of_people(12, 5)
    whole, split = metric(), metric()
    targets, predictions = targets_of(annotations, 12), predictions_of(results, 12)
    whole.update(predictions, targets)
    index = 0
    for target, prediction in zip(targets, predictions):
        for i in range(max(len(prediction["scores"]), 1)):
            part = {key: value[i : i + 1] for key, value in prediction.items()}
            split.update([part], [{**target, "index": index}])
            index += 1
    assert split.compute() == pytest.approx(whole.compute(), nan_ok=True)


def test_people_of_whom_no_sample_is_shown_are_missed():
    annotations, results = crowd_of_people(12, 6)
    targets, predictions = targets_of(annotations, 12), predictions_of(results, 12)
    judged = metric()
    judged.update(predictions[:8], targets[:8])
    judged.update([{}] * 4, [{**target, "index": -1 - i} for i, target in enumerate(targets[8:])])
    expected = referee(annotations, [r for r in results if r["image_id"] < 8], 12)
    np.testing.assert_allclose(list(judged.compute().values()), expected, atol=1e-6)


def test_the_report_says_whose_boxes_were_used():
    annotations, results = crowd_of_people(6, 7)
    targets, predictions = targets_of(annotations, 6), predictions_of(results, 6)
    judged = metric()
    judged.update(predictions, targets)
    assert judged.report().tables[0].title == "Key points, annotated boxes"
    judged.update(predictions, [{**target, "boxes_of": "found.json"} for target in targets])
    assert judged.report().tables[0].title == "Key points, boxes of found.json"


def test_boxes_of_different_origins_are_not_mixed():
    annotations, results = crowd_of_people(6, 8)
    targets, predictions = targets_of(annotations, 6), predictions_of(results, 6)
    judged = metric()
    judged.update(predictions, [*targets[:3], *({**t, "boxes_of": "found.json"} for t in targets[3:])])
    with pytest.raises(DataError, match=r"different origins.*annotated boxes, found\.json"):
        judged.compute()


def test_scores_are_the_box_s_times_the_mean_of_clear_key_points():
    annotations, results = crowd_of_people(3, 9)
    targets, predictions = targets_of(annotations, 3), predictions_of(results, 3)
    judged = metric(scoring="box_keypoints", keypoint_threshold=0.2)
    prediction = {
        **{key: value[:1] for key, value in max(predictions, key=lambda p: len(p["scores"])).items()},
        "scores": torch.tensor([0.5]),
        "keypoint_scores": torch.tensor([[0.9, 0.5, *[0.1] * 15]]),
    }
    record = judged.record(prediction, targets[0])
    assert judged._scores(record).tolist() == pytest.approx([0.5 * 0.7])


def test_similarity_of_two_predictions_is_by_its_formula():
    rng = np.random.default_rng(0)
    places, areas, sigmas = (
        rng.uniform(0, 60, (3, 17, 2)),
        np.array([900.0, 2500.0, 1e4]),
        np.array(COCO.spreads),
    )
    found = pairwise_oks(places, places, areas, areas, sigmas)
    for i in range(3):
        for j in range(3):
            terms = [
                math.exp(
                    -((places[i, k] - places[j, k]) ** 2).sum()
                    / (2 * (2 * sigmas[k]) ** 2 * (areas[i] + areas[j]) / 2)
                )
                for k in range(17)
            ]
            assert found[i, j] == pytest.approx(sum(terms) / 17)


def test_the_best_of_those_that_find_the_same_is_kept():
    rng = np.random.default_rng(0)
    place = rng.uniform(0, 100, (17, 2))
    places = np.stack([place, place + 0.5, place + 80])
    kept = oks_nms(places, np.array([0.5, 0.9, 0.3]), np.full(3, 1e4), np.array(COCO.spreads), threshold=0.9)
    assert kept.tolist() == [1, 2]


def test_soft_suppression_lowers_scores():
    place = np.random.default_rng(0).uniform(0, 100, (17, 2))
    places = np.stack([place, place, place + 500])
    kept, scores = soft_oks_nms(
        places, np.array([0.9, 0.8, 0.3]), np.full(3, 1e4), np.array(COCO.spreads), threshold=0.5
    )
    assert kept.tolist() == [0, 2, 1]
    assert scores == pytest.approx([0.9, 0.3, 0.8 * math.exp(-2)])


@pytest.mark.parametrize("name", ["coco_wholebody", "halpe"])
def test_parts_of_whole_bodies_are_judged_by_their_key_points_alone(name):
    skeleton = KNOWN[name]
    count, images = len(skeleton), 25
    annotations, results = crowd_of_people(images, 12, count)
    judged = CocoKeypointMetric(scoring="box", suppression=None)
    judged.start(DataInfo(("person",), skeleton=skeleton))
    judged.update(predictions_of(results, images, count), targets_of(annotations, images, count))
    values = judged.compute()
    for part, places in {"": range(count), **skeleton.places}.items():
        sigmas = [skeleton.spreads[i] for i in places]
        stats = referee(part_of(annotations, places), part_of(results, places), images, sigmas=sigmas)
        suffix = f"_{part}" if part else ""
        assert values[f"keypoint/AP{suffix}"] == pytest.approx(stats[0], abs=1e-6)
        assert values[f"keypoint/AR{suffix}"] == pytest.approx(stats[5], abs=1e-6)


def crowded(indices: list[float | None]) -> CrowdPoseMetric:
    """Of images with these crowd indices."""
    annotations, results = crowd_of_people(len(indices), 13)
    judged = CrowdPoseMetric(scoring="box", suppression=None)
    judged.start(INFO)
    targets = targets_of(annotations, len(indices))
    for target, index in zip(targets, indices, strict=True):
        if index is not None:
            target["crowd_index"] = index
    judged.update(predictions_of(results, len(indices)), targets)
    return judged


def test_images_are_judged_apart_by_how_crowded_they_are():
    indices = [0.0, 0.19, 0.2, 0.5, 0.79, 0.8, 0.95, 1.0] * 4
    values = crowded(list(indices)).compute()
    annotations, results = crowd_of_people(len(indices), 13)
    np.testing.assert_allclose(
        list(values.values())[:10], referee(annotations, results, len(indices)), atol=1e-6
    )
    for name, low, high in (("easy", 0, 0.2), ("medium", 0.2, 0.8), ("hard", 0.8, 2)):
        own = [i for i, index in enumerate(indices) if low <= index < high]
        stats = referee(annotations, results, len(indices), judged=own)
        assert values[f"keypoint/AP_{name}"] == pytest.approx(stats[0], abs=1e-6)


def test_without_crowded_images_their_number_is_unknown():
    values = crowded([0.1] * 8).compute()
    assert values["keypoint/AP_easy"] == pytest.approx(values["keypoint/AP"])
    assert math.isnan(values["keypoint/AP_hard"])


def test_images_without_a_crowd_index_are_told():
    with pytest.raises(DataError, match="image 3 has no crowd index; read the data by CrowdPose"):
        crowded([0.1, 0.5, 0.9, None, 0.1]).compute()


def test_other_key_points_than_annotated_are_told():
    annotations, _ = crowd_of_people(1, 11)
    prediction = {
        "keypoints": torch.zeros(1, 14, 2),
        "keypoint_scores": torch.zeros(1, 14),
        "scores": torch.ones(1),
        "labels": torch.zeros(1, dtype=torch.int64),
        "areas": torch.ones(1),
    }
    with pytest.raises(DataError, match="predicts 14 key points, annotated are 17"):
        metric().update([prediction], targets_of(annotations, 1))


def test_without_samples_nothing_is_measured():
    judged = metric()
    with pytest.warns(UserWarning, match="no sample was evaluated"):
        values = judged.compute()
    assert all(math.isnan(value) for value in values.values())
