"""COCO's key points (Lin et al., 2014; https://cocodataset.org/#format-data), and sets in its form."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torchvision import tv_tensors

from omma.data.annotations import Report
from omma.data.dataset import Dataset
from omma.data.images import read_image
from omma.data.paths import under
from omma.data.transforms import AnyTransform, Compose
from omma.errors import DataError
from omma.registry import register
from omma.structures import DataInfo, Meta, Sample, Skeleton, Target
from omma_pose.datasets.boxes import read_boxes
from omma_pose.datasets.keypoint_reader import KeypointReader, count_outside, dense_keypoints
from omma_pose.datasets.skeletons import skeleton_of


@register
class CocoKeypoints(Dataset):
    """One sample for each person, or whatever the classes are, of a COCO key points file.

    Samples show the annotated boxes of those who have a key point and are no crowd; or, with ``boxes``, what
    a detector found. Evaluation says which. Key points are in pixels, whole numbers at their centres.

    COCO's own files are read, those of CrowdPose (see ``CrowdPose`` for its metric), AI Challenger, Halpe
    and AP-10K as OpenMMLab gives them out, and anybody's in this form. What the key points are called comes
    from the file's category, or from ten lines of YAML that say more: see ``skeleton_of``.

    Args:
        annotations: the JSON file.
        images: folder of the images.
        root: folder that all files are relative to.
        classes: names in label order; objects of others are left out.
        skeleton: what the key points are called and how they hang together: given here, a known one's name
            ('coco'), or a YAML file; null: names and bones of the file's category, in whose names left and
            right tell what changes places in a mirror.
        boxes: a detector's results in COCO's form, whose boxes are shown in place of the annotated ones.
        box_threshold: smallest score of these.
        transforms: applied to each sample.

    Raises:
        DataError: a file isn't what it should be or contradicts itself, or no sample is left.
    """

    cut: ClassVar[bool] = True
    """Whether annotated boxes end at the border of their image."""

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
        self.keep(reader)
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

    def keep(self, reader: Any) -> None:
        """Take what the reader has found beside ``self.table``, where a subclass wants it."""

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
        if self.instances is not None and self.cut:
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
        target = self.truth(source, index)
        if self.instances is not None:
            target["instance"] = int(self.instances[index] - self.table.starts[source])
        return target

    def unseen(self) -> Sequence[Target]:
        """Images with labelled key points in which the detector found nothing."""
        wanted = torch.unique(self.owners[self.labelled])
        missed = wanted[~torch.isin(wanted, self.sources)].tolist()
        return [self.truth(source, -1 - i) for i, source in enumerate(missed)]

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

    def truth(self, source: int, index: int) -> Target:
        """All that is annotated in an image."""
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
