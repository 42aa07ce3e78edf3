"""Folders of images beside folders of label maps: the form of nearly every segmentation set."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torchvision import tv_tensors

from omma.data.dataset import Dataset
from omma.data.images import image_size, read_image, read_label_map
from omma.data.lines import read_lines
from omma.data.paths import inside, under
from omma.data.transforms import AnyTransform, Compose
from omma.errors import DataError
from omma.registry import register
from omma.structures import DataInfo, Meta, Sample, Target
from omma_segmentation.datasets.classes import class_list
from omma_segmentation.datasets.histograms import Histograms, count_numbers
from omma_segmentation.datasets.label_map import KNOWN_MAPS, PLAIN, UNKNOWN, LabelMap

_TRIED_AT_START = 8


@register
class MaskFolder(Dataset):
    """``images/**NAME + image_suffix`` and ``masks/**NAME + mask_suffix`` for the same names.

    A few masks are read at once. The others are when they are needed, or all of them when someone asks which
    are ``usable``, as ``omma train`` does before its first step; what was found is remembered.

    Args:
        images: folder of the images.
        masks: folder of the masks: one number per pixel, grey or with a palette; or colours.
        root: folder that both are relative to.
        classes: names in label order, or a known list such as 'cityscapes'.
        label_map: which number or colour is which class; by default 0, 1, 2 ... and 255 for ignored pixels.
            Or the name of a known one, such as 'coco_stuff164k'.
        split: text file below ``root`` that lists the images by name, path or path and mask; null: all.
        image_suffix: what a name becomes an image file by.
        mask_suffix: likewise a mask file.
        transforms: applied to each sample.

    Raises:
        DataError: a folder is missing or empty, an image has no mask, or a number in a mask means nothing.
        ValueError: ``label_map`` contradicts itself.
    """

    counted = "labelled pixels"

    def __init__(
        self,
        *,
        images: str,
        masks: str,
        root: str | None = None,
        classes: tuple[str, ...] | str,
        label_map: LabelMap | str = PLAIN,
        split: str | None = None,
        image_suffix: str = ".jpg",
        mask_suffix: str = ".png",
        transforms: tuple[AnyTransform, ...] = (),
    ) -> None:
        self.info = DataInfo(class_list(classes))
        self.label_map = _named(label_map)
        self.table = self.label_map.table(len(self.info.classes))
        self.images, self.masks = under(root, images), under(root, masks)
        self.image_suffix, self.mask_suffix = image_suffix, mask_suffix
        self.transforms = Compose(transforms=transforms)
        if not self.images.is_dir():
            raise DataError(f"{self.images}: expected a folder of images, found none")
        if not self.masks.is_dir():
            raise DataError(f"{self.masks}: expected a folder of masks, found none")
        self.names = self._all_names() if split is None else self._listed(under(root, split))
        for index in np.unique(np.linspace(0, len(self) - 1, _TRIED_AT_START).astype(int)):
            self.labels(int(index))

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        """Image and labels of sample ``index``, transformed.

        Raises:
            DataError: a file can't be read, the two differ in size, or a number means nothing.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"there are {len(self)} samples, got index {index}")
        labels = self.labels(index)
        height, width = labels.shape
        meta = Meta(index=index, id=self.names[index], path=self.path(index), height=height, width=width)
        return self.transforms(
            {"image": read_image(self.path(index)), "semantic": tv_tensors.Mask(labels), "meta": meta}
        )

    def target(self, index: int) -> Target:
        """The labels of sample ``index``, read from its mask."""
        labels = self.labels(index)
        return {
            "index": index,
            "id": self.names[index],
            "path": self.path(index),
            "height": labels.shape[0],
            "width": labels.shape[1],
            "semantic": labels,
        }

    def labels(self, index: int) -> Tensor:
        """(H, W) uint8 class of each pixel, IGNORED where it doesn't count.

        Raises:
            DataError: image or mask can't be read, the two differ in size, or a number means nothing.
        """
        path = self.mask_path(index)
        numbers = read_label_map(path, colours=self.label_map.colours)
        height, width = image_size(self.path(index))
        if tuple(numbers.shape) != (height, width):
            raise DataError(
                f"{path}: expected {width} x {height} pixels as the image has, the mask has "
                f"{numbers.shape[1]} x {numbers.shape[0]}"
            )
        labels = self._meaning(numbers)
        unknown = labels == UNKNOWN
        if unknown.any():
            raise DataError(f"{path}: {self._strangers(numbers[unknown])}")
        return labels

    def path(self, index: int) -> str:
        """Image file of sample ``index``."""
        return str(self.images / f"{self.names[index]}{self.image_suffix}")

    def mask_path(self, index: int) -> Path:
        """Mask file of sample ``index``."""
        return self.masks / f"{self.names[index]}{self.mask_suffix}"

    @property
    def image_sizes(self) -> np.ndarray:
        """(len, 2) original heights and widths, from the headers of all images."""
        return self._sizes

    @cached_property
    def _sizes(self) -> np.ndarray:
        return np.array([image_size(self.path(index)) for index in range(len(self))], np.int32)

    def class_counts(self) -> np.ndarray:
        """(len, C) uint32 pixels of each class; all masks are read, or were."""
        found = self.histograms
        return found.class_counts(self._meaning(found.numbers), len(self.info.classes))

    def usable(self) -> np.ndarray:
        """(len,) bool: whether each mask can be read, is as large as its image and has no strange number."""
        found = self.histograms
        usable = ((found.mask_sizes == found.image_sizes) & (found.mask_sizes > 0)).all(dim=1)
        usable[found.owners[self._meaning(found.numbers) == UNKNOWN]] = False
        return usable.numpy()

    @cached_property
    def histograms(self) -> Histograms:
        """The numbers of all masks."""
        indices = range(len(self))
        images, masks = [Path(self.path(i)) for i in indices], [self.mask_path(i) for i in indices]
        return count_numbers(images, masks, colours=self.label_map.colours)

    def _meaning(self, numbers: Tensor) -> Tensor:
        """The label of each number, UNKNOWN where it has none."""
        inside = numbers.clamp(0, len(self.table) - 1)
        labels = torch.from_numpy(np.take(self.table.numpy(), inside.numpy()))
        return torch.where(inside == numbers, labels, UNKNOWN)

    def _strangers(self, numbers: Tensor) -> str:
        values, counts = numbers.unique(return_counts=True)
        listed = ", ".join(
            f"{self.label_map.written(value)} ({count} pixels)"
            for value, count in zip(values[:5].tolist(), counts.tolist())
        )
        known = self.table.ne(UNKNOWN).nonzero()[:, 0].tolist()
        listed += f" and {len(values) - 5} more" if len(values) > 5 else ""
        what = "colour" if self.label_map.colours else "number"
        return (
            f"the {what} {listed} is neither a class nor ignored; the {len(self.info.classes)} classes and "
            f"ignored pixels are {self.label_map.listed(known)}: see label_map"
        )

    def _all_names(self) -> list[str]:
        found = sorted(
            file.relative_to(self.images).as_posix().removesuffix(self.image_suffix)
            for file in self.images.rglob(f"*{self.image_suffix}")
        )
        if not found:
            raise DataError(f"{self.images}: expected images that end in '{self.image_suffix}', found none")
        for name in found:
            if not (path := self.masks / f"{name}{self.mask_suffix}").exists():
                raise DataError(f"{path}: there is no such mask for the image '{name}{self.image_suffix}'")
        return found

    def _listed(self, path: Path) -> list[str]:
        names: list[str] = []
        for number, line in enumerate(read_lines(path), 1):
            if words := line.split():
                name = inside(words[0], f"{path}:{number}").removesuffix(self.image_suffix)
                # Lists name the image by itself, or with the folder that the images are in.
                while "/" in name and not (self.images / f"{name}{self.image_suffix}").exists():
                    name = name.partition("/")[2]
                if not (self.images / f"{name}{self.image_suffix}").exists():
                    raise DataError(f"{path}:{number}: there is no image '{words[0]}' in {self.images}")
                names.append(name)
        if not names:
            raise DataError(f"{path}: expected at least one image, found none; is it the right file?")
        return names


def _named(label_map: LabelMap | str) -> LabelMap:
    if isinstance(label_map, LabelMap):
        return label_map
    if label_map not in KNOWN_MAPS:
        raise ValueError(f"label_map: expected numbers or one of {', '.join(KNOWN_MAPS)}, got '{label_map}'")
    return KNOWN_MAPS[label_map]
