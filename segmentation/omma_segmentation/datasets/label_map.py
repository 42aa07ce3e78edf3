"""What the numbers in mask files mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from omma.structures import IGNORED

UNKNOWN = 254
"""What a number that means nothing is taken for, until someone asks."""
_NUMBERS, _COLOURS = 2**16, 2**24
_SHOWN = 20
_NO_COCO_CATEGORY = frozenset((11, 25, 28, 29, 44, 65, 67, 68, 70, 82, 90))


@dataclass(kw_only=True, frozen=True)
class LabelMap:
    """Which number in a mask file is which class; any that is neither a class nor ignored is an error."""

    values: tuple[int, ...] | None = None
    """The number of each class, in label order; null: counted from ``first`` on."""
    first: int = 0
    ignored: tuple[int, ...] | None = None
    """Numbers of pixels that are neither right nor wrong; null: 255, or none where colours are meant."""
    colours: bool = False
    """Masks are pictures whose colours stand for the classes; the number of a colour is 0xRRGGBB."""

    def table(self, classes: int) -> Tensor:
        """(65536,) uint8, or of all colours: number in a file -> label, IGNORED, or the mark of a number that
        means nothing.

        Raises:
            ValueError: the numbers contradict each other or aren't as many as the classes.
        """
        if self.colours and self.values is None:
            raise ValueError("label_map.colours needs the colour of each class in label_map.values")
        values = self.values if self.values is not None else tuple(range(self.first, self.first + classes))
        ignored = self.ignored if self.ignored is not None else () if self.colours else (IGNORED,)
        if len(values) != classes:
            raise ValueError(f"label_map.values has {len(values)} numbers for {classes} classes")
        if classes >= UNKNOWN:
            raise ValueError(f"expected fewer than {UNKNOWN} classes, got {classes}")
        both, size = [*values, *ignored], _COLOURS if self.colours else _NUMBERS
        if twice := sorted({value for value in both if both.count(value) > 1}):
            raise ValueError(f"label_map gives {self.listed(twice)} more than one meaning")
        if wrong := [value for value in both if not 0 <= value < size]:
            raise ValueError(f"expected numbers from 0 to {size - 1} in label_map, got {wrong[0]}")
        table = torch.full((size,), UNKNOWN, dtype=torch.uint8)
        table[torch.tensor(values)] = torch.arange(classes, dtype=torch.uint8)
        table[torch.tensor(ignored, dtype=torch.int64)] = IGNORED
        return table

    def written(self, number: int) -> str:
        """A number as it would be written in ``values``."""
        return f"0x{number:06X}" if self.colours else str(number)

    def listed(self, numbers: Sequence[int]) -> str:
        """``[0, 1, 2, 255]`` -> '0..2, 255'; of colours the first ones."""
        if self.colours:
            return ", ".join(map(self.written, numbers[:_SHOWN])) + (", ..." if len(numbers) > _SHOWN else "")
        parts: list[list[int]] = []
        for number in numbers:
            if parts and number == parts[-1][1] + 1:
                parts[-1][1] = number
            else:
                parts.append([number, number])
        return ", ".join(str(a) if a == b else f"{a}..{b}" for a, b in parts)


PLAIN = LabelMap()
KNOWN_MAPS = {
    # Category ids less one; 11 ids below 91 were never given.
    "coco_stuff164k": LabelMap(values=tuple(i for i in range(182) if i not in _NO_COCO_CATEGORY)),
}
"""Maps that a config may name."""
