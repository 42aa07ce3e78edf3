"""Which frames of a skeleton are looked at, and how many persons."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch

from omma.data.transforms.base import choose, uniform
from omma.registry import register
from omma_action.transforms.skeleton import SkeletonTransform, present

_TEST_SEED = 255
"""The published scores were measured on the frames that this seed draws."""


@register
class UniformFrames(SkeletonTransform):
    """One frame of each of as many equal parts of the sequence, drawn at random (Duan et al., CVPR 2022).

    Sequences that are too short are repeated; those less than twice as long leave some frames out.

    Args:
        frames: how many.
        clips: views that are drawn.
        fixed: draw the same frames of a sequence each time, for tests.

    Raises:
        ValueError: a number isn't positive.
    """

    def __init__(self, *, frames: int, clips: int = 1, fixed: bool = False) -> None:
        if min(frames, clips) < 1:
            raise ValueError(f"frames and clips must be at least 1, got {frames} and {clips}")
        self.frames, self.clips, self.fixed = frames, clips, fixed

    def change(self, joints: np.ndarray) -> np.ndarray:
        """(1, M, T, K, C) -> (clips, M, frames, K, C)."""
        total = joints.shape[2]
        if self.fixed:
            chosen = fixed_frames(total, self.frames, self.clips)
        else:
            chosen = np.stack([drawn_frames(total, self.frames) for _ in range(self.clips)])
        return joints[0][:, chosen].swapaxes(0, 1)


def drawn_frames(total: int, frames: int) -> np.ndarray:
    """(frames,) positions among ``total``."""
    if total < frames:
        return (choose(total) + np.arange(frames)) % total
    if total < 2 * frames:
        skipped = torch.randperm(frames + 1)[: total - frames].numpy()
        return _beside(skipped, frames)
    starts, sizes = _parts(total, frames)
    return starts + (torch.rand(frames).numpy() * sizes).astype(np.int64)


@lru_cache(maxsize=4096)
def fixed_frames(total: int, frames: int, clips: int) -> np.ndarray:
    """(clips, frames) positions among ``total``, as OpenMMLab's tests draw them."""
    rng, chosen = np.random.RandomState(_TEST_SEED), []
    for clip in range(clips):
        if total < frames:
            start = clip if total < clips else clip * total // clips
            chosen.append((start + np.arange(frames)) % total)
        elif total < 2 * frames:
            chosen.append(_beside(rng.choice(frames + 1, total - frames, replace=False), frames))
        else:
            starts, sizes = _parts(total, frames)
            chosen.append(starts + rng.randint(sizes))
    return np.stack(chosen)


def _beside(skipped: np.ndarray, frames: int) -> np.ndarray:
    """Rising positions that leave one out before each of the ``skipped``."""
    jumps = np.zeros(frames + 1, np.int64)
    jumps[skipped] = 1
    return np.arange(frames) + jumps.cumsum()[:-1]


def _parts(total: int, frames: int) -> tuple[np.ndarray, np.ndarray]:
    """First position and size of equal parts."""
    edges = np.arange(frames + 1) * total // frames
    return edges[:-1], np.diff(edges)


@register
class ResampleFrames(SkeletonTransform):
    """A stretch of the sequence at another speed: frames at equal distances, in between by interpolation.

    Args:
        frames: how many.
        share: range of the length of the stretch, as a share of the sequence, from which it is drawn.
        clips: null: one stretch drawn at random; else so many of the mean share, spread evenly, for tests.

    Raises:
        ValueError: a number is out of its range.
    """

    def __init__(
        self, *, frames: int, share: tuple[float, float] = (1.0, 1.0), clips: int | None = None
    ) -> None:
        if frames < 1 or not 0 < share[0] <= share[1] <= 1 or (clips is not None and clips < 1):
            raise ValueError(
                "need frames and clips of at least 1 and a rising share in 0..1, got "
                f"{frames}, {clips} and {share}"
            )
        self.frames, self.share, self.clips = frames, share, clips

    def change(self, joints: np.ndarray) -> np.ndarray:
        """(1, M, T, K, C) -> (clips, M, frames, K, C)."""
        last = joints.shape[2] - 1
        if self.clips is None:
            length = uniform(*self.share) * last
            starts = np.array([uniform(0, last - length)])
        else:
            length = sum(self.share) / 2 * last
            starts = np.linspace(0, last - length, self.clips) if self.clips > 1 else (last - length) / 2
        places = np.reshape(starts, (-1, 1)) + np.linspace(0, length, self.frames)
        low = np.floor(places).astype(np.int64).clip(0, last)
        high = (low + 1).clip(max=last)
        weight = (places - low).astype(np.float32)[:, :, None, None]
        before, after = joints[0][:, low], joints[0][:, high]  # (M, clips, frames, K, C)
        # Between a frame with a joint and one without it there is no joint.
        there = (present(before) & present(after))[..., None]
        mixed = before * (1 - weight) + after * weight
        return np.where(there | (weight == 0), mixed, 0).swapaxes(0, 1)


@register
class PadPersons(SkeletonTransform):
    """The first persons, or zeros where there are fewer.

    Args:
        persons: how many.
    """

    def __init__(self, *, persons: int = 2) -> None:
        if persons < 1:
            raise ValueError(f"persons must be at least 1, got {persons}")
        self.persons = persons

    def change(self, joints: np.ndarray) -> np.ndarray:
        """(V, M, T, K, C) -> (V, persons, T, K, C)."""
        views, there, *rest = joints.shape
        if there >= self.persons:
            return joints[:, : self.persons]
        out = np.zeros((views, self.persons, *rest), np.float32)
        out[:, :there] = joints
        return out


@register
class FillMissing(SkeletonTransform):
    """Joints that weren't found in a frame, on a line between the frames before and after with them.

    Before the first and after the last frame with a joint it stays where it is there. Joints that are never
    found stay zero.

    Args:
        threshold: with x, y and score, joints of at most this score are not found; null: only zeros are.
    """

    def __init__(self, *, threshold: float | None = None) -> None:
        self.threshold = threshold

    def change(self, joints: np.ndarray) -> np.ndarray:
        """(V, M, T, K, C), with as many of the persons' joints as can be found."""
        found = present(joints)
        if self.threshold is not None:
            found = joints[..., 2] > self.threshold
        seen = np.any(found, axis=2, keepdims=True)
        if (found | ~seen).all():
            return joints
        out, times = joints.copy(), np.arange(joints.shape[2])
        for view, person, joint in np.argwhere(seen[:, :, 0] & np.any(~found, axis=2)):
            there = found[view, person, :, joint]
            for column in out[view, person, :, joint].T:
                column[~there] = np.interp(times[~there], times[there], column[there])
        return out
