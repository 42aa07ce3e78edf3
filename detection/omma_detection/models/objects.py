"""The ground truth of a batch as tensors of one shape."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from omma.structures import Sample


@dataclass(frozen=True)
class Objects:
    """The objects of N images, filled up to G >= 1 each, so that a batch needs no loop over its images."""

    boxes: Tensor
    """(N, G, 4) xyxy, pixels of the transformed images; zeros where there is no object."""
    labels: Tensor
    """(N, G) int64; zero where there is no object."""
    real: Tensor
    """(N, G) bool: is an object and not filling."""

    @property
    def areas(self) -> Tensor:
        """(N, G) pixels."""
        return (self.boxes[..., 2:] - self.boxes[..., :2]).prod(dim=-1)

    def of(self, assigned: Tensor) -> tuple[Tensor, Tensor]:
        """Box (N, P, 4) and label (N, P) of the object that each prior is assigned.

        Args:
            assigned: (N, P) int64 index of an object; where it is negative the result means nothing.
        """
        index = assigned.clamp(min=0)
        boxes = self.boxes.gather(1, index[..., None].expand(-1, -1, 4))
        return boxes, self.labels.gather(1, index)


def pad_objects(samples: Sequence[Sample], device: torch.device) -> Objects:
    """The boxes and labels of N samples."""
    counts = [len(sample["labels"]) for sample in samples]
    width = max(1, *counts)
    boxes = torch.zeros(len(samples), width, 4, device=device)
    labels = torch.zeros(len(samples), width, dtype=torch.int64, device=device)
    for row, (sample, count) in enumerate(zip(samples, counts)):
        boxes[row, :count] = sample["boxes"].as_subclass(Tensor).float()
        labels[row, :count] = sample["labels"]
    real = torch.arange(width, device=device) < torch.tensor(counts, device=device)[:, None]
    return Objects(boxes, labels, real)


def points_inside(points: Tensor, boxes: Tensor) -> Tensor:
    """Smallest distance (N, G, P) of points (P, 2) to a side of boxes (N, G, 4); negative: outside."""
    low, high = points - boxes[..., None, :2], boxes[..., None, 2:] - points
    return torch.minimum(low, high).amin(dim=-1)
