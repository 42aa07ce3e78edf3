"""Labels for tests of boundaries."""

from __future__ import annotations

import torch
from torch import Tensor

from omma.structures import IGNORED


def labels_of(size: tuple[int, int] = (20, 24)) -> Tensor:
    """A few patches of classes, and a part without labels."""
    generator = torch.Generator().manual_seed(0)
    patches = torch.randint(0, 3, (2, size[0] // 4, size[1] // 4), generator=generator)
    labels = patches.repeat_interleave(4, 1).repeat_interleave(4, 2)
    labels[0, :6, :7] = IGNORED
    return labels
