"""Open Images' number against a slow evaluation that is written here from the challenge's rules."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from omma.structures import DataInfo
from omma_detection.metrics import OpenImagesMetric

from .detections import prediction, random_pairs, target

CLASSES = ("dog", "cat", "car", "animal", "thing")
ANCESTORS = {0: (3, 4), 1: (3,), 2: (4,)}


def verified_pairs(seed):
    rng = np.random.default_rng(seed)
    pairs = random_pairs(seed, images=20, classes=4)
    for _, truth in pairs:
        truth["absent"] = torch.tensor([i for i in range(5) if rng.random() < 0.3]).long()
    return pairs


def area(box):
    return max(box[2] - box[0], 0) * max(box[3] - box[1], 0)


def common(a, b):
    return area([max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])])


def iou(a, b):
    return common(a, b) / (area(a) + area(b) - common(a, b))


def of_class(labels, label, expand):
    return [
        i
        for i, own in enumerate(labels.tolist())
        if own == label or (expand and label in ANCESTORS.get(own, ()))
    ]


def outcomes(guess, truth, label, expand):
    """(score, right) of one class in one image, and the number of objects and groups."""
    true = of_class(truth["labels"], label, True)
    if not true and label not in truth["absent"].tolist():
        return [], 0
    boxes, found = truth["boxes"].double().tolist(), guess["boxes"].double().tolist()
    singles = [j for j in true if not truth["crowd"][j]]
    groups = {j: [] for j in true if truth["crowd"][j]}
    taken, out = set(), []
    mine = of_class(guess["labels"], label, expand)
    for i in sorted(mine, key=lambda i: -float(guess["scores"][i])):
        score = float(guess["scores"][i])
        best = max(singles, key=lambda j: iou(found[i], boxes[j]), default=None)
        if best is not None and iou(found[i], boxes[best]) >= 0.5 and best not in taken:
            taken.add(best)
            out.append((score, True))
            continue
        inside = {j: common(found[i], boxes[j]) / area(found[i]) for j in groups}
        around = max(inside, key=lambda j: inside[j], default=None)
        if around is not None and inside[around] >= 0.5:
            groups[around].append(score)
        else:
            out.append((score, False))
    out += [(max(scores), True) for scores in groups.values() if scores]
    return out, len(true)


def slow(pairs, expand=True):
    values = []
    for label in range(len(CLASSES)):
        found, total = [], 0
        for guess, truth in pairs:
            own, objects = outcomes(guess, truth, label, expand)
            found, total = found + own, total + objects
        if not total:
            continue
        hits = [right for _, right in sorted(found, key=lambda each: -each[0])]
        precisions = [sum(hits[:n]) / n for n in range(1, len(hits) + 1)]
        # Each right prediction adds a step of recall, at the best precision from there on.
        values.append(sum(max(precisions[n:]) for n, right in enumerate(hits) if right) / total)
    return float(np.mean(values)) if values else math.nan


def judged(pairs, **options):
    metric = OpenImagesMetric(**options)
    metric.start(DataInfo(CLASSES, ancestors=ANCESTORS))
    for guess, truth in pairs:
        metric.update([guess], [truth])
    return metric


@pytest.mark.parametrize("expand", [True, False])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_boxes_are_judged_by_the_challenges_rules(seed, expand):
    pairs = verified_pairs(seed)
    # No two scores alike, so that the order of ties across images doesn't matter.
    rng = np.random.default_rng(seed)
    for guess, _ in pairs:
        guess["scores"] = torch.from_numpy(np.sort(rng.random(len(guess["scores"])))[::-1].copy())
    found = judged(pairs, expand=expand).compute()
    assert found == {"openimages/mAP50": pytest.approx(slow(pairs, expand), abs=1e-12)}


def scene(boxes, scores, labels, crowd=(False,), absent=()):
    truth = target(0, [[0, 0, 50, 50]], [3], crowd=list(crowd))
    truth["absent"] = torch.tensor(absent).long()
    return [(prediction(boxes, scores, labels), truth)]


def score(*arguments, **options):
    return judged(scene(*arguments, **options)).compute()["openimages/mAP50"]


def test_several_predictions_inside_a_group_are_one_right_one():
    boxes = [[0, 0, 9, 9], [20, 20, 30, 30], [60, 60, 90, 90]]
    assert score(boxes, [0.9, 0.8, 0.7], [3, 3, 3], crowd=[True]) == pytest.approx(1.0)


def test_a_dog_found_is_an_animal_found():
    assert score([[0, 0, 50, 50]], [0.9], [0]) == pytest.approx(1.0)


def test_predictions_of_classes_that_were_not_verified_do_not_count():
    boxes = [[60, 60, 90, 90], [0, 0, 50, 50]]
    assert score(boxes, [0.9, 0.8], [2, 3]) == pytest.approx(1.0)
    assert score(boxes, [0.9, 0.8], [1, 3]) == pytest.approx(0.5)


def test_without_verified_labels_all_classes_are_judged():
    guess, truth = scene([[60, 60, 90, 90], [0, 0, 50, 50]], [0.9, 0.8], [2, 2])[0]
    del truth["absent"]
    truth["labels"] = torch.tensor([4])
    assert judged([(guess, truth)]).compute()["openimages/mAP50"] == pytest.approx(0.5)


def test_the_report_tells_of_each_class():
    metric = judged(verified_pairs(0))
    values = metric.compute()
    (table,) = metric.report().tables
    assert [row[0] for row in table.rows] == list(CLASSES)
    assert np.nanmean([row[1] for row in table.rows]) == pytest.approx(values["openimages/mAP50"])
