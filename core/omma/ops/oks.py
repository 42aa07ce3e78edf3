"""How alike predicted key points are, and suppression of those that find the same object's twice.

In numpy: predictions are on the CPU by then.
"""

from __future__ import annotations

import numpy as np


def pairwise_oks(
    a: np.ndarray, b: np.ndarray, areas_a: np.ndarray, areas_b: np.ndarray, sigmas: np.ndarray
) -> np.ndarray:
    """(A, B) object key point similarity (Lin et al., COCO) of predictions, measured by their mean area.

    Args:
        a: (A, K, 2) key points.
        b: (B, K, 2), likewise.
        areas_a: (A,) pixels.
        areas_b: (B,), likewise.
        sigmas: (K,) spread of each key point.
    """
    delta = a[:, None].astype(np.float64) - b[None]
    distance = np.einsum("ijkc,ijkc->ijk", delta, delta)
    area = (areas_a[:, None] + areas_b[None]) / 2 + np.spacing(1)
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
    similar = pairwise_oks(keypoints, keypoints, areas, areas, sigmas) > threshold
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
    similar = pairwise_oks(keypoints, keypoints, areas, areas, sigmas)
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
