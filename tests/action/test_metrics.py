"""Metrics of clips against their definitions, written out naively."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from omma.metrics import Metric
from omma.structures import DataInfo
from omma_action.metrics import ClipAccuracy, MultiLabelMAP

CLASSES = ("run", "jump", "fall", "wave")


def judged(metric: Metric, scores: list[list[float]], labels: list[list[int]]) -> Metric:
    metric.start(DataInfo(CLASSES))
    predictions = [{"class_scores": torch.tensor(row)} for row in scores]
    targets = [
        {"index": i, "path": f"{i}.mp4", "labels": torch.tensor(row, dtype=torch.int64)}
        for i, row in enumerate(labels)
    ]
    metric.update(predictions, targets)
    return metric


def test_top_k_counts_clips_whose_class_is_among_the_k_best():
    rng = np.random.default_rng(0)
    scores, labels = rng.random((50, 4)), rng.integers(0, 4, 50)
    values = judged(ClipAccuracy(top_k=(1, 2)), scores.tolist(), [[label] for label in labels]).compute()
    for k in (1, 2):
        best = [sorted(range(4), key=lambda c: -row[c])[:k] for row in scores]
        share = sum(label in top for label, top in zip(labels, best)) / 50
        assert values[f"acc/top{k}"] == pytest.approx(share)


def test_mean_class_accuracy_weighs_classes_alike_and_leaves_out_those_that_do_not_occur():
    scores = [[0.9, 0.1, 0, 0]] * 3 + [[0.2, 0.8, 0, 0]] * 2 + [[0.7, 0.3, 0, 0]]
    values = judged(ClipAccuracy(top_k=(1,)), scores, [[0], [0], [0], [1], [1], [1]]).compute()
    assert values["acc/mean1"] == pytest.approx((3 / 3 + 2 / 3) / 2)
    assert values["acc/top1"] == pytest.approx(5 / 6)


def test_a_model_without_an_opinion_is_right_about_the_first_class_alone():
    values = judged(ClipAccuracy(top_k=(1, 2)), [[0.25] * 4] * 4, [[0], [1], [2], [3]]).compute()
    assert values["acc/top1"] == 0.25
    assert values["acc/top2"] == 0.5


def test_scores_that_are_no_numbers_are_never_right():
    values = judged(ClipAccuracy(top_k=(1,)), [[0.1, math.nan, 0.2, 0.3]], [[1]]).compute()
    assert values["acc/top1"] == 0


def test_one_of_several_classes_is_enough():
    metric = judged(ClipAccuracy(top_k=(1,)), [[0.1, 0.7, 0.2, 0.0]], [[2, 1]])
    assert metric.compute()["acc/top1"] == 1


def test_confusions_count_clips_by_class_and_guess():
    metric = judged(ClipAccuracy(), [[1.0, 0, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0]], [[0], [1], [2]])
    assert isinstance(metric, ClipAccuracy)
    expected = np.zeros((4, 4))
    expected[0, 0] = expected[1, 0] = expected[2, 2] = 1
    assert (metric.confusions() == expected).all()
    report = metric.report()
    assert report.matrices[0].values[1] == [1, 0, 0, 0]
    assert report.tables[1].rows == [["jump", "run", 1]]
    assert [entry[0] for entry in report.rankings[0].entries] == [1]


def test_a_clip_without_a_class_is_an_error():
    with pytest.raises(ValueError, match=r"0\.mp4: has no class"):
        judged(ClipAccuracy(), [[1.0, 0, 0, 0]], [[]])


def naive_ap(scores: np.ndarray, there: np.ndarray) -> float:
    """Precision and recall at each distinct score as a threshold."""
    total, last = 0.0, 0.0
    for threshold in sorted(set(scores.tolist()), reverse=True):
        chosen = scores >= threshold
        recall = (chosen & there).sum() / there.sum()
        total += (recall - last) * (chosen & there).sum() / chosen.sum()
        last = recall
    return total


def test_average_precision_is_precision_over_the_steps_of_recall():
    rng = np.random.default_rng(1)
    scores = rng.integers(0, 6, (40, 4)) / 5  # with many ties
    there = rng.random((40, 4)) < 0.3
    there[:, 3] = False  # a class that doesn't occur
    metric = judged(MultiLabelMAP(), scores.tolist(), [np.flatnonzero(row).tolist() for row in there])
    values = metric.compute()
    scores = scores.astype(np.float32)
    assert values["mAP"] == pytest.approx(np.mean([naive_ap(scores[:, c], there[:, c]) for c in range(3)]))
    rows = [naive_ap(s, t) for s, t in zip(scores, there) if t.any()]
    assert values["mAP/clips"] == pytest.approx(np.mean(rows))
    assert [row[2] for row in metric.report().tables[0].rows] == there.sum(axis=0).tolist()


@pytest.mark.parametrize("metric", [ClipAccuracy(), MultiLabelMAP()], ids=["accuracy", "mAP"])
def test_of_nothing_there_is_no_number(metric: Metric):
    assert all(math.isnan(value) for value in judged(metric, [], []).compute().values())
    metric.report()
