"""Volumes of joints and limbs against their formula, pixel by pixel."""

from __future__ import annotations

import math

import numpy as np
import pytest

from omma_action.layouts import LAYOUTS
from omma_action.transforms import FlipPose, PoseHeatmaps

from .poses import joints_of, sample

SIGMA = 0.6


def naive(kind: str, joints: np.ndarray, canvas: tuple[int, int]) -> np.ndarray:
    """(K, T, H, W) of joints (M, T, K, 3) in float64."""
    layout, (height, width) = LAYOUTS["coco"], canvas
    ends = [(j, j) for j in range(17)] if kind == "joint" else list(layout.limbs)
    volume = np.zeros((len(ends), joints.shape[1], height, width))
    for person in joints.astype(np.float64):
        for t, frame in enumerate(person):
            for k, (a, b) in enumerate(ends):
                start, end = frame[a, :2], frame[b, :2]
                score = min(frame[a, 2], frame[b, 2])
                if ((end - start) ** 2).sum() < 1:
                    end, score = start, frame[a, 2]
                reach = 3 * SIGMA
                columns = range(
                    max(int(min(start[0], end[0]) - reach), 0),
                    min(int(max(start[0], end[0]) + reach) + 1, width),
                )
                rows = range(
                    max(int(min(start[1], end[1]) - reach), 0),
                    min(int(max(start[1], end[1]) + reach) + 1, height),
                )
                for y in rows:
                    for x in columns:
                        value = score * math.exp(-(distance((x, y), start, end) ** 2) / (2 * SIGMA**2))
                        volume[k, t, y, x] = max(volume[k, t, y, x], value)
    return volume


def distance(point: tuple[int, int], start: np.ndarray, end: np.ndarray) -> float:
    """Of a point from a line between two ends."""
    along, offset = end - start, np.array(point) - start
    length = (along**2).sum()
    share = min(max(float(offset @ along / length), 0), 1) if length else 0
    return float(np.linalg.norm(offset - share * along))


@pytest.mark.parametrize("kind", ["joint", "limb"])
def test_volume_is_the_formula(kind):
    made = sample(persons=2, frames=2, canvas=(14, 18))
    made["skeleton"][0, 0, 0, 3, 2] = 0
    made["skeleton"][0, 0, 0, 1, :2] = made["skeleton"][0, 0, 0, 0, :2] + 0.5
    made["skeleton"][0, 1, 1, :, 0] -= 9  # some lie beside the canvas
    volume = PoseHeatmaps(layout="coco", kind=kind, sigma=SIGMA)(made)["volume"].numpy()
    expected = naive(kind, joints_of(made)[0], (14, 18))
    assert volume.shape == (1, 17, 2, 14, 18)
    assert volume.dtype == np.float32
    # float32 decides whether a window's edge or a pixel's length is just reached.
    assert np.mean(np.abs(volume[0] - expected) < 1e-4) > 0.999
    assert np.abs(volume[0] - expected).max() < 0.02


def test_nobody_gives_an_empty_volume():
    made = sample()
    made["skeleton"].zero_()
    assert not PoseHeatmaps(layout="coco")(made)["volume"].any()


def test_scores_can_be_left_aside():
    made = sample(frames=1, canvas=(40, 40))
    made["skeleton"][0, 0, 0, :, :2] = 20
    volume = PoseHeatmaps(layout="coco", scored=False)(made)["volume"]
    assert (volume.amax(dim=(0, 2, 3, 4)) == 1).all()


@pytest.mark.parametrize("kind", ["joint", "limb"])
def test_mirrored_view_is_the_volume_of_the_mirrored_pose(kind):
    made = sample(frames=2, canvas=(14, 18))
    made["skeleton"][..., :2] = made["skeleton"][..., :2].round()
    both = PoseHeatmaps(layout="coco", kind=kind, mirrored=True)(made)["volume"]
    assert both.shape[0] == 2
    turned = FlipPose(layout="coco", prob=1)(made)
    # A pixel's centre is mirrored to W - 1 - x, a joint's x to W - x.
    turned["skeleton"][..., 0] -= 1
    alone = PoseHeatmaps(layout="coco", kind=kind)(turned)["volume"]
    np.testing.assert_allclose(both[1], alone[0], atol=0.02)


def test_other_things_pass_and_the_skeleton_goes():
    found = PoseHeatmaps(layout="coco")(sample())
    assert set(found) == {"canvas", "labels", "meta", "volume"}


def test_layouts_without_limbs_are_told():
    with pytest.raises(ValueError, match="no limbs of the layout 'openpose'"):
        PoseHeatmaps(layout="openpose", kind="limb")
