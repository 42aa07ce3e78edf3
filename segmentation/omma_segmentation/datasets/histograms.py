"""How often each number comes up in each mask of a data set: looked at once, and remembered."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from omma.data.images import image_size, read_label_map
from omma.data.remembered import remembered
from omma.errors import DataError

_THREADS = 8
_FEW = 2**16
"""Numbers below are counted in a table of all of them."""


@dataclass(frozen=True)
class Histograms:
    """L images with their masks, and the K numbers that come up in these, mask after mask."""

    image_sizes: Tensor
    """(L, 2) int32 height and width of the images; zeros where one can't be read."""
    mask_sizes: Tensor
    """Likewise of the masks."""
    owners: Tensor
    """(K,) int32: the mask of each number."""
    numbers: Tensor
    """(K,) int32, rising within a mask."""
    counts: Tensor
    """(K,) int32 pixels that have it."""

    def class_counts(self, labels: Tensor, classes: int) -> np.ndarray:
        """(L, C) uint32 pixels of each class, where the numbers (K,) mean these ``labels``."""
        counts = np.zeros((len(self.mask_sizes), classes), np.uint32)
        known = labels.numpy() < classes
        # Several numbers may be one class.
        place = (self.owners.numpy()[known], labels.numpy()[known])
        np.add.at(counts, place, self.counts.numpy()[known].astype(np.uint32))
        return counts


def count_numbers(images: Sequence[Path], masks: Sequence[Path], *, colours: bool) -> Histograms:
    """Read all masks, and the headers of their images; or remember what they were.

    Args:
        images: files.
        masks: one for each.
        colours: those of the masks are the numbers, see ``read_label_map``.
    """

    def count() -> dict[str, Tensor]:
        with ThreadPoolExecutor(min(_THREADS, os.cpu_count() or 1)) as pool:
            image_sizes = list(pool.map(_image_size, images))
            found = list(pool.map(partial(_histogram, colours=colours), masks))
        lengths = torch.tensor([len(numbers) for _, numbers, _ in found])
        return {
            "image_sizes": torch.tensor(image_sizes, dtype=torch.int32),
            "mask_sizes": torch.tensor([size for size, _, _ in found], dtype=torch.int32),
            "owners": torch.repeat_interleave(torch.arange(len(found), dtype=torch.int32), lengths),
            "numbers": torch.from_numpy(np.concatenate([numbers for _, numbers, _ in found])),
            "counts": torch.from_numpy(np.concatenate([counts for _, _, counts in found])),
        }

    what = "mask-colours-1" if colours else "mask-numbers-1"
    return Histograms(**remembered(what, [*images, *masks], count))


def _image_size(image: Path) -> tuple[int, int]:
    try:
        return image_size(image)
    except DataError:
        return 0, 0


def _histogram(mask: Path, *, colours: bool) -> tuple[tuple[int, int], np.ndarray, np.ndarray]:
    """Size, and the numbers with their counts; of a mask that can't be read nothing."""
    try:
        pixels = read_label_map(mask, colours=colours).numpy()
    except DataError:
        return (0, 0), np.zeros(0, np.int32), np.zeros(0, np.int32)
    if pixels.min() >= 0 and pixels.max() < _FEW:
        table = np.bincount(pixels.reshape(-1))
        numbers = np.flatnonzero(table)
        counts = table[numbers]
    else:
        numbers, counts = np.unique(pixels, return_counts=True)
    return (pixels.shape[0], pixels.shape[1]), numbers.astype(np.int32), counts.astype(np.int32)
