"""Builds the compact annotations: readers add images and objects, faults are dropped for all at once.

Everything is kept in machine numbers from the start; a million boxes never exist as a million objects.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from omma.data.annotations import Annotations, Ragged, Report, Segmentations, starts_of
from omma.data.images import MAX_PIXELS
from omma.errors import DataError

_FARTHEST = 2.0**16
"""Pixels. pycocotools spends memory by the length of an outline, inside the image or not."""


class ImageColumns:
    """Images in the order they are added."""

    def __init__(self) -> None:
        self.paths: list[bytes] = []
        self.ids: list[bytes] = []
        self.numeric_ids = True
        self.sizes = array("i")

    def __len__(self) -> int:
        return len(self.paths)

    def add(self, path: str, id: int | str, height: int, width: int) -> None:
        """Append an image; ``path`` is relative to the image folder.

        Raises:
            DataError: its size is beyond what can be read.
        """
        if height * width > MAX_PIXELS:
            raise DataError(
                f"the image {path}: expected at most {MAX_PIXELS} pixels, annotated are {width} x {height}"
            )
        self.paths.append(path.encode())
        self.ids.append(str(id).encode())
        self.numeric_ids = self.numeric_ids and isinstance(id, int)
        self.sizes.extend((height, width))

    def size_array(self) -> np.ndarray:
        """(I, 2) int32 height and width."""
        return (
            np.frombuffer(self.sizes, np.int32).reshape(-1, 2) if self.sizes else np.zeros((0, 2), np.int32)
        )


class ObjectColumns:
    """Objects in the order of the file, whatever image they belong to.

    Args:
        segmentations: keep outlines and masks too.
        keypoints: keep key points too.
    """

    def __init__(self, *, segmentations: bool, keypoints: bool = False) -> None:
        self.image, self.label, self.id = array("i"), array("i"), array("q")
        self.box, self.area, self.crowd = array("d"), array("f"), array("b")
        self.masks = MaskColumns() if segmentations else None
        self.keypoints = array("f") if keypoints else None
        self.keypoint_lengths = array("i")

    def __len__(self) -> int:
        return len(self.image)

    def add(
        self,
        image: int,
        label: int,
        box: Sequence[float],
        *,
        crowd: bool = False,
        area: float = math.nan,
        id: int = -1,
        segmentation: Any = None,
        keypoints: Sequence[float] = (),
    ) -> None:
        """Append an object.

        Args:
            image: number of its image; negative: leave it out.
            label: number of its class; negative: leave it out.
            box: xyxy in pixels.
            crowd: neither right nor wrong to find.
            area: pixels; NaN: that of the box.
            id: of the annotation.
            segmentation: COCO's form.
            keypoints: x, y and visibility of each in turn.

        Raises:
            TypeError: a coordinate is no number.
            OverflowError: a number has no place in a machine's.
            ValueError: a ring has an odd number of coordinates, or the run lengths are broken.
        """
        x1, y1, x2, y2 = box
        if self.masks is not None:
            self.masks.add(segmentation)
        if self.keypoints is not None:
            self.keypoints.extend(keypoints)
            self.keypoint_lengths.append(len(keypoints))
        self.box.extend((x1, y1, x2, y2))
        self.image.append(image)
        self.label.append(label)
        self.id.append(id)
        self.area.append(area)
        self.crowd.append(crowd)


class MaskColumns:
    """Segmentations in the order of their objects."""

    def __init__(self) -> None:
        self.coordinates, self.ring_lengths, self.rings = array("f"), array("i"), array("i")
        self.counts: list[bytes] = []
        self.sizes = array("i")  # height and width of each run-length encoding, zeros where there is none
        self.short_rings = 0
        """Rings of fewer than three points, which were left out."""

    def add(self, segmentation: Any) -> None:
        """Append one object's polygons, run-length encoding, or None."""
        rings, counts, size = 0, b"", (0, 0)
        if isinstance(segmentation, dict):
            counts, size = _compressed(segmentation)
        elif isinstance(segmentation, list):
            for ring in segmentation:
                if not isinstance(ring, list):
                    raise TypeError(
                        f"expected a ring [x1, y1, x2, y2, ...] in 'segmentation', got {ring!r:.60}"
                    )
                if len(ring) % 2:
                    raise ValueError(
                        f"expected x, y pairs in a ring of 'segmentation', got {len(ring)} numbers"
                    )
                if len(ring) < 6:
                    self.short_rings += 1
                    continue
                self.coordinates.extend(ring)
                self.ring_lengths.append(len(ring))
                rings += 1
        elif segmentation is not None:
            raise TypeError(f"expected polygons or a run-length encoding, got {segmentation!r:.60}")
        self.rings.append(rings)
        self.counts.append(counts)
        self.sizes.extend(size)

    def build(self) -> Segmentations:
        """All of them in flat tensors."""
        rings = Ragged(_tensor(self.coordinates, np.float32), starts_of(_numpy(self.ring_lengths, np.int32)))
        return Segmentations(rings, starts_of(_numpy(self.rings, np.int32)), Ragged.of_bytes(self.counts))


def _compressed(rle: dict[str, Any]) -> tuple[bytes, tuple[int, int]]:
    """Counts of a run-length encoding in COCO's compressed form, and its (height, width)."""
    counts, size = rle.get("counts"), rle.get("size")
    if not (isinstance(size, list) and len(size) == 2 and all(isinstance(side, int) for side in size)):
        raise ValueError(f"expected 'size': [height, width] in a run-length encoding, got {size!r:.60}")
    if isinstance(counts, str):
        code = counts.encode()
        if _length(code) != size[0] * size[1]:
            raise ValueError(f"the compressed run lengths don't fill a mask of {size[0]} x {size[1]} pixels")
        return code, (size[0], size[1])
    if not (isinstance(counts, list) and all(isinstance(count, int) and count >= 0 for count in counts)):
        raise TypeError(f"expected run lengths as a list or text, got {counts!r:.60}")
    if sum(counts) != size[0] * size[1]:
        raise ValueError(
            f"the run lengths sum to {sum(counts)}, but the mask has {size[0]} x {size[1]} pixels"
        )
    from pycocotools import mask

    encoder: Any = mask
    return encoder.frPyObjects(rle, *size)["counts"], (size[0], size[1])


def _length(code: bytes) -> int:
    """Pixels that a compressed run-length encoding covers; -1 if it is none.

    pycocotools' own decoder reads and writes outside its memory where an encoding is cut off or too long.
    COCO writes each number in groups of five bits, from the lowest on, each plus 48; bit 5 says that more
    follow, bit 4 of the last group is the sign. From the fourth run on, the difference to the one two before.
    """
    groups = np.frombuffer(code, np.uint8).astype(np.int64) - 48
    if len(groups) == 0 or groups.min() < 0 or groups.max() > 63 or groups[-1] & 32:
        return -1
    ends = np.flatnonzero(groups & 32 == 0)
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts + 1
    if lengths.max() > 7:  # 35 bits are more than any image has pixels
        return -1
    shift = 5 * (np.arange(len(groups)) - np.repeat(starts, lengths))
    values = np.add.reduceat((groups & 31) << shift, starts)
    values -= ((groups[ends] & 16) > 0).astype(np.int64) << (5 * lengths)
    runs = values.copy()
    for first in (1, 2):
        # The very first run stands alone: number 3 is told from 1, 4 from 2, 5 from 3 ...
        runs[first::2] = values[first::2].cumsum()
    return int(runs.sum()) if runs.min() >= 0 else -1


def build_annotations(
    images: ImageColumns,
    objects: ObjectColumns,
    report: Report,
    *,
    place: Callable[[int], str],
    masks_only: bool = False,
    cut: bool = True,
) -> Annotations:
    """Sort objects by image, drop and clip what no model can learn from, and count that in ``report``.

    Objects of negative image or label are left out without a word; the reader has told of them. Boxes
    without area and those outside their image are dropped, boxes that reach over an edge are clipped.

    Args:
        images: at least those that objects refer to.
        objects: from the reader.
        report: takes the counts.
        place: number of an object -> where it stands, for the report.
        masks_only: drop objects without a segmentation too.
        cut: clip boxes; otherwise they stay as they are.

    Raises:
        DataError: a run-length encoding has another size than its image.
    """
    owner, label = _numpy(objects.image, np.int32), _numpy(objects.label, np.int32)
    boxes = _numpy(objects.box, np.float64).reshape(-1, 4)
    segmentations = None if objects.masks is None else objects.masks.build()
    keep = (owner >= 0) & (label >= 0)

    def drop(faulty: np.ndarray, what: str) -> None:
        found = np.flatnonzero(faulty & keep)
        if len(found):
            report.note(what, place(int(found[0])), len(found))
            keep[found] = False

    with np.errstate(invalid="ignore"):
        drop(np.any(~np.isfinite(boxes), axis=1), "objects dropped: a box coordinate is NaN or infinite")
        drop(np.any(boxes[:, 2:] <= boxes[:, :2], axis=1), "objects dropped: a box without width or height")
        limit = images.size_array()[:, ::-1][np.where(keep, owner, 0)] if len(images) else np.zeros((0, 2))
        clipped = np.clip(boxes, 0, np.tile(limit, 2))
        drop(np.any(clipped[:, 2:] <= clipped[:, :2], axis=1), "objects dropped: a box outside its image")
        # Annotation tools round; a hundredth of a pixel is no mistake.
        beyond = keep & (np.abs(clipped - boxes).max(axis=1, initial=0) > 0.01)
    if cut and beyond.any():
        where = place(int(np.flatnonzero(beyond)[0]))
        report.note("boxes clipped: they reached over the edge of the image", where, int(beyond.sum()))
    if segmentations is not None and objects.masks is not None:
        _check_sizes(objects.masks, images.size_array(), np.where(keep, owner, -1), place)
        drop(_broken_rings(segmentations), "objects dropped: an outline is NaN, infinite or far off")
        if masks_only:
            drop(_without_mask(segmentations), "objects dropped: no mask")
        report.note("rings dropped: fewer than three points", "segmentation", objects.masks.short_rings)
    order = torch.from_numpy(np.flatnonzero(keep)[np.argsort(owner[keep], kind="stable")])
    return _assemble(images, objects, clipped if cut else boxes, segmentations, order)


def _assemble(
    images: ImageColumns,
    objects: ObjectColumns,
    boxes: np.ndarray,
    segmentations: Segmentations | None,
    order: Tensor,
) -> Annotations:
    rows = order.numpy()
    owner = _numpy(objects.image, np.int32)[rows]
    kept = boxes[rows]
    area = _numpy(objects.area, np.float32)[rows]
    area = np.where(np.isfinite(area), area, (kept[:, 2:] - kept[:, :2]).prod(axis=1))
    keypoints = None
    if objects.keypoints is not None:
        lengths = starts_of(_numpy(objects.keypoint_lengths, np.int32))
        keypoints = Ragged(_tensor(objects.keypoints, np.float32), lengths).take(order)
    return Annotations(
        paths=Ragged.of_bytes(images.paths),
        ids=Ragged.of_bytes(images.ids),
        numeric_ids=images.numeric_ids,
        sizes=torch.from_numpy(images.size_array().copy()),
        starts=starts_of(np.bincount(owner, minlength=len(images))),
        boxes=torch.from_numpy(kept.astype(np.float32)),
        labels=torch.from_numpy(_numpy(objects.label, np.int32)[rows]),
        crowd=torch.from_numpy(_numpy(objects.crowd, np.int8)[rows].astype(bool)),
        area=torch.from_numpy(area.astype(np.float32)),
        object_ids=torch.from_numpy(_numpy(objects.id, np.int64)[rows]),
        segmentations=None if segmentations is None else segmentations.take(order),
        keypoints=keypoints,
    )


def _check_sizes(
    masks: MaskColumns, images: np.ndarray, owner: np.ndarray, place: Callable[[int], str]
) -> None:
    sizes = _numpy(masks.sizes, np.int32).reshape(-1, 2)
    encoded = np.flatnonzero((sizes[:, 0] > 0) & (owner >= 0))
    wrong = encoded[(sizes[encoded] != images[owner[encoded]]).any(axis=1)]
    if len(wrong):
        first = int(wrong[0])
        raise DataError(
            f"{place(first)}: expected a run-length encoding of the image's height and width "
            f"{images[owner[first]].tolist()}, got {sizes[first].tolist()}"
        )


def _broken_rings(segmentations: Segmentations) -> np.ndarray:
    """(O,) bool: objects with an outline that isn't finite, or farther off than any image reaches."""
    broken = np.zeros(len(segmentations), bool)
    values = np.flatnonzero(~(np.abs(segmentations.rings.values.numpy()) < _FARTHEST))
    rings = np.searchsorted(segmentations.rings.starts.numpy(), values, side="right") - 1
    broken[np.searchsorted(segmentations.starts.numpy(), rings, side="right") - 1] = True
    return broken


def _without_mask(segmentations: Segmentations) -> np.ndarray:
    """(O,) bool: objects with neither outlines nor an encoding."""
    rings, counts = segmentations.starts, segmentations.counts.starts
    return ((rings[1:] == rings[:-1]) & (counts[1:] == counts[:-1])).numpy()


def with_objects(annotations: Annotations) -> Tensor:
    """(K,) positions of the images that have at least one object that is no crowd."""
    lengths = annotations.starts[1:] - annotations.starts[:-1]
    owner = torch.repeat_interleave(torch.arange(len(annotations)), lengths)
    return torch.unique(owner[~annotations.crowd])


def require_images(images: ImageColumns, where: str) -> None:
    """Refuse an empty split.

    Raises:
        DataError: there is no image.
    """
    if not len(images):
        raise DataError(f"{where}: expected at least one image, found none; is it the right file?")


def _numpy(values: array[Any], dtype: Any) -> np.ndarray:
    return np.frombuffer(values, dtype) if len(values) else np.zeros(0, dtype)


def _tensor(values: array[Any], dtype: Any) -> Tensor:
    return torch.from_numpy(_numpy(values, dtype).copy())
