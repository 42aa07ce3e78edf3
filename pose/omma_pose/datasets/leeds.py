"""Leeds Sports Pose (Johnson and Everingham, BMVC 2010) and its extended training set (CVPR 2011)."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np

from omma.data.annotations import Annotations, Report
from omma.data.columns import build_annotations, require_images
from omma.data.images import image_size
from omma.data.lines import read_lines
from omma.data.paths import inside, under
from omma.data.transforms import AnyTransform
from omma.errors import DataError
from omma.registry import register
from omma.structures import Skeleton
from omma_pose.datasets.coco import CocoKeypoints
from omma_pose.datasets.keypoint_reader import FILLED, KeypointReader
from omma_pose.datasets.matrices import read_matrix
from omma_pose.datasets.skeletons import LSP

_JOINTS, _VALUES = 14, 3
_PERSON = 1


@register
class LeedsSports(CocoKeypoints):
    """One sample for each image of ``joints.mat``: one athlete with 14 joints.

    The original set (3 x 14 x 2,000, the third row marks what is hidden) and the extended one
    (14 x 3 x 10,000, the third column marks what is labelled) are told apart by their shape. Neither has
    boxes: a box bounds the labelled joints, with a margin. Coordinates are taken as they are.

    Args:
        annotations: ``joints.mat``; image n of it is called ``im0001.jpg`` or ``im00001.jpg`` for n = 1.
        images: folder of the images.
        names: a file with the names of the images of a split, one a line; null: all.
        root: folder that all files are relative to.
        margin: of boxes, on each side, by the longer side of what the joints take up.
        skeleton: as ``CocoKeypoints``.
        boxes: as ``CocoKeypoints``; an image's id is its number.
        box_threshold: as ``CocoKeypoints``.
        transforms: applied to each sample.

    Raises:
        DataError: a file isn't what it should be, or an image can't be read.
        ValueError: ``margin`` is negative.
    """

    cut: ClassVar[bool] = False

    def __init__(
        self,
        *,
        annotations: str,
        images: str,
        names: str | None = None,
        root: str | None = None,
        margin: float = 0.15,
        skeleton: Skeleton | str | None = "lsp",
        boxes: str | None = None,
        box_threshold: float = 0.0,
        transforms: tuple[AnyTransform, ...] = (),
    ) -> None:
        if margin < 0:
            raise ValueError(f"margin must be at least 0, got {margin}")
        self._names, self._margin = None if names is None else under(root, names), margin
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
        return _Reader(path, self.folder, self._names, self._margin)


class _Reader(KeypointReader):
    """Reads the matrix as if it were of COCO's form."""

    def __init__(self, path: Path, folder: Path, names: Path | None, margin: float) -> None:
        super().__init__(path)
        self.folder, self.split, self.margin = folder, names, margin
        self.categories = {_PERSON: "person"}

    def read(self, wanted: tuple[str, ...] | None, report: Report) -> tuple[tuple[str, ...], Annotations]:
        joints, digits = read_joints(self.path)
        for number, name in self._wanted(len(joints), digits):
            height, width = image_size(self.folder / name)
            source = len(self.images)
            self.images.add(name, number, height, width)
            self._athlete(source, number, joints[number - 1])
        require_images(self.images, str(self.path))
        table = build_annotations(self.images, self.objects, report, place=self.place, cut=False)
        return ("person",), table

    def skeleton(self, classes: tuple[str, ...]) -> Skeleton:
        return LSP

    def place(self, number: int) -> str:
        return f"{self.path}: athlete {number + 1}"

    def _wanted(self, count: int, digits: int) -> list[tuple[int, str]]:
        """Numbers from 1 and names of the images of the split."""
        if self.split is None:
            return [(number, f"im{number:0{digits}d}.jpg") for number in range(1, count + 1)]
        found = []
        for row, line in enumerate(read_lines(self.split), start=1):
            if not line.strip():
                continue
            where = f"{self.split}:{row}"
            name = inside(line.strip(), where)
            stem = Path(name).stem.removeprefix("im")
            if not (stem.isdecimal() and 1 <= int(stem) <= count):
                raise DataError(
                    f"{where}: expected the name of an image, im{1:0{digits}d}.jpg to "
                    f"im{count:0{digits}d}.jpg, got {line!r:.80}"
                )
            found.append((int(stem), name))
        return found

    def _athlete(self, source: int, number: int, joints: np.ndarray) -> None:
        """Add an athlete's joints (14, 3): x, y, visibility."""
        labelled = joints[joints[:, 2] > 0, :2]
        if not len(labelled):
            return
        low, high = labelled.min(axis=0), labelled.max(axis=0)
        grow = self.margin * float((high - low).max())
        x1, y1, x2, y2 = (*(low - grow), *(high + grow))
        area = FILLED * (x2 - x1) * (y2 - y1)
        keypoints = joints.flatten().tolist()
        self.objects.add(source, 0, (x1, y1, x2, y2), area=area, id=number, keypoints=keypoints)


def read_joints(path: Path) -> tuple[np.ndarray, int]:
    """(N, 14, 3) x, y and visibility (0 not labelled, 1 hidden, 2 visible), and the digits in images' names.

    Raises:
        DataError: the file can't be read, or holds something else.
    """
    joints = read_matrix(path, "joints", of="Leeds Sports' joints.mat")
    extended = joints.shape[:2] == (_JOINTS, _VALUES)
    if joints.ndim != 3 or not (extended or joints.shape[:2] == (_VALUES, _JOINTS)):
        raise DataError(
            f"{path}: expected 'joints' of shape (14, 3, images) or (3, 14, images), got {joints.shape}"
        )
    joints = joints.transpose(2, 0, 1) if extended else joints.transpose(2, 1, 0)
    marks = joints[..., 2]
    if len(wrong := np.argwhere(~np.isfinite(joints).all(axis=2) | ~np.isin(marks, (0, 1)))):
        image, joint = wrong[0]
        raise DataError(
            f"{path}: image {image + 1}, joint {joint}: expected finite coordinates and a mark of 0 or 1, "
            f"got {joints[image, joint].tolist()} ({len(wrong)} such joints)"
        )
    # The extended set marks what is labelled, the original one what is hidden: all of it is labelled.
    visibility = 2 * marks if extended else 2 - marks
    points = joints[..., :2] * (visibility > 0)[..., None]
    return np.concatenate([points, visibility[..., None]], axis=2), 5 if extended else 4
