"""Suppression of predictions that find the same object's key points twice."""

from __future__ import annotations

import numpy as np


def similarities(keypoints: np.ndarray, areas: np.ndarray, sigmas: np.ndarray) -> np.ndarray:
    """(N, N) OKS of each prediction with each, measured by the mean of their areas.

    Args:
        keypoints: (N, K, 2).
        areas: (N,) pixels.
        sigmas: (K,) spread of each key point.
    """
    delta = keypoints[:, None].astype(np.float64) - keypoints[None]
    distance = np.einsum("ijkc,ijkc->ijk", delta, delta)
    area = (areas[:, None] + areas[None]) / 2 + np.spacing(1)
    return np.exp(-distance / (2 * (2 * sigmas) ** 2) / area[..., None]).mean(axis=2)


def oks_nms(
    keypoints: np.ndarray, scores: np.ndarray, areas: np.ndarray, sigmas: np.ndarray, *, threshold: float
) -> np.ndarray:
    """Positions of the predictions that are kept, by falling score (Papandreou et al., 2017).

    Args:
        keypoints: (N, K, 2).
        scores: (N,).
        areas: (N,) pixels.
        sigmas: (K,) spread of each key point.
        threshold: largest similarity to a better prediction that is kept.
    """
    similar = similarities(keypoints, areas, sigmas) > threshold
    order = np.argsort(-scores, kind="stable")
    gone = np.zeros(len(scores), bool)
    kept = []
    for i in order.tolist():
        if not gone[i]:
            kept.append(i)
            gone |= similar[i]
    return np.array(kept, np.int64)


def soft_oks_nms(
    keypoints: np.ndarray,
    scores: np.ndarray,
    areas: np.ndarray,
    sigmas: np.ndarray,
    *,
    threshold: float,
    most: int = 20,
) -> tuple[np.ndarray, np.ndarray]:
    """Positions and new scores of the best ``most``: each lowers those of its like (Bodla et al., 2017).

    Scores are multiplied by exp(-OKS^2 / threshold). Other arguments as ``oks_nms``.
    """
    similar = similarities(keypoints, areas, sigmas)
    left = scores.astype(np.float64)
    kept: list[int] = []
    values: list[float] = []
    remaining = np.ones(len(scores), bool)
    while remaining.any() and len(kept) < most:
        best = int(np.where(remaining, left, -np.inf).argmax())
        kept.append(best)
        values.append(float(left[best]))
        remaining[best] = False
        left = np.where(remaining, left * np.exp(-(similar[best] ** 2) / threshold), left)
    return np.array(kept, np.int64), np.array(values)
