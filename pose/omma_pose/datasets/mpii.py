"""MPII Human Pose (Andriluka et al., 2D Human Pose Estimation, CVPR 2014) in the form that HRNet gave it."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from omma.data.annotations import Annotations, Report
from omma.data.columns import build_annotations, require_images
from omma.data.images import image_size
from omma.data.paths import inside, under
from omma.data.transforms import AnyTransform
from omma.errors import DataError
from omma.registry import register
from omma.structures import Skeleton, Target
from omma_pose.datasets.coco import CocoKeypoints
from omma_pose.datasets.keypoint_reader import FILLED, KeypointReader
from omma_pose.datasets.matrices import read_matrix
from omma_pose.datasets.skeletons import MPII

HEIGHT = 200.0
"""Pixels of a person whose ``scale`` is 1."""
LOWERED = 15.0
"""Pixels at scale 1 that a box's centre lies below the annotated one, so that it doesn't cut off legs."""
HEAD_SHARE = 0.6
"""The diagonal of a head's box times this is its size, by which PCKh measures."""
_KEYS = ("image", "center", "scale", "joints", "joints_vis")
_PERSON = 1


@register
class Mpii(CocoKeypoints):
    """One sample for each person of ``mpii_train.json`` or ``mpii_val.json``, as OpenMMLab gives them out.

    The files count pixels from 1, samples from 0. A person's box is a square of 200 pixels times its scale,
    which may reach over the edge of the image. Sizes of images are read from the images themselves.

    Args:
        annotations: a list of people with ``image``, ``center``, ``scale``, ``joints`` and ``joints_vis``.
        images: folder of the images.
        root: folder that all files are relative to.
        heads: ``mpii_gt_val.mat``, whose head boxes ``PCKh`` measures by; null: unknown.
        skeleton: as ``CocoKeypoints``.
        boxes: as ``CocoKeypoints``; an image's id is the number that its file is called by.
        box_threshold: as ``CocoKeypoints``.
        transforms: applied to each sample.

    Raises:
        DataError: a file isn't what it should be or contradicts another, or an image can't be read.
    """

    cut: ClassVar[bool] = False

    def __init__(
        self,
        *,
        annotations: str,
        images: str,
        root: str | None = None,
        heads: str | None = None,
        skeleton: Skeleton | str | None = "mpii",
        boxes: str | None = None,
        box_threshold: float = 0.0,
        transforms: tuple[AnyTransform, ...] = (),
    ) -> None:
        self._heads = None if heads is None else under(root, heads)
        self.head_sizes: Tensor | None = None
        super().__init__(
            annotations=annotations,
            images=images,
            root=root,
            skeleton=skeleton,
            boxes=boxes,
            box_threshold=box_threshold,
            transforms=transforms,
        )

    def reader(self, path: Path) -> KeypointReader:
        """What reads the file."""
        return _Reader(path, self.folder)

    def keep(self, reader: Any) -> None:
        """Look up the sizes of the heads.

        Raises:
            DataError: the file of heads can't be read, or is of another number of people.
        """
        if self._heads is None:
            return
        sizes = read_heads(self._heads)
        if len(sizes) != reader.people:
            raise DataError(
                f"{self._heads}: expected the heads of the {reader.people} people in {reader.path}, got "
                f"{len(sizes)}; do they belong to the same split?"
            )
        self.head_sizes = torch.from_numpy(sizes)[self.table.object_ids]

    def truth(self, source: int, index: int) -> Target:
        """As of other files, with the sizes of heads where they are known."""
        target = super().truth(source, index)
        if self.head_sizes is not None:
            target["head_sizes"] = self.head_sizes[self.table.rows(source)].clone()
        return target


def read_heads(path: Path) -> np.ndarray:
    """(N,) float32 sizes of heads, pixels: 0.6 of the diagonals of ``headboxes_src``, (2 corners, xy, N).

    Raises:
        DataError: the file can't be read, has no such boxes, or one of them has no size.
    """
    boxes = read_matrix(path, "headboxes_src", of="MPII's mpii_gt_val.mat")
    if boxes.ndim != 3 or boxes.shape[:2] != (2, 2):
        raise DataError(f"{path}: expected 'headboxes_src' of shape (2, 2, people), got {boxes.shape}")
    sizes = HEAD_SHARE * np.linalg.norm(boxes[1] - boxes[0], axis=0)
    if len(wrong := np.flatnonzero(~(sizes > 0))):
        raise DataError(
            f"{path}: expected head boxes with a size, that of person {wrong[0]} is {sizes[wrong[0]]:g} "
            f"({len(wrong)} such people)"
        )
    return sizes.astype(np.float32)


class _Reader(KeypointReader):
    """Reads the list as if it were of COCO's form."""

    def __init__(self, path: Path, folder: Path) -> None:
        super().__init__(path)
        self.folder, self.people = folder, 0
        self.categories = {_PERSON: "person"}

    def read(self, wanted: tuple[str, ...] | None, report: Report) -> tuple[tuple[str, ...], Annotations]:
        try:
            people = json.loads(self.path.read_text(encoding="utf-8-sig"))
        except OSError as error:
            raise DataError(f"{self.path}: can't be read: {error.strerror}") from None
        except ValueError as error:
            raise DataError(f"{self.path}: not valid JSON: {error}") from None
        if not isinstance(people, list):
            raise DataError(
                f"{self.path}: expected a list of people, as in mpii_train.json, got {type(people).__name__}"
            )
        self.people = len(people)
        for number, person in enumerate(people):
            self.person(number, person)
        require_images(self.images, str(self.path))
        table = build_annotations(self.images, self.objects, report, place=self.place, cut=False)
        return ("person",), table

    def person(self, number: int, record: Any) -> None:
        """Take an entry of the list."""
        where = f"{self.path}: people[{number}]"
        if not isinstance(record, dict) or any(key not in record for key in _KEYS):
            raise DataError(f"{where}: expected an object with {', '.join(_KEYS)}, got {record!r:.120}")
        x, y = _numbers(record["center"], 2, f"{where}: 'center'")
        (scale,) = _numbers([record["scale"]], 1, f"{where}: 'scale'")
        y, half = y + LOWERED * scale, HEIGHT * scale / 2
        x, y = x - 1, y - 1
        self.objects.add(
            self._source(record["image"], where),
            0,
            (x - half, y - half, x + half, y + half),
            area=FILLED * (2 * half) ** 2,
            id=number,
            keypoints=_joints(record["joints"], record["joints_vis"], where),
        )

    def skeleton(self, classes: tuple[str, ...]) -> Skeleton:
        return MPII

    def place(self, number: int) -> str:
        return f"{self.path}: people[{number}]"

    def _source(self, name: Any, where: str) -> int:
        """Row of an image, by the name of its file."""
        if not isinstance(name, str):
            raise DataError(f"{where}: expected text in 'image', got {name!r:.80}")
        if name not in self.image_codes:
            height, width = image_size(self.folder / inside(name, where))
            self.image_codes[name] = len(self.images)
            stem = Path(name).stem
            self.images.add(name, int(stem) if stem.isdecimal() else stem, height, width)
        return self.image_codes[name]


def _joints(joints: Any, seen: Any, where: str) -> list[float]:
    """x, y and visibility in turn, pixels from 0; the file doesn't tell hidden ones."""
    if not (isinstance(joints, list) and isinstance(seen, list) and len(joints) == len(seen)):
        raise DataError(f"{where}: expected as many numbers in 'joints_vis' as places in 'joints'")
    values: list[float] = []
    for number, (place, visible) in enumerate(zip(joints, seen)):
        if visible not in (0, 1):
            raise DataError(f"{where}: expected 0 or 1 in 'joints_vis'[{number}], got {visible!r:.40}")
        x, y = _numbers(place, 2, f"{where}: 'joints'[{number}]")
        values += (x - 1, y - 1, 2) if visible else (0, 0, 0)
    return values


def _numbers(values: Any, count: int, where: str) -> list[float]:
    """So many finite numbers."""
    listed = isinstance(values, list) and len(values) == count
    if not (listed and all(type(value) in (int, float) and math.isfinite(value) for value in values)):
        raise DataError(f"{where}: expected {count} finite numbers, got {values!r:.80}")
    return values
