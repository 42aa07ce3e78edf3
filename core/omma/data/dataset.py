"""The contract of every data set, and the wrappers that combine data sets."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
import torch

from omma.structures import DataInfo, Sample, Target


class Dataset(torch.utils.data.Dataset[Sample], ABC):
    """Map-style access to samples, and to their ground truth without reading any image.

    Annotations lie in a few flat tensors (``omma.data.annotations``), so that worker processes share them.
    """

    info: DataInfo

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __getitem__(self, index: int) -> Sample:
        """Sample ``index``, read from disk and transformed.

        Raises:
            DataError: the image is missing or can't be decoded; the message has its path.
        """

    @abstractmethod
    def target(self, index: int) -> Target:
        """Ground truth of sample ``index`` in original pixels, crowds and difficult objects included."""

    @property
    @abstractmethod
    def image_sizes(self) -> np.ndarray:
        """(len, 2) int32 array of original (height, width); aspect-ratio batching reads it."""

    @abstractmethod
    def class_counts(self) -> np.ndarray:
        """(len, C) uint16 array: objects of each class in each sample; balanced sampling reads it."""

