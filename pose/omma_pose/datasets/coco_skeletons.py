"""COCO's skeleton, and those that go on from it: COCO-WholeBody's and Halpe's, with feet, faces and hands."""

from __future__ import annotations

from itertools import pairwise

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
    weights=(1, 1, 1, 1, 1, 1, 1, 1.2, 1.2, 1.5, 1.5, 1, 1, 1.2, 1.2, 1.5, 1.5),
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


_FACE = tuple(f"face-{i}" for i in range(68))


def _hand(side: str) -> tuple[str, ...]:
    return (f"{side}_hand_root", *(f"{side}_{finger}{i}" for finger in _FINGERS for i in range(1, 5)))


_HANDS = {f"{side}_hand": _hand(side) for side in _SIDES}
# Fingers hang on the wrist.
_HAND_BONES = tuple(
    bone
    for side in _SIDES
    for finger in _FINGERS
    for bone in pairwise([f"{side}_wrist", *(f"{side}_{finger}{i}" for i in range(1, 5))])
)
_FACE_SWAPS = tuple(
    (_FACE[a], _FACE[b]) for row in _FACE_ROWS for a, b in zip(row[: len(row) // 2], reversed(row))
)
_TOE_BONES = tuple((f"{side}_ankle", f"{side}_{toe}") for side in _SIDES for toe in _TOES)


def _swaps(names: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """Left and right of names that differ in that alone."""
    return tuple((name, name.replace("left", "right")) for name in names if "left" in name)


def _wholebody() -> Skeleton:
    """133 key points of COCO-WholeBody (Jin et al., ECCV 2020)."""
    feet = tuple(f"{side}_{toe}" for side in _SIDES for toe in _TOES)
    names = (*_COCO_NAMES, *feet, *_FACE, *_HANDS["left_hand"], *_HANDS["right_hand"])
    return Skeleton(
        names=names,
        bones=(*COCO.bones, *_TOE_BONES, *_HAND_BONES),
        swaps=(*_swaps(names), *_FACE_SWAPS),
        sigmas=(
            *COCO.spreads,
            *(0.068, 0.066, 0.066, 0.092, 0.094, 0.094),
            *_FACE_SIGMAS,
            *_HAND_SIGMAS,
            *_HAND_SIGMAS,
        ),
        upper=COCO.upper,
        lower=(*_COCO_NAMES[11:], *feet),
        parts={"body": _COCO_NAMES, "foot": feet, "face": _FACE, **_HANDS},
    )


WHOLEBODY = _wholebody()

# Halpe (Li et al., PaStaNet, CVPR 2020): COCO's names, the middle line, toes in turn of left and right; then
# face and hands.
_HALPE_FEET = tuple(f"{side}_{toe}" for toe in _TOES for side in _SIDES)
_HALPE_BODY = (*_COCO_NAMES, "head", "neck", "hip", *_HALPE_FEET)
_HALPE_BONES = (
    *(bone for bone in COCO.bones if bone not in (
        ("left_hip", "right_hip"), ("left_shoulder", "left_hip"), ("right_shoulder", "right_hip"),
        ("left_shoulder", "right_shoulder"),
    )),
    ("left_hip", "hip"), ("right_hip", "hip"), ("head", "neck"), ("neck", "hip"),
    ("neck", "left_shoulder"), ("neck", "right_shoulder"), *_TOE_BONES,
)  # fmt: skip
_HALPE_HALVES = {
    "upper": (*_COCO_NAMES[:11], "head", "neck"),
    "lower": (*_COCO_NAMES[11:], "hip", *_HALPE_FEET),
}
HALPE26 = Skeleton(
    names=_HALPE_BODY,
    bones=_HALPE_BONES,
    sigmas=(*COCO.spreads, 0.026, 0.026, 0.066, *[0.079] * 6),
    **_HALPE_HALVES,
    weights=(*(COCO.weights or ()), 1, 1, 1.2, *[1.5] * 6),
)
_HALPE_NAMES = (*_HALPE_BODY, *_FACE, *_HANDS["left_hand"], *_HANDS["right_hand"])
HALPE = Skeleton(
    names=_HALPE_NAMES,
    bones=(*_HALPE_BONES, *_HAND_BONES),
    swaps=(*_swaps(_HALPE_NAMES), *_FACE_SWAPS),
    sigmas=(*COCO.spreads, *[0.08] * 3, *[0.089] * 6, *[0.015] * 110),
    **_HALPE_HALVES,
    parts={"body": _HALPE_BODY, "face": _FACE, **_HANDS},
)
