"""What a network is told of each joint."""

from __future__ import annotations

from typing import Literal

import numpy as np

from omma.registry import register
from omma_action.layouts import LAYOUTS, LayoutName
from omma_action.transforms.skeleton import SkeletonTransform

Feature = Literal["joint", "bone", "joint_motion", "bone_motion"]


@register
class SkeletonFeatures(SkeletonTransform):
    """Joints, bones, or their motion (Shi et al., 2s-AGCN, CVPR 2019); several side by side.

    A bone is a joint's place less that of its parent; motion is the next frame less this one, zero in the
    last. Scores of bones and of motion are the means of those they are made of.

    Args:
        layout: which joints these are.
        features: in the order of the numbers per joint that result.
        scored: whether the third number of a joint is a score; null: unless the layout is one in space.
    """

    def __init__(
        self, *, layout: LayoutName, features: tuple[Feature, ...] = ("joint",), scored: bool | None = None
    ) -> None:
        if not features:
            raise ValueError("features: expected at least one, got none")
        self.layout, self.features = LAYOUTS[layout], tuple(features)
        self.parents = np.array(self.layout.parents)
        self.scored = self.layout.spine is None if scored is None else scored

    def change(self, joints: np.ndarray) -> np.ndarray:
        """(V, M, T, K, C) -> (V, M, T, K, C * features)."""
        if self.features == ("joint",):
            return joints
        made = {"joint": joints}
        if any(feature.startswith("bone") for feature in self.features):
            made["bone"] = self._bones(joints)
        for source in ("joint", "bone"):
            if f"{source}_motion" in self.features:
                made[f"{source}_motion"] = self._motion(made[source])
        parts = [made[feature] for feature in self.features]
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=-1)

    def _bones(self, joints: np.ndarray) -> np.ndarray:
        starts = joints.take(self.parents, axis=-2)
        bones = joints - starts
        if self.scored:
            bones[..., 2] = (joints[..., 2] + starts[..., 2]) / 2
        return bones

    def _motion(self, values: np.ndarray) -> np.ndarray:
        motion = np.zeros_like(values)
        now, after = values[:, :, :-1], values[:, :, 1:]
        motion[:, :, :-1] = after - now
        if self.scored:
            motion[:, :, :-1, :, 2] = (now[..., 2] + after[..., 2]) / 2
        return motion
