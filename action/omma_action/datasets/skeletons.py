"""What data sets of skeletons share: sequences of joints and their classes, in a few flat tensors."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from omma.data.annotations import Ragged, Report, starts_of
from omma.data.dataset import Dataset
from omma.data.transforms import AnyTransform, Compose
from omma.errors import DataError
from omma.structures import DataInfo, Meta, Sample, Target


@dataclass(frozen=True)
class Track:
    """One sequence, as a reader found it."""

    name: str
    joints: np.ndarray
    """(M, T, K, C) floats: x, y and score in pixels, or x, y, z; absent joints are 0."""
    label: int
    size: tuple[int, int] = (0, 0)
    """(height, width) of the images, pixels; zeros: the joints lie in space."""


class SkeletonDataset(Dataset):
    """Sequences of the joints of M persons.

    Joints that are NaN or infinite count as absent. Sequences in which nobody is ever seen are left out.
    ``report`` counts both.

    Args:
        tracks: the sequences; all have as many joints and numbers per joint.
        classes: names in label order.
        where: what is read, for messages.
        transforms: applied to each sample.

    Raises:
        DataError: no sequence is left, or one doesn't fit the others or the classes.
    """

    counted = "sequences"

    def __init__(
        self,
        tracks: Iterable[Track],
        *,
        classes: Sequence[str],
        where: str,
        transforms: Sequence[AnyTransform] = (),
    ) -> None:
        self.report, self.where = Report(), where
        self.transforms = Compose(transforms=transforms)
        self.info = DataInfo(tuple(classes))
        kept = [mended for track in tracks if (mended := self._mended(track)) is not None]
        if not kept:
            raise DataError(f"{where}: expected sequences with joints, there is none")
        self._check(kept)
        first = kept[0].joints
        self.joints, self.numbers = first.shape[2:]
        values = np.concatenate([track.joints.ravel() for track in kept])
        self.tracks = Ragged(torch.from_numpy(values), starts_of([track.joints.size for track in kept]))
        self.persons = torch.tensor([len(track.joints) for track in kept])
        self.labels = torch.tensor([track.label for track in kept], dtype=torch.int64)
        self.sizes = torch.tensor([track.size for track in kept], dtype=torch.int32)
        self.names = Ragged.of_bytes([track.name.encode() for track in kept])

    def _mended(self, track: Track) -> Track | None:
        """The track with zeros for joints that are no numbers; none if nobody is in it."""
        joints, place = track.joints, f"{self.where}: {track.name}"
        if joints.ndim != 4:
            raise DataError(
                f"{place}: expected joints (persons, frames, joints, numbers), got {joints.shape}"
            )
        broken = np.any(~np.isfinite(joints), axis=-1)
        if broken.any():
            joints = np.where(broken[..., None], 0, joints)
            self.report.note("joints that are NaN or infinite, taken for absent", place, int(broken.sum()))
        seen = np.any(joints, axis=(0, 2, 3))
        if not seen.any():
            self.report.note("sequences without any joint, left out", place)
            return None
        self.report.note("frames without anybody", place, int((~seen).sum()))
        return Track(track.name, joints, track.label, track.size)

    def _check(self, tracks: Sequence[Track]) -> None:
        shape, count = tracks[0].joints.shape[2:], len(self.info.classes)
        for track in tracks:
            place = f"{self.where}: {track.name}"
            if track.joints.shape[2:] != shape:
                raise DataError(
                    f"{place}: expected {shape[0]} joints with {shape[1]} numbers each as in "
                    f"{tracks[0].name}, got {track.joints.shape[2:]}"
                )
            if not 0 <= track.label < count:
                raise DataError(f"{place}: expected a label from 0 to {count - 1}, got {track.label}")

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> Sample:
        """Sample ``index``: all frames as one clip."""
        if not 0 <= index < len(self):
            raise IndexError(f"there are {len(self)} samples, got index {index}")
        height, width = self.sizes[index].tolist()
        shape = (1, int(self.persons[index]), -1, self.joints, self.numbers)
        name = self.name(index)
        sample: Sample = {
            # A copy: transforms may not write into what all samples share.
            "skeleton": self.tracks[index].to(torch.float32, copy=True).view(shape),
            "canvas": (height, width),
            "labels": self.labels[index : index + 1].clone(),
            "meta": Meta(index=index, id=name, path=self.where, height=height, width=width),
        }
        return self.transforms(sample)

    def name(self, index: int) -> str:
        """What the sequence is called."""
        return self.names[index].numpy().tobytes().decode()

    def target(self, index: int) -> Target:
        """The class of sample ``index``."""
        height, width = self.sizes[index].tolist()
        return {
            "index": index,
            "id": self.name(index),
            "path": f"{self.where}: {self.name(index)}",
            "height": height,
            "width": width,
            "labels": self.labels[index : index + 1].clone(),
        }

    def problem(self, index: int) -> str | None:
        """Nothing: all sequences are read and looked at when the data set is made."""
        return None

    @property
    def image_sizes(self) -> np.ndarray:
        """(len, 2) heights and widths of the images that joints were found in; zeros in space."""
        return self.sizes.numpy()

    def class_counts(self) -> np.ndarray:
        """(len, C) one for the class of each sequence."""
        counts = np.zeros((len(self), len(self.info.classes)), np.uint16)
        counts[np.arange(len(self)), self.labels.numpy()] = 1
        return counts


def class_names(given: Sequence[str] | None, count: int, where: str) -> tuple[str, ...]:
    """The classes' names: those given, or numbers for labels below ``count``.

    Raises:
        DataError: fewer are given than the labels need.
    """
    if given is None:
        return tuple(str(label) for label in range(count))
    if len(given) < count:
        raise DataError(f"{where}: expected names of {count} classes, as there are labels, got {len(given)}")
    return tuple(given)
