"""LVIS numbers against a slow evaluation that is written here from its definition."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from pycocotools import mask as coco_mask

from omma.errors import DataError
from omma.structures import DataInfo
from omma_detection.metrics import LvisMetric

from .detections import prediction, random_pairs, target

CLASSES = ("a", "b", "c", "d", "e")
GROUPS = {"r": (0, 3), "c": (1,), "f": (2, 4)}
IOUS = np.linspace(0.5, 0.95, 10)
RANGES = {"": (0, 1e10), "s": (0, 32**2), "m": (32**2, 96**2), "l": (96**2, 1e10)}


def federated_pairs(seed: int, *, masks: bool = False):
    """Random scenes of five classes, of which some are absent, some partial and most not looked for."""
    rng = np.random.default_rng(seed)
    pairs = []
    for guess, truth in random_pairs(seed, images=16, classes=len(CLASSES)):
        there = set(truth["labels"].tolist())
        absent = [label for label in range(5) if label not in there and rng.random() < 0.4]
        partial = [label for label in there if rng.random() < 0.4]
        truth |= {"absent": torch.tensor(absent).long(), "partial": torch.tensor(partial).long()}
        truth["crowd"] = torch.zeros_like(truth["crowd"])
        if masks:
            guess["masks"] = filled(guess["boxes"])
            truth["segmentations"] = [encoded(mask) for mask in filled(truth["boxes"])]
            truth["area"] = torch.tensor([coco_mask.area(s) for s in truth["segmentations"]]).float()
        pairs.append((guess, truth))
    return pairs


def filled(boxes):
    """(N, 512, 512) bool: the ellipse-like lower triangles of boxes, so that masks aren't boxes."""
    out = torch.zeros(len(boxes), 512, 512, dtype=torch.bool)
    for mask, (x1, y1, x2, y2) in zip(out, boxes.round().int().clamp(0, 512).tolist()):
        mask[y1:y2, x1:x2] = torch.ones(max(y2 - y1, 0), max(x2 - x1, 0)).tril() > 0
    return out


def encoded(mask):
    return coco_mask.encode(np.asfortranarray(mask.numpy().astype(np.uint8)))


def overlap(guess, truth, i, j, kind):
    if kind == "mask":
        a, b = guess["masks"][i], torch.from_numpy(coco_mask.decode(truth["segmentations"][j])).bool()
        union = float((a | b).sum())
        return float((a & b).sum()) / union if union else 0.0
    a, b = guess["boxes"][i].double().tolist(), truth["boxes"][j].double().tolist()
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    common = max(width, 0) * max(height, 0)
    return common / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - common)


def size_of(guess, i, kind):
    if kind == "mask":
        return float(guess["masks"][i].sum())
    a = guess["boxes"][i].double().tolist()
    return (a[2] - a[0]) * (a[3] - a[1])


def outcomes(guess, truth, label, threshold, low, high, limit):
    """(score, right or wrong) of what counts in one image, and the number of objects that count."""
    best = sorted(range(len(guess["scores"])), key=lambda i: -float(guess["scores"][i]))[:limit]
    objects = [j for j in range(len(truth["labels"])) if int(truth["labels"][j]) == label]
    if not objects and label not in truth["absent"].tolist():
        return [], 0
    counts = {j: low <= float(truth["area"][j]) <= high for j in objects}
    free, found = set(objects), []
    for i in (i for i in best if int(guess["labels"][i]) == label):
        for group in (True, False):  # an object of the right size comes before one that doesn't count
            near = [(guess["overlaps"][i][j], j) for j in sorted(free) if counts[j] is group]
            near = [(iou, j) for iou, j in near if iou >= threshold]
            if near:
                taken = max(near)[1]
                free.remove(taken)
                if group:
                    found.append((float(guess["scores"][i]), True))
                break
        else:
            outside = not low <= guess["sizes"][i] <= high
            if not outside and label not in truth["partial"].tolist():
                found.append((float(guess["scores"][i]), False))
    return found, sum(counts.values())


def average_precision(pairs, label, threshold, bounds, limit):
    found, total = [], 0
    for guess, truth in pairs:
        own, objects = outcomes(guess, truth, label, threshold, *bounds, limit)
        found, total = found + own, total + objects
    if not total:
        return math.nan, math.nan
    hits = np.cumsum([right for _, right in sorted(found, key=lambda each: -each[0])])
    precision, recall = hits / np.arange(1, len(hits) + 1), hits / total
    # The best precision at each recall from r on, for 101 levels r.
    at = [max(precision[recall >= r], default=0.0) for r in np.linspace(0, 1, 101)]
    return float(np.mean(at)), float(recall[-1]) if len(recall) else 0.0


def measured(guess, truth, kind):
    """The pair with all overlaps and sizes, so that each is computed once."""
    count, objects = len(guess["scores"]), len(truth["labels"])
    overlaps = [[overlap(guess, truth, i, j, kind) for j in range(objects)] for i in range(count)]
    return {**guess, "overlaps": overlaps, "sizes": [size_of(guess, i, kind) for i in range(count)]}


def slow(pairs, kind, limit=300):
    pairs = [(measured(guess, truth, kind), truth) for guess, truth in pairs]
    table = {
        (label, threshold, name): average_precision(pairs, label, threshold, bounds, limit)
        for label in range(len(CLASSES))
        for threshold in IOUS
        for name, bounds in RANGES.items()
    }

    def mean(which, labels=tuple(range(5)), ious=IOUS, area=""):
        values = [table[label, iou, area][which] for label in labels for iou in ious]
        return np.nanmean(values) if not np.isnan(values).all() else math.nan

    out = {"AP": mean(0), "AP50": mean(0, ious=IOUS[:1]), "AP75": mean(0, ious=IOUS[5:6])}
    out |= {f"AP{area}": mean(0, area=area) for area in "sml"}
    out |= {f"AP{group}": mean(0, labels=labels) for group, labels in GROUPS.items()}
    out |= {f"AR{limit}": mean(1)} | {f"AR{area}": mean(1, area=area) for area in "sml"}
    return {f"{kind}/{name}": value for name, value in out.items()}


def judged(pairs, **options):
    metric = LvisMetric(**options)
    metric.start(DataInfo(CLASSES, GROUPS))
    for guess, truth in pairs:
        metric.update([guess], [truth])
    return metric


@pytest.mark.parametrize("backend", ["faster", "pycocotools"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_boxes_are_judged_as_the_definition_says(seed, backend):
    pairs = federated_pairs(seed)
    found = judged(pairs, kinds=("box",), backend=backend).compute()
    assert found == pytest.approx(slow(pairs, "box"), abs=1e-9, nan_ok=True)


def test_masks_are_judged_as_the_definition_says():
    pairs = federated_pairs(3, masks=True)
    found = judged(pairs, kinds=("mask",)).compute()
    assert found == pytest.approx(slow(pairs, "mask"), abs=1e-9, nan_ok=True)


def test_the_limit_is_of_an_image_whatever_the_classes():
    pairs = federated_pairs(4)
    found = judged(pairs, kinds=("box",), max_detections=3).compute()
    assert found == pytest.approx(slow(pairs, "box", limit=3), abs=1e-9, nan_ok=True)


def scene(absent=(), partial=()):
    truth = target(0, [[0, 0, 50, 50]], [1])
    truth |= {"absent": torch.tensor(absent).long(), "partial": torch.tensor(partial).long()}
    boxes = [[60, 60, 90, 90], [60, 60, 90, 90], [0, 0, 50, 50]]
    return prediction(boxes, [0.9, 0.8, 0.7], [1, 2, 1]), truth


def test_a_false_detection_of_a_class_that_is_there_costs_precision():
    assert judged([scene()], kinds=("box",)).compute()["box/AP"] == pytest.approx(0.5, abs=1e-9)


def test_it_costs_nothing_where_not_all_objects_of_the_class_are_annotated():
    assert judged([scene(partial=[1])], kinds=("box",)).compute()["box/AP"] == pytest.approx(1)


def test_a_detection_without_area_does_not_count_there_either():
    guess, truth = scene(partial=[1])
    guess["boxes"][0] = torch.tensor([60.0, 60, 60, 90])
    assert judged([(guess, truth)], kinds=("box",)).compute()["box/AP"] == pytest.approx(1)


def test_predictions_of_classes_that_were_not_looked_for_are_not_kept():
    metric = judged([scene()], kinds=("box",))
    assert metric.records[0].labels.tolist() == [1, 1]
    assert judged([scene(absent=[2])], kinds=("box",)).records[0].labels.tolist() == [1, 2, 1]


def test_the_report_has_a_table_of_groups_and_one_of_classes():
    metric = judged(federated_pairs(0), kinds=("box",))
    values = metric.compute()
    groups, classes = metric.report().tables
    assert [row[0] for row in groups.rows] == ["rare", "common", "frequent"]
    assert groups.rows[0][1] == pytest.approx(values["box/APr"])
    assert len(classes.rows) == len(CLASSES)


def test_a_data_set_that_does_not_say_what_was_looked_for_is_refused():
    with pytest.raises(DataError, match="LvisDetection"):
        judged([(prediction(), target(0))], kinds=("box",))
