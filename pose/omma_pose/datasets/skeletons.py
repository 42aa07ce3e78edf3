"""Known skeletons, in the order of published weights, and how a config names one."""

from __future__ import annotations

from itertools import pairwise
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
_SIDES = ("left", "right")
_FINGERS = ("thumb", "forefinger", "middle_finger", "ring_finger", "pinky_finger")
_TOES = ("big_toe", "small_toe", "heel")
_HAND_SIGMAS = (
    0.029, 0.022, 0.035, 0.037, 0.047, 0.026, 0.025, 0.024, 0.035, 0.018, 0.024, 0.022, 0.026, 0.017, 0.021,
    0.021, 0.032, 0.02, 0.019, 0.022, 0.031,
)
_FACE_SIGMAS = (
    0.042, 0.043, 0.044, 0.043, 0.040, 0.035, 0.031, 0.025, 0.020, 0.023, 0.029, 0.032, 0.037, 0.038, 0.043,
    0.041, 0.045, 0.013, 0.012, 0.011, 0.011, 0.012, 0.012, 0.011, 0.011, 0.013, 0.015, 0.009, 0.007, 0.007,
    0.007, 0.012, 0.009, 0.008, 0.016, 0.010, 0.017, 0.011, 0.009, 0.011, 0.009, 0.007, 0.013, 0.008, 0.011,
    0.012, 0.010, 0.034, 0.008, 0.008, 0.009, 0.008, 0.008, 0.007, 0.010, 0.008, 0.009, 0.009, 0.009, 0.007,
    0.007, 0.008, 0.011, 0.008, 0.008, 0.008, 0.01, 0.008,
)
# Rows of the face that a mirror reverses: jaw, brows, nostrils, eyes from above and below, lips.
_FACE_ROWS = (
    tuple(range(17)), tuple(range(17, 27)), tuple(range(31, 36)), (36, 37, 38, 39, 42, 43, 44, 45),
    (40, 41, 46, 47), tuple(range(48, 55)), tuple(range(55, 60)), tuple(range(60, 65)), (65, 66, 67),
)
# fmt: on


def _wholebody() -> Skeleton:
    """Body, feet, face and hands of COCO-WholeBody (Jin et al., ECCV 2020)."""
    hands = {
        side: [f"{side}_hand_root", *(f"{side}_{finger}{i}" for finger in _FINGERS for i in range(1, 5))]
        for side in _SIDES
    }
    feet = [f"{side}_{toe}" for side in _SIDES for toe in _TOES]
    face = [f"face-{i}" for i in range(68)]
    bones = [(f"{side}_ankle", f"{side}_{toe}") for side in _SIDES for toe in _TOES]
    for side in _SIDES:
        for finger in _FINGERS:
            chain = [f"{side}_wrist", *(f"{side}_{finger}{i}" for i in range(1, 5))]
            bones += pairwise(chain)
    swaps = [(name, name.replace("left", "right")) for name in (*_COCO_NAMES, *feet) if "left" in name]
    swaps += zip(hands["left"], hands["right"])
    for row in _FACE_ROWS:
        half = len(row) // 2
        swaps += [(face[a], face[b]) for a, b in zip(row[:half], row[::-1])]
    return Skeleton(
        names=(*_COCO_NAMES, *feet, *face, *hands["left"], *hands["right"]),
        bones=(*COCO.bones, *bones),
        swaps=tuple(swaps),
        sigmas=(
            *COCO.spreads,
            *(0.068, 0.066, 0.066, 0.092, 0.094, 0.094),
            *_FACE_SIGMAS,
            *_HAND_SIGMAS,
            *_HAND_SIGMAS,
        ),
        upper=COCO.upper,
        lower=(*_COCO_NAMES[11:], *feet),
    )


WHOLEBODY = _wholebody()
KNOWN = {"coco": COCO, "coco_wholebody": WHOLEBODY}
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
