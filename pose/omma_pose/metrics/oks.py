"""Object key point similarity, and average precision under it (Lin et al., COCO).

All images are judged at once: the ranks of their predictions one after the other, in every image, area range
and threshold side by side. The numbers are pycocotools'.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0.0, 1.0, 101)
AREAS = {"": (0.0, 1e10), "m": (32.0**2, 96.0**2), "l": (96.0**2, 1e10)}
"""Ranges of objects that are judged apart, square pixels, by what their numbers end in."""
MOST = 20
"""Predictions of an image that count, the best ones."""
_PAIRS = 1 << 17  # of predictions and objects that are compared at a time
_IMAGES = 1 << 11  # that are matched at a time


@dataclass(frozen=True)
class Objects:
    """G annotated objects of one class, in the order of their images."""

    image: np.ndarray  # (G,) int64
    keypoints: np.ndarray  # (G, K, 2) float64
    labelled: np.ndarray  # (G, K) bool
    boxes: np.ndarray  # (G, 4) xyxy
    area: np.ndarray  # (G,) pixels
    crowd: np.ndarray  # (G,) bool


@dataclass(frozen=True)
class Found:
    """D predictions of one class, in any order."""

    image: np.ndarray  # (D,) int64
    keypoints: np.ndarray  # (D, K, 2)
    score: np.ndarray  # (D,)


@dataclass(frozen=True)
class Precision:
    """What one class achieves."""

    precision: np.ndarray
    """(areas, thresholds, recalls); NaN where there is no object."""
    recall: np.ndarray
    """(areas, thresholds), likewise."""


def similarity(
    keypoints: np.ndarray,
    true: np.ndarray,
    labelled: np.ndarray,
    boxes: np.ndarray,
    area: np.ndarray,
    sigmas: np.ndarray,
) -> np.ndarray:
    """(P,) OKS of P pairs: the mean over labelled key points of exp(-d^2 / (2 area (2 sigma)^2)).

    Objects without a labelled key point are compared by how far key points lie beyond thrice their box.

    Args:
        keypoints: (P, K, 2) predicted.
        true: (P, K, 2) annotated.
        labelled: (P, K) bool.
        boxes: (P, 4) xyxy of the annotated objects.
        area: (P,) of them, pixels.
        sigmas: (K,) spread of each key point.
    """
    scale = 1.0 / (2 * (2 * sigmas) ** 2)
    delta = keypoints.astype(np.float64) - true
    none = np.logical_not(labelled.any(axis=1))
    if none.any():
        sides = boxes[none, 2:] - boxes[none, :2]
        low, high = (boxes[none, :2] - sides)[:, None], (boxes[none, :2] + 2 * sides)[:, None]
        points = keypoints[none]
        delta[none] = np.maximum(0, low - points) + np.maximum(0, points - high)
    distance = np.einsum("pkc,pkc->pk", delta, delta)
    value = np.exp(-distance * scale / (area + np.spacing(1))[:, None])
    counted = labelled | none[:, None]
    return np.where(counted, value, 0).sum(axis=1) / counted.sum(axis=1)


def evaluate(objects: Objects, found: Found, sigmas: np.ndarray) -> Precision:
    """Precision over recall of all predictions, the best ``MOST`` of each image."""
    found = _best(found)
    matched, ignored = _match(objects, found, sigmas)
    order = np.argsort(-found.score, kind="stable")
    matched, ignored = matched[order], ignored[order]
    counts = (~_ignored(objects)).sum(axis=0).tolist()
    precision = np.full((len(AREAS), len(THRESHOLDS), len(RECALLS)), np.nan)
    recall = np.full((len(AREAS), len(THRESHOLDS)), np.nan)
    for a, count in enumerate(counts):
        for t in range(len(THRESHOLDS) if count else 0):
            counted = ~ignored[:, a, t]
            precision[a, t], recall[a, t] = _curve(matched[counted, a, t], count)
    return Precision(precision, recall)


def _curve(right: np.ndarray, count: int) -> tuple[np.ndarray, float]:
    """Precision at each of ``RECALLS``, and the recall of all."""
    true = right.cumsum()
    recall, precision = true / count, true / (np.arange(1, len(true) + 1) + np.spacing(1))
    falling = np.maximum.accumulate(precision[::-1])[::-1]
    places = np.searchsorted(recall, RECALLS, side="left")
    out = np.zeros(len(RECALLS))
    reached = places < len(falling)
    out[reached] = falling[places[reached]]
    return out, float(recall[-1]) if len(recall) else 0.0


def _best(found: Found) -> Found:
    """Sorted by image, in each by falling score, and no more than ``MOST`` of it."""
    order = np.lexsort((-found.score, found.image))
    image = found.image[order]
    order = order[_ranks(image) < MOST]
    return Found(found.image[order], found.keypoints[order], found.score[order])


def _ranks(image: np.ndarray) -> np.ndarray:
    """Position of each row among those of its image; rows are sorted by image."""
    _, first, counts = np.unique(image, return_index=True, return_counts=True)
    return np.arange(len(image)) - np.repeat(first, counts)


def _ignored(objects: Objects) -> np.ndarray:
    """(G, areas) bool: crowds, objects without key points, and those of another size."""
    unfit = objects.crowd | ~objects.labelled.any(axis=1)
    ranges = np.array(list(AREAS.values()))
    beyond = (objects.area[:, None] < ranges[:, 0]) | (objects.area[:, None] > ranges[:, 1])
    return unfit[:, None] | beyond


def _match(objects: Objects, found: Found, sigmas: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Whether each prediction hits an object, and whether it counts: (D, areas, thresholds) bool each."""
    spread = found.keypoints.max(axis=1, initial=-np.inf) - found.keypoints.min(axis=1, initial=np.inf)
    size = np.where(np.isfinite(spread), spread, 0).prod(axis=1)
    ranges = np.array(list(AREAS.values()))
    beyond = (size[:, None] < ranges[:, 0]) | (size[:, None] > ranges[:, 1])
    shape = (len(found.score), len(AREAS), len(THRESHOLDS))
    matched, ignored = np.zeros(shape, bool), np.broadcast_to(beyond[..., None], shape).copy()
    images, first, counts = np.unique(objects.image, return_index=True, return_counts=True)
    begin = np.searchsorted(found.image, images, side="left")
    predicted = np.searchsorted(found.image, images, side="right") - begin
    # Images of as many objects together, so that little is padded.
    order = np.argsort(counts, kind="stable")
    order = order[predicted[order] > 0]
    for chunk in np.split(order, range(_IMAGES, len(order), _IMAGES)):
        if len(chunk):
            rows = _Rows(begin[chunk], predicted[chunk], first[chunk], counts[chunk])
            _match_images(objects, found, sigmas, rows, matched, ignored)
    return matched, ignored


@dataclass(frozen=True)
class _Rows:
    """Where the predictions and the objects of some images lie."""

    begin: np.ndarray
    predicted: np.ndarray
    first: np.ndarray
    counts: np.ndarray


def _match_images(
    objects: Objects,
    found: Found,
    sigmas: np.ndarray,
    rows: _Rows,
    matched: np.ndarray,
    ignored: np.ndarray,
) -> None:
    most = int(rows.counts.max())
    places = rows.first[:, None] + np.minimum(np.arange(most), rows.counts[:, None] - 1)  # (I, G)
    there = np.arange(most) < rows.counts[:, None]
    crowd = objects.crowd[places][:, None, None]
    # (I, areas, 1, G): thresholds share what is ignored.
    unfit = _ignored(objects)[places].transpose(0, 2, 1)[:, :, None]
    taken = np.zeros((len(places), len(AREAS), len(THRESHOLDS), most), bool)
    limit = np.minimum(THRESHOLDS, 1 - 1e-10)[:, None]
    for rank in range(int(rows.predicted.max())):
        images = np.flatnonzero(rows.predicted > rank)
        numbers = rows.begin[images] + rank
        value = np.where(there[images], _pairs(objects, found, sigmas, numbers, places[images]), -1.0)
        free = (value[:, None, None] >= limit) & (~taken[images] | crowd[images])
        fit = free & ~unfit[images]
        # An object that counts goes before any that doesn't, however similar that is.
        chosen = np.where(fit.any(-1, keepdims=True), fit, free)
        best = most - 1 - np.where(chosen, value[:, None, None], -1.0)[..., ::-1].argmax(-1)
        hit = chosen.any(-1)
        matched[numbers] = hit
        wide = np.broadcast_to(unfit[images], chosen.shape)
        doubtful = np.take_along_axis(wide, best[..., None], -1)[..., 0]
        ignored[numbers] = np.where(hit, doubtful, ignored[numbers])
        i, a, t = np.nonzero(hit)
        taken[images[i], a, t, best[i, a, t]] = True


def _pairs(
    objects: Objects, found: Found, sigmas: np.ndarray, numbers: np.ndarray, places: np.ndarray
) -> np.ndarray:
    """(M, G) similarity of M predictions with the G objects at ``places`` (M, G) each."""
    rows, columns = np.repeat(numbers, places.shape[1]), places.ravel()
    out = np.empty(len(rows))
    for start in range(0, len(rows), _PAIRS):
        part = slice(start, start + _PAIRS)
        there = columns[part]
        out[part] = similarity(
            found.keypoints[rows[part]],
            objects.keypoints[there],
            objects.labelled[there],
            objects.boxes[there],
            objects.area[there],
            sigmas,
        )
    return out.reshape(places.shape)
