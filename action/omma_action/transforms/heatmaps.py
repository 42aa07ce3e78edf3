"""Volumes of heatmaps of joints or limbs (Duan et al., PoseC3D, CVPR 2022)."""

from __future__ import annotations

from typing import Any, Literal, cast

import numpy as np
import torch

from omma.data.transforms import Transform
from omma.registry import register
from omma.structures import Sample
from omma_action.layouts import LAYOUTS, LayoutName

_LEAST_SCORE = 1e-4
_REACH = 3
"""Bumps end so many deviations away from where they are highest."""


@register
class PoseHeatmaps(Transform):
    """Draws joints (x, y, score) of all persons into maps of ``canvas``: bumps as high as the score.

    Args:
        layout: which joints these are, and which limbs there are.
        kind: one map per joint, or one per limb, as high as the lower score of its ends.
        sigma: deviation of a bump, pixels.
        scored: whether bumps are as high as the score; else 1.
        mirrored: add each view in a mirror, for tests.

    Raises:
        ValueError: limbs are wanted, but none are known.
    """

    def __init__(
        self,
        *,
        layout: LayoutName,
        kind: Literal["joint", "limb"] = "joint",
        sigma: float = 0.6,
        scored: bool = True,
        mirrored: bool = False,
    ) -> None:
        if sigma <= 0:
            raise ValueError(f"sigma must be above 0, got {sigma}")
        self.layout, self.kind, self.sigma = LAYOUTS[layout], kind, sigma
        self.scored, self.mirrored = scored, mirrored
        if kind == "limb" and not self.layout.limbs:
            raise ValueError(f"no limbs of the layout '{layout}' are known")
        order = self.layout.mirror if kind == "joint" else self.layout.mirrored_limbs
        self.order = np.array(order)

    def __call__(self, sample: Sample) -> Sample:
        """The sample with ``volume`` (V, K, T, H, W) in place of ``skeleton``."""
        joints = sample["skeleton"].numpy()
        volume = self.volume(joints, sample["canvas"])
        if self.mirrored:
            volume = np.concatenate([volume, volume[:, self.order, :, :, ::-1]])
        rest: dict[str, Any] = {key: value for key, value in sample.items() if key != "skeleton"}
        return cast(Sample, {**rest, "volume": torch.from_numpy(volume)})

    def volume(self, joints: np.ndarray, canvas: tuple[int, int]) -> np.ndarray:
        """(V, K, T, H, W) float32 of joints (V, M, T, K, 3)."""
        scores = joints[..., 2] if self.scored else np.ones_like(joints[..., 2])
        starts = ends = joints[..., :2]
        if self.kind == "limb":
            first, second = np.array(self.layout.limbs).T
            starts, ends = starts[..., first, :], ends[..., second, :]
            # Of limbs shorter than a pixel one end is drawn, as high as its own score.
            short = ((ends - starts) ** 2).sum(axis=-1) < 1
            low = np.minimum(scores[..., first], scores[..., second])
            scores = np.where(short & (low >= _LEAST_SCORE), scores[..., first], low)
            ends = np.where(short[..., None], starts, ends)
        views, persons, frames, count = scores.shape
        maps = np.zeros((views, frames, count, *canvas), np.float32)
        for person in range(persons):
            draw_lines(maps, starts[:, person], ends[:, person], scores[:, person], self.sigma)
        return np.ascontiguousarray(maps.swapaxes(1, 2))


def draw_lines(
    maps: np.ndarray, starts: np.ndarray, ends: np.ndarray, heights: np.ndarray, sigma: float
) -> None:
    """Raise each map to a Gaussian of the distance from its line.

    Args:
        maps: (..., H, W) float32, changed in place.
        starts, ends: (..., 2) x and y of the ends in pixels; they are one for a point.
        heights: (...) on the line; maps of none stay as they are.
        sigma: deviation, pixels.
    """
    rows, columns = maps.shape[-2:]
    low = np.trunc(np.minimum(starts, ends) - _REACH * sigma).clip(0).reshape(-1, 2)
    high = np.trunc(np.maximum(starts, ends) + _REACH * sigma) + 1
    high = np.minimum(high.reshape(-1, 2), (columns, rows))
    drawn = (heights.ravel() >= _LEAST_SCORE) & (high > low).all(axis=1)
    if not drawn.any():
        return
    width, height = (high - low)[drawn].astype(np.int64).T
    # All pixels of all windows, one after the other: windows are small, and of different sizes.
    sizes = width * height
    line = np.repeat(np.arange(len(sizes)), sizes)
    inside = np.arange(len(line)) - np.repeat(sizes.cumsum() - sizes, sizes)
    row, column = np.divmod(inside, width[line])
    pixels = np.stack([column, row], axis=1) + low[drawn].astype(np.int64)[line]
    start, end = (points.reshape(-1, 2)[drawn].astype(np.float32) for points in (starts, ends))
    along = end - start
    length = np.maximum((along**2).sum(axis=1), 1e-6)
    offset = pixels - start[line]
    share = (offset * along[line]).sum(axis=1) / length[line]
    offset -= share.clip(0, 1)[:, None] * along[line]
    values = np.exp(-(offset**2).sum(axis=1) / (2 * sigma**2)) * heights.ravel()[drawn][line]
    flat = maps.reshape(-1)
    place = (np.flatnonzero(drawn)[line] * rows + pixels[:, 1]) * columns + pixels[:, 0]
    flat[place] = np.maximum(flat[place], values)
