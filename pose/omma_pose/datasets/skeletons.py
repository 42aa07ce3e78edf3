"""Known skeletons, in the order of published weights, and how a config names one."""

from __future__ import annotations

from pathlib import Path

from omma.errors import DataError
from omma.structures import Skeleton

# fmt: off
_COCO_NAMES = (
    "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder",
    "left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip", "left_knee",
    "right_knee", "left_ankle", "right_ankle",
)
COCO = Skeleton(
    names=_COCO_NAMES,
    bones=(
        ("left_ankle", "left_knee"), ("left_knee", "left_hip"), ("right_ankle", "right_knee"),
        ("right_knee", "right_hip"), ("left_hip", "right_hip"), ("left_shoulder", "left_hip"),
        ("right_shoulder", "right_hip"), ("left_shoulder", "right_shoulder"),
        ("left_shoulder", "left_elbow"), ("right_shoulder", "right_elbow"), ("left_elbow", "left_wrist"),
        ("right_elbow", "right_wrist"), ("left_eye", "right_eye"), ("nose", "left_eye"),
        ("nose", "right_eye"), ("left_eye", "left_ear"), ("right_eye", "right_ear"),
        ("left_ear", "left_shoulder"), ("right_ear", "right_shoulder"),
    ),
    sigmas=(
        0.026, 0.025, 0.025, 0.035, 0.035, 0.079, 0.079, 0.072, 0.072, 0.062, 0.062, 0.107, 0.107, 0.087,
        0.087, 0.089, 0.089,
    ),
    upper=_COCO_NAMES[:11],
)
# fmt: on

KNOWN = {"coco": COCO}
"""Skeletons that a config may name."""


def skeleton_of(skeleton: Skeleton | str | None) -> Skeleton | None:
    """The skeleton that a config means: given as it is, a known one's name, or a YAML file; null stays null.

    A file has the fields of ``Skeleton``::

        names: [nose, left_eye, right_eye]
        bones: [[nose, left_eye], [nose, right_eye]]
        sigmas: [0.026, 0.025, 0.025]

    Raises:
        DataError: there is neither such a name nor such a file.
        ConfigError: the file says something else than a skeleton.
    """
    if skeleton is None or isinstance(skeleton, Skeleton):
        return skeleton
    if skeleton in KNOWN:
        return KNOWN[skeleton]
    if Path(skeleton).suffix not in (".yaml", ".yml") or not Path(skeleton).is_file():
        raise DataError(
            f"skeleton: expected one of {', '.join(KNOWN)} or a YAML file with its names, got '{skeleton}'"
        )
    from omma.config import Config, check

    return check(Config.load(skeleton), Skeleton).build()
