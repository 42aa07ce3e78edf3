"""What the numbers in mask files mean."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from omma.structures import IGNORED

UNKNOWN = 254
"""What a number that means nothing is taken for, until someone asks."""
_VALUES = 2**16
_NO_COCO_CATEGORY = frozenset((11, 25, 28, 29, 44, 65, 67, 68, 70, 82, 90))


@dataclass(kw_only=True, frozen=True)
class LabelMap:
    """Which number in a mask file is which class; any that is neither a class nor ignored is an error."""

    values: tuple[int, ...] | None = None
    """The number of each class, in label order; null: counted from ``first`` on."""
    first: int = 0
    ignored: tuple[int, ...] = (255,)
    """Numbers of pixels that are neither right nor wrong."""

    def table(self, classes: int) -> Tensor:
        """(65536,) uint8: number in a file -> label, IGNORED, or the mark of a number that means nothing.

        Raises:
            ValueError: the numbers contradict each other or aren't as many as the classes.
        """
        values = self.values if self.values is not None else tuple(range(self.first, self.first + classes))
        if len(values) != classes:
            raise ValueError(f"label_map.values has {len(values)} numbers for {classes} classes")
        if classes >= UNKNOWN:
            raise ValueError(f"expected fewer than {UNKNOWN} classes, got {classes}")
        both = [*values, *self.ignored]
        if twice := sorted({value for value in both if both.count(value) > 1}):
            raise ValueError(f"label_map gives {twice} more than one meaning")
        if wrong := [value for value in both if not 0 <= value < _VALUES]:
            raise ValueError(f"expected numbers from 0 to {_VALUES - 1} in label_map, got {wrong[0]}")
        table = torch.full((_VALUES,), UNKNOWN, dtype=torch.uint8)
        table[torch.tensor(values)] = torch.arange(classes, dtype=torch.uint8)
        table[torch.tensor(self.ignored, dtype=torch.int64)] = IGNORED
        return table


PLAIN = LabelMap()
KNOWN_MAPS = {
    # Category ids less one; 11 ids below 91 were never given.
    "coco_stuff164k": LabelMap(values=tuple(i for i in range(182) if i not in _NO_COCO_CATEGORY)),
}
"""Maps that a config may name."""
