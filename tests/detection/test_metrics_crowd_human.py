"""CrowdHuman's numbers against slow evaluations that are written here from their definitions."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from omma_detection.metrics import CrowdHumanMetric

from .detections import judged, prediction, random_pairs, target
from .test_metrics_open_images import area, common, iou

PLACES = (0.01, 0.0178, 0.0316, 0.0562, 0.1, 0.1778, 0.3162, 0.5623, 1.0)


def pairs_of(seed):
    """Scenes with boxes over the edges of small images, and no two scores alike."""
    rng = np.random.default_rng(seed)
    pairs = random_pairs(seed, images=20, classes=1)
    for guess, truth in pairs:
        truth["height"], truth["width"] = 300, 280
        guess["scores"] = torch.from_numpy(np.sort(rng.random(len(guess["scores"])))[::-1].copy())
        truth["boxes"] -= 20
    return pairs


def cut(box, truth):
    x1, y1, x2, y2 = box
    width, height = truth["width"], truth["height"]
    corner = (min(max(x1, 0), width - 1), min(max(y1, 0), height - 1))
    return [*corner, max(min(x2, width), 0), max(min(y2, height), 0)]


def parts(guess, truth):
    boxes = [cut(box, truth) for box in truth["boxes"].double().tolist()]
    people = [box for box, crowd in zip(boxes, truth["crowd"].tolist()) if not crowd]
    regions = [box for box, crowd in zip(boxes, truth["crowd"].tolist()) if crowd]
    found = [(float(s), cut(b, truth)) for s, b in zip(guess["scores"], guess["boxes"].double().tolist())]
    return found, people, regions


def inside(box, regions):
    return any(area(box) > 0 and common(box, region) / area(box) > 0.5 for region in regions)


def ranked(pairs):
    """Right or wrong of what counts, by falling score, and the number of people."""
    out, total = [], 0
    for guess, truth in pairs:
        found, people, regions = parts(guess, truth)
        total += len(people)
        free = set(range(len(people)))
        for score, box in sorted(found, key=lambda each: -each[0]):
            overlaps = {j: iou(box, people[j]) for j in free}
            best = max(overlaps, key=lambda j: overlaps[j], default=None)
            if best is not None and overlaps[best] > 0.5:
                free.remove(best)
                out.append((score, True))
            elif not inside(box, regions):
                out.append((score, False))
    return [right for _, right in sorted(out, key=lambda each: -each[0])], total


def slow_precision(hits, total):
    points = [(sum(hits[:n]) / total, sum(hits[:n]) / n) for n in range(1, len(hits) + 1)]
    return sum((b[0] - a[0]) * (a[1] + b[1]) / 2 for a, b in itertools.pairwise(points))


def slow_miss_rate(hits, total, images):
    rates = []
    for place in PLACES:
        for n in range(1, len(hits) + 1):
            if (n - sum(hits[:n])) / images >= place or n == len(hits):
                rates.append(1 - sum(hits[:n]) / total)
                break
    return math.exp(sum(math.log(rate) for rate in rates) / len(rates))


def most_pairs(near, row=0, taken=frozenset()):
    """Size of the largest matching, by trying everything."""
    if row == len(near):
        return 0
    best = most_pairs(near, row + 1, taken)
    for column, close in enumerate(near[row]):
        if close and column not in taken:
            best = max(best, 1 + most_pairs(near, row + 1, taken | {column}))
    return best


def slow_jaccard(pairs, threshold):
    """Without ignored regions, where it depends on nothing but the size of the matching."""
    ratios = []
    for guess, truth in pairs:
        found, people, _ = parts(guess, truth)
        boxes = [box for score, box in found if score > threshold]
        shared = most_pairs([[iou(box, other) >= 0.5 for other in people] for box in boxes])
        if boxes or people:
            ratios.append(shared / (len(boxes) + len(people) - shared))
    return sum(ratios) / len(ratios)


def measured(pairs):
    return judged(CrowdHumanMetric(), pairs, ("person",)).compute()


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_precision_and_miss_rate_are_those_of_their_definitions(seed):
    pairs = pairs_of(seed)
    hits, total = ranked(pairs)
    values = measured(pairs)
    assert values["crowd/AP"] == pytest.approx(slow_precision(hits, total), abs=1e-9)
    assert values["crowd/MR"] == pytest.approx(slow_miss_rate(hits, total, len(pairs)), abs=1e-9)


@pytest.mark.parametrize("seed", [0, 1])
def test_the_jaccard_index_is_that_of_the_largest_matching(seed):
    pairs = pairs_of(seed)
    for _, truth in pairs:
        truth["crowd"][:] = False
    best = max(slow_jaccard(pairs, step / 10) for step in range(10))
    assert measured(pairs)["crowd/JI"] == pytest.approx(best, abs=1e-9)


def test_what_lies_in_an_ignored_region_counts_neither_way():
    truth = target(0, [[0, 0, 20, 20], [40, 40, 90, 90], [45, 45, 60, 60]], [0, 0, 0], [False, True, False])
    guess = prediction([[0, 0, 20, 20], [42, 42, 80, 80], [70, 10, 90, 20]], [0.9, 0.8, 0.05], [0, 0, 0])
    # The second person is missed inside the region, the last prediction is left out from 0.1 on.
    assert measured([(guess, truth)])["crowd/JI"] == pytest.approx(1.0)


def test_bodies_are_compared_by_what_lies_inside_the_image():
    truth = target(0, [[-50, 0, 50, 100]], [0])
    boxes = truth["boxes"].clone()
    guess = prediction([[0, 0, 50, 100]], [0.95], [0])
    values = measured([(guess, truth)])
    assert values["crowd/JI"] == 1
    assert values["crowd/MR"] == 0
    assert torch.equal(truth["boxes"], boxes)


def test_without_anyone_to_find_the_numbers_are_nan():
    with pytest.warns(UserWarning, match="none of the 1 images has an object"):
        values = measured([(prediction([[0, 0, 9, 9]], [0.5], [0]), target(0))])
    assert all(math.isnan(value) for value in values.values())


def test_a_model_that_finds_nobody_misses_all():
    with pytest.warns(UserWarning, match="predicts nothing"):
        values = measured([(prediction(), target(0, [[0, 0, 9, 9]], [0]))])
    assert values == {"crowd/AP": 0, "crowd/MR": 1, "crowd/JI": 0}


def test_the_report_has_the_curve_of_misses():
    metric = judged(CrowdHumanMetric(), pairs_of(0), ("person",))
    (curves,) = metric.report().curves
    false, missed = curves.lines["person"]
    assert len(false) == len(missed) > 0
    assert missed == sorted(missed, reverse=True)
