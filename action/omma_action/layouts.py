"""How the joints of published skeletons hang together, by number, and the graphs over them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from torch import Tensor

LayoutName = Literal["coco", "nturgb+d", "openpose", "coco-hand", "kinect20"]
"""``kinect20`` is the first Kinect's body, in the order of MSR Action3D's files."""
Partition = Literal["spatial", "stgcn_spatial"]
"""What the neighbours of a joint are divided into (Yan et al., ST-GCN, AAAI 2018).

``spatial``: itself, those further in, those further out. ``stgcn_spatial`` as ST-GCN's weights have it.
"""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """K joints, numbered from 0."""

    parents: tuple[int, ...]
    """(K,) where the bone of each joint begins; the joint itself: it has none."""
    edges: tuple[tuple[int, int], ...]
    """(outer, inner) neighbours, for graph convolutions."""
    centre: int
    """The joint that the others hang on."""
    pairs: tuple[tuple[int, int], ...]
    """(left, right) joints that change places in a mirror."""
    limbs: tuple[tuple[int, int], ...] = ()
    """What is drawn in volumes of limbs, in the order of published weights."""
    origin: int = 0
    """The joint that skeletons in space are moved to the origin by."""
    spine: tuple[int, int] | None = None
    """Joints (lower, upper) of an upright line, in space."""
    shoulders: tuple[int, int] | None = None
    """Joints (right, left) of a level line, in space."""

    def __len__(self) -> int:
        return len(self.parents)

    @cached_property
    def mirror(self) -> tuple[int, ...]:
        """(K,) which joint stands in the place of each in a mirror."""
        order = list(range(len(self)))
        for left, right in self.pairs:
            order[left], order[right] = right, left
        return tuple(order)

    @cached_property
    def mirrored_limbs(self) -> tuple[int, ...]:
        """Which limb stands in the place of each in a mirror."""
        places = {frozenset(limb): i for i, limb in enumerate(self.limbs)}
        return tuple(places[frozenset(self.mirror[joint] for joint in limb)] for limb in self.limbs)

    def graph(self, partition: Partition) -> Tensor:
        """(S, K, K) weights of joint j, the row, in what is gathered at joint i, the column."""
        return torch.from_numpy(
            self._spatial() if partition == "spatial" else self._distance_partitioned()
        ).float()

    def _spatial(self) -> np.ndarray:
        inward, outward = (_matrix(edges, len(self)) for edges in (self.edges, _turned(self.edges)))
        return np.stack([np.eye(len(self)), _normalised(inward), _normalised(outward)])

    def _distance_partitioned(self) -> np.ndarray:
        near = np.eye(len(self)) + _matrix((*self.edges, *_turned(self.edges)), len(self))
        weights = _normalised(near)
        # The reference knows distances of 0 and 1 only and takes all others for equally far, so its sets
        # tell in from out around the centre alone. Published weights were trained so.
        distance = np.where(np.eye(len(self)) > 0, 0, np.where(near > 0, 1, 2))[:, self.centre]
        further = distance[:, None] >= distance[None, :]
        neighbours = weights * (1 - np.eye(len(self)))
        return np.stack([weights * np.eye(len(self)), neighbours * further, neighbours * ~further])


def _turned(edges: Iterable[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    return tuple((inner, outer) for outer, inner in edges)


def _matrix(edges: Iterable[tuple[int, int]], count: int) -> np.ndarray:
    """(K, K): 1 in row ``b`` and column ``a`` for each (a, b)."""
    matrix = np.zeros((count, count))
    for a, b in edges:
        matrix[b, a] = 1
    return matrix


def _normalised(matrix: np.ndarray) -> np.ndarray:
    """Columns divided by their sums, empty ones as they are."""
    return matrix / np.maximum(matrix.sum(axis=0), 1)


def _hand() -> Layout:
    """A wrist and five fingers of four joints, root first."""
    parents = tuple(0 if joint % 4 == 1 else max(joint - 1, 0) for joint in range(21))
    return Layout(parents=parents, edges=tuple(enumerate(parents))[1:], centre=0, pairs=())


# fmt: off
LAYOUTS: dict[LayoutName, Layout] = {
    "coco": Layout(
        parents=(0, 0, 0, 1, 2, 0, 0, 5, 6, 7, 8, 0, 0, 11, 12, 13, 14),
        edges=(
            (15, 13), (13, 11), (16, 14), (14, 12), (11, 5), (12, 6), (9, 7), (7, 5), (10, 8), (8, 6), (5, 0),
            (6, 0), (1, 0), (3, 1), (2, 0), (4, 2),
        ),
        centre=0,
        pairs=((1, 2), (3, 4), (5, 6), (7, 8), (9, 10), (11, 12), (13, 14), (15, 16)),
        limbs=(
            (0, 5), (0, 6), (5, 7), (7, 9), (6, 8), (8, 10), (5, 11), (11, 13), (13, 15), (6, 12), (12, 14),
            (14, 16), (0, 1), (0, 2), (1, 3), (2, 4), (11, 12),
        ),
    ),
    "nturgb+d": Layout(
        parents=(
            1, 20, 20, 2, 20, 4, 5, 6, 20, 8, 9, 10, 0, 12, 13, 14, 0, 16, 17, 18, 20, 22, 7, 24, 11,
        ),
        edges=(
            (0, 1), (1, 20), (2, 20), (3, 2), (4, 20), (5, 4), (6, 5), (7, 6), (8, 20), (9, 8), (10, 9),
            (11, 10), (12, 0), (13, 12), (14, 13), (15, 14), (16, 0), (17, 16), (18, 17), (19, 18), (21, 7),
            (22, 7), (23, 11), (24, 11),
        ),
        centre=20,
        pairs=(
            (4, 8), (5, 9), (6, 10), (7, 11), (12, 16), (13, 17), (14, 18), (15, 19), (21, 23), (22, 24),
        ),
        origin=1,
        spine=(0, 1),
        shoulders=(8, 4),
    ),
    "openpose": Layout(
        parents=(0, 0, 1, 2, 3, 1, 5, 6, 2, 8, 9, 5, 11, 12, 0, 0, 14, 15),
        edges=(
            (4, 3), (3, 2), (7, 6), (6, 5), (13, 12), (12, 11), (10, 9), (9, 8), (11, 5), (8, 2), (5, 1),
            (2, 1), (0, 1), (15, 0), (14, 0), (17, 15), (16, 14),
        ),
        centre=1,
        pairs=((5, 2), (6, 3), (7, 4), (11, 8), (12, 9), (13, 10), (15, 14), (17, 16)),
    ),
    "coco-hand": _hand(),
    "kinect20": Layout(
        parents=(2, 2, 3, 6, 6, 6, 6, 0, 1, 7, 8, 9, 10, 4, 5, 13, 14, 15, 16, 2),
        edges=(
            (3, 6), (2, 3), (19, 2), (0, 2), (1, 2), (7, 0), (8, 1), (9, 7), (10, 8), (11, 9), (12, 10),
            (4, 6), (5, 6), (13, 4), (14, 5), (15, 13), (16, 14), (17, 15), (18, 16),
        ),
        centre=6,
        pairs=((0, 1), (7, 8), (9, 10), (11, 12), (4, 5), (13, 14), (15, 16), (17, 18)),
        origin=6,
        spine=(6, 2),
        shoulders=(1, 0),
    ),
}
# fmt: on
