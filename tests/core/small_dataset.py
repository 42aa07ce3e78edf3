"""A data set without files, for tests of what stands around one."""

from __future__ import annotations

import random

import numpy as np
import torch
from torchvision import tv_tensors

from omma.data.dataset import Dataset
from omma.errors import DataError
from omma.structures import DataInfo, Meta, Sample, Target


class Noise(Dataset):
    """Images drawn from all three random generators; sizes and class counts as given."""

    def __init__(self, sizes, counts=None, broken=()):
        self.sizes = np.array(sizes, np.int32)
        self.counts = np.ones((len(sizes), 1)) if counts is None else np.array(counts)
        self.info = DataInfo(tuple(f"class {i}" for i in range(self.counts.shape[1])))
        self.broken = broken

    def __len__(self):
        return len(self.sizes)

    def __getitem__(self, index) -> Sample:
        if index in self.broken:
            raise DataError(f"image {index} is broken")
        image = torch.randint(0, 256, (3, 2, 2), dtype=torch.uint8)
        image[0] = random.randrange(256)
        image[1] = int(np.random.randint(256))
        height, width = self.sizes[index].tolist()
        return {"image": tv_tensors.Image(image), "meta": Meta(index, index, "", height, width)}

    def target(self, index) -> Target:
        return {"index": index, "id": index}

    @property
    def image_sizes(self):
        return self.sizes

    def class_counts(self):
        return self.counts.astype(np.uint16)
