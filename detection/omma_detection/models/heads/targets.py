"""From the objects of a batch to one target per prior."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from omma.parallel import normalizer
from omma.structures import Sample
from omma_detection.models.assigners import Assignment, MaxIoUAssigner
from omma_detection.models.samplers import BoxSampler


@dataclass(frozen=True)
class Matched:
    """The object of each of P priors in each of N images, where there is one."""

    assignments: list[Assignment]
    boxes: Tensor
    """(N, P, 4) xyxy of the object, pixels; anything where there is none."""
    labels: Tensor
    """(N, P) int64 class of the object; anything where there is none."""

    @property
    def positive(self) -> Tensor:
        """(N, P) bool."""
        return torch.stack([a.positive for a in self.assignments])

    @property
    def negative(self) -> Tensor:
        """(N, P) bool."""
        return torch.stack([a.negative for a in self.assignments])


def match(priors: Tensor, valid: Tensor, samples: Sequence[Sample], assigner: MaxIoUAssigner) -> Matched:
    """Assign the objects of each of N samples to those of the priors that are ``valid`` (N, P).

    ``priors`` are the same (P, 4) for all samples, or each sample's own (N, P, 4).
    """
    assignments, boxes, labels = [], [], []
    for sample, own, usable in zip(samples, priors.expand(len(samples), -1, -1), valid):
        objects = sample["boxes"].as_subclass(Tensor).float()
        assignment = assigner(own, objects, usable)
        assignments.append(assignment)
        boxes.append(gather(objects, assignment))
        labels.append(gather(sample["labels"], assignment))
    return Matched(assignments, torch.stack(boxes), torch.stack(labels))


def draw(assignments: Sequence[Assignment], sampler: BoxSampler) -> tuple[Tensor, Tensor, int]:
    """Which of P priors in each of N images enter the losses.

    Returns:
        (N, P) bool, those with an object; (N, P) bool, all of them; and their number, in which both kinds
        count at least once in each image.
    """
    positive = torch.zeros_like(torch.stack([a.objects for a in assignments]), dtype=torch.bool)
    used = torch.zeros_like(positive)
    count = 0
    for row, assignment in enumerate(assignments):
        sampled = sampler(assignment)
        positive[row, sampled.positive] = True
        used[row, sampled.positive] = True
        used[row, sampled.negative] = True
        count += max(len(sampled.positive), 1) + max(len(sampled.negative), 1)
    return positive, used, count


def count_positives(positive: Tensor) -> Tensor | float:
    """What losses of positives (N, P) bool are divided by.

    Each image counts at least once, so that images without objects don't raise the average.
    """
    return normalizer(positive.sum(dim=1).clamp(min=1).sum())


def gather(values: Tensor, assignment: Assignment) -> Tensor:
    """Row of ``values`` (G, ...) for each prior, (P, ...); zeros where the image has no object."""
    if not len(values):
        return values.new_zeros(len(assignment.objects), *values.shape[1:])
    return values[assignment.objects.clamp(min=0)]


def flatten_levels(maps: Sequence[Tensor], width: int) -> Tensor:
    """Maps (N, A * width, H, W) of all levels as (N, sum of H * W * A, width)."""
    return torch.cat([m.permute(0, 2, 3, 1).reshape(len(m), -1, width) for m in maps], dim=1)
