"""COCO's key points (Lin et al., 2014; https://cocodataset.org/#format-data), and sets in its form."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchvision import tv_tensors

from omma.data.annotations import Annotations, Report
from omma.data.coco import CocoReader
from omma.data.dataset import Dataset
from omma.data.images import read_image
from omma.data.paths import under
from omma.data.transforms import AnyTransform, Compose
from omma.errors import DataError
from omma.registry import register
from omma.structures import DataInfo, Meta, Sample, Skeleton, Target
from omma_pose.datasets.boxes import read_boxes
from omma_pose.datasets.skeletons import skeleton_of

_VISIBILITIES = (0, 1, 2)


@register
class CocoKeypoints(Dataset):
    """One sample for each person, or whatever the classes are, of a COCO key points file.

    Samples show the annotated boxes of those who have a key point and are no crowd; or, with ``boxes``, what
    a detector found. Evaluation says which. Key points are in pixels, whole numbers at their centres.

    Args:
        annotations: the JSON file.
        images: folder of the images.
        root: folder that all files are relative to.
        classes: names in label order; objects of others are left out.
        skeleton: what the key points are called and how they hang together: given here, a known one's name
            ('coco'), or a YAML file; null: names and bones of the file's category.
        boxes: a detector's results in COCO's form, whose boxes are shown in place of the annotated ones.
        box_threshold: smallest score of these.
        transforms: applied to each sample.

    Raises:
        DataError: a file isn't what it should be or contradicts itself, or no sample is left.
    """

    def __init__(
        self,
        *,
        annotations: str,
        images: str,
        root: str | None = None,
        classes: tuple[str, ...] = ("person",),
        skeleton: Skeleton | str | None = None,
        boxes: str | None = None,
        box_threshold: float = 0.0,
        transforms: tuple[AnyTransform, ...] = (),
    ) -> None:
        self.report, self.folder = Report(), under(root, images)
        self.transforms = Compose(transforms=transforms)
        self.boxes_of = boxes
        self._last: tuple[int, str, tv_tensors.Image] | None = None
        path = under(root, annotations)
        reader = self.reader(path)
        names, self.table = reader.read(tuple(classes), self.report)
        given = skeleton_of(skeleton)
        self.skeleton = given if given is not None else reader.skeleton(names)
        self.info = DataInfo(names, skeleton=self.skeleton)
        self.keypoints, self.visibility = dense_keypoints(self.table, len(self.skeleton), str(path))
        count_outside(self.table, self.keypoints, self.visibility, str(path), self.report)
        lengths = self.table.starts[1:] - self.table.starts[:-1]
        self.owners = torch.repeat_interleave(torch.arange(len(self.table)), lengths)
        self.labelled = (self.visibility > 0).any(dim=1) & ~self.table.crowd
        if boxes is None:
            self.instances = self.labelled.nonzero()[:, 0]
            self.sources, self.boxes = self.owners[self.instances], self.table.boxes[self.instances]
            self.labels = self.table.labels[self.instances]
            self.scores = torch.ones(len(self.instances))
        else:
            found = read_boxes(
                under(root, boxes),
                images={self.table.id(i): i for i in range(len(self.table))},
                categories={id: names.index(n) for id, n in reader.categories.items() if n in names},
                threshold=box_threshold,
                report=self.report,
            )
            self.instances = None
            self.sources, self.boxes, self.labels, self.scores = found
        if not len(self.sources):
            raise DataError(
                f"{path}: expected objects with key points, none of the {len(self.owners)} has one labelled"
            )

    def reader(self, path: Path) -> KeypointReader:
        """What reads the file."""
        return KeypointReader(path)

    def __len__(self) -> int:
        return len(self.sources)

    def __getitem__(self, index: int) -> Sample:
        """Sample ``index``: the image with one box, and its key points unless a detector found it.

        Raises:
            DataError: the image can't be read, or has another size than its annotation says.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"there are {len(self)} samples, got index {index}")
        return self.transforms(self.read(index))

    def read(self, index: int) -> Sample:
        """Sample ``index`` before its transforms."""
        source = int(self.sources[index])
        height, width = size = self.table.size(source)
        path, image = self._image(source)
        x1, y1, x2, y2 = self.boxes[index].tolist()
        if self.instances is not None:
            x1, x2 = (min(max(x, 0.0), width) for x in (x1, x2))
            y1, y2 = (min(max(y, 0.0), height) for y in (y1, y2))
        box = torch.tensor([[x1, y1, x2, y2]])
        sample: Sample = {
            "image": image,
            "boxes": tv_tensors.BoundingBoxes(box, format="XYXY", canvas_size=size),  # pyright: ignore[reportCallIssue]
            "box_scores": self.scores[index : index + 1].clone(),
            "labels": self.labels[index : index + 1].long(),
            "meta": Meta(index=index, id=self.table.id(source), path=path, height=height, width=width),
        }
        if self.instances is not None:
            row = self.instances[index]
            points = self.keypoints[row][None].clone()
            sample["keypoints"] = tv_tensors.KeyPoints(points, canvas_size=size)  # pyright: ignore[reportCallIssue]
            sample["visibility"] = self.visibility[row][None].clone()
        return sample

    def _image(self, source: int) -> tuple[str, tv_tensors.Image]:
        """An image and its file. The last one is kept: in order, as in evaluation, people of an image follow
        each other, and decoding it takes longer than all else.
        """
        if self._last is not None and self._last[0] == source:
            return self._last[1], self._last[2]
        height, width = self.table.size(source)
        path = self.path(source)
        image = read_image(path)
        if tuple(image.shape[-2:]) != (height, width):
            raise DataError(
                f"{path}: expected {width} x {height} pixels as annotated, the file has {image.shape[-1]} x "
                f"{image.shape[-2]}"
            )
        self._last = source, path, image
        return path, image

    def target(self, index: int) -> Target:
        """All that is annotated in the image of sample ``index``, and which of it the sample shows."""
        source = int(self.sources[index])
        target = self._truth(source, index)
        if self.instances is not None:
            target["instance"] = int(self.instances[index] - self.table.starts[source])
        return target

    def unseen(self) -> Sequence[Target]:
        """Images with labelled key points in which the detector found nothing."""
        wanted = torch.unique(self.owners[self.labelled])
        missed = wanted[~torch.isin(wanted, self.sources)].tolist()
        return [self._truth(source, -1 - i) for i, source in enumerate(missed)]

    def path(self, source: int) -> str:
        """File of an image."""
        return str(self.folder / self.table.path(source))

    @property
    def image_sizes(self) -> np.ndarray:
        """(len, 2) original heights and widths."""
        return self.table.sizes[self.sources].numpy()

    def class_counts(self) -> np.ndarray:
        """(len, C) one for the class of each sample."""
        counts = np.zeros((len(self), len(self.info.classes)), np.uint16)
        counts[np.arange(len(self)), self.labels.numpy()] = 1
        return counts

    def _truth(self, source: int, index: int) -> Target:
        rows = self.table.rows(source)
        height, width = self.table.size(source)
        target: Target = {
            "index": index,
            "id": self.table.id(source),
            "path": self.path(source),
            "height": height,
            "width": width,
            "boxes": self.table.boxes[rows].clone(),
            "labels": self.table.labels[rows].long(),
            "crowd": self.table.crowd[rows].clone(),
            "area": self.table.area[rows].clone(),
            "keypoints": self.keypoints[rows].clone(),
            "visibility": self.visibility[rows].clone(),
        }
        if self.boxes_of is not None:
            target["boxes_of"] = self.boxes_of
        return target


class KeypointReader(CocoReader):
    """As of boxes, with the key points of objects and of categories."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, masks=False, keypoints=True, cut=False)
        self.skeletons: dict[str, Skeleton] = {}

    def category(self, number: int, record: Any) -> None:
        """Take an entry of ``categories``, with its skeleton if it has one."""
        super().category(number, record)
        names, bones = record.get("keypoints"), record.get("skeleton") or []
        if names is None:
            return
        where = f"{self.path}: categories[{number}]"
        if not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
            raise DataError(f"{where}: expected a list of names in 'keypoints', got {names!r:.80}")
        try:
            pairs = tuple((names[_position(a, names)], names[_position(b, names)]) for a, b in bones)
            self.skeletons[record["name"]] = Skeleton(names=tuple(names), bones=pairs)
        except (TypeError, ValueError) as error:
            raise DataError(f"{where}: {error}") from None

    def keypoints(self, record: Any, where: str) -> Sequence[float]:
        """x, y and visibility in turn; nothing where the object has none."""
        values = record.get("keypoints", [])
        if not isinstance(values, list) or len(values) % 3:
            found = f"{len(values)} numbers" if isinstance(values, list) else f"{values!r:.80}"
            raise DataError(f"{where}: expected 'keypoints': [x, y, visibility, ...], got {found}")
        return values

    def skeleton(self, classes: tuple[str, ...]) -> Skeleton:
        """That of the classes.

        Raises:
            DataError: none has one, or two have different ones.
        """
        found = {name: self.skeletons[name] for name in classes if name in self.skeletons}
        if not found:
            raise DataError(
                f"{self.path}: the category {', '.join(classes)} names no 'keypoints'; name a skeleton in "
                "data.skeleton, such as coco, or give a YAML file of one"
            )
        first = next(iter(found.values()))
        if other := next((name for name, each in found.items() if each.names != first.names), None):
            raise DataError(
                f"{self.path}: the categories {next(iter(found))} and {other} have different key points; "
                "choose one of them in data.classes"
            )
        return first


def dense_keypoints(table: Annotations, count: int, where: str) -> tuple[Tensor, Tensor]:
    """Key points (O, K, 2) float32 and their visibility (O, K) uint8; zeros for objects without any.

    Raises:
        DataError: an object has another number of key points, a coordinate isn't finite, or a visibility is
            none of 0, 1 and 2.
    """
    rows = table.keypoints
    assert rows is not None
    lengths = rows.starts[1:] - rows.starts[:-1]
    given = lengths > 0
    if len(wrong := (given & (lengths != 3 * count)).nonzero()):
        first = int(wrong[0])
        raise DataError(
            f"{where}: annotation {int(table.object_ids[first])}: expected {count} key points, as "
            f"the skeleton has, got {int(lengths[first]) // 3} ({len(wrong)} such annotations)"
        )
    dense = torch.zeros(len(lengths), count, 3)
    dense[given] = rows.values.reshape(-1, count, 3)
    if len(wrong := (~dense.isfinite()).nonzero()):
        raise DataError(
            f"{where}: annotation {int(table.object_ids[wrong[0, 0]])}: key point {int(wrong[0, 1])} is NaN "
            "or infinite"
        )
    seen = dense[..., 2]
    if len(wrong := (~torch.isin(seen, seen.new_tensor(_VISIBILITIES))).nonzero()):
        row, point = wrong[0].tolist()
        raise DataError(
            f"{where}: annotation {int(table.object_ids[row])}: expected 0 (not labelled), 1 (hidden) or 2 "
            f"(visible) as visibility of key point {point}, got {float(seen[row, point]):g} "
            f"({len(wrong)} such key points)"
        )
    return dense[..., :2].contiguous(), seen.to(torch.uint8)


def count_outside(
    table: Annotations, keypoints: Tensor, visibility: Tensor, where: str, report: Report
) -> None:
    """Note labelled key points beside their image; they are kept, since a crop may show where they lie."""
    lengths = table.starts[1:] - table.starts[:-1]
    size = torch.repeat_interleave(table.sizes, lengths, dim=0).flip(1)[:, None]
    beside = ((keypoints < -0.5) | (keypoints > size)).any(dim=2) & (visibility > 0)
    if beside.any():
        first = int(beside.any(dim=1).nonzero()[0])
        place = f"{where}: annotation {int(table.object_ids[first])}"
        report.note("key points outside of their image, which are kept", place, int(beside.sum()))


def _position(number: Any, names: list[str]) -> int:
    """The position that COCO, which counts from 1, calls ``number``."""
    if not (isinstance(number, int) and 1 <= number <= len(names)):
        raise ValueError(f"expected numbers from 1 to {len(names)} in 'skeleton', got {number!r:.40}")
    return number - 1
