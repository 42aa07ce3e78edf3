"""The key points of one kind of object, and how they hang together."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property

DEFAULT_SIGMA = 0.067
"""Spread of a key point of which none is known: the mean of COCO's seventeen."""

_LEFT = re.compile(r"left|(?<![a-z])l(?![a-z])", re.IGNORECASE)


@dataclass(kw_only=True, frozen=True)
class Skeleton:
    """Names of K key points and what belongs to them; key points are referred to by name.

    Raises:
        ValueError: a name stands twice or is unknown, or there are not as many sigmas or weights as names.
    """

    names: tuple[str, ...]
    """In the order of annotations and predictions."""
    bones: tuple[tuple[str, str], ...] = ()
    """Lines to draw."""
    swaps: tuple[tuple[str, str], ...] | None = None
    """Pairs that change places in a mirror; null: names that differ in left and right alone."""
    sigmas: tuple[float, ...] | None = None
    """How far apart annotators place each, as a share of the object's size (COCO's OKS); null: 0.067 each."""
    upper: tuple[str, ...] = ()
    """The upper half of the body; crops of half a body show these or the lower ones."""
    lower: tuple[str, ...] | None = None
    """The lower half; null: all others."""
    weights: tuple[float, ...] | None = None
    """How much each counts in the losses of models that ask for it; null: 1 each."""
    parts: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Key points that are judged by themselves too, by what they are called together: face, left_hand."""

    def __post_init__(self) -> None:
        if not self.names:
            raise ValueError("names: expected at least one key point, got none")
        if twice := [name for name, count in Counter(self.names).items() if count > 1]:
            raise ValueError(f"names: expected each name once, got {', '.join(twice)} more than once")
        pairs = (*self.bones, *(self.swaps or ()), *self.parts.values())
        mentioned = (*(name for pair in pairs for name in pair), *self.upper, *(self.lower or ()))
        if unknown := sorted(set(mentioned) - set(self.names)):
            raise ValueError(
                f"no key point is called {', '.join(unknown)}; there are {', '.join(self.names)}"
            )
        swapped = Counter(name for pair in self.swaps or () for name in pair)
        if twice := [name for name, count in swapped.items() if count > 1]:
            raise ValueError(f"swaps: expected each name in one pair, got {', '.join(twice)} in more")
        for what, numbers in (("sigmas", self.sigmas), ("weights", self.weights)):
            if numbers is not None and len(numbers) != len(self.names):
                raise ValueError(f"{what}: expected {len(self.names)}, one per name, got {len(numbers)}")
            if numbers is not None and min(numbers) <= 0:
                raise ValueError(f"{what}: expected numbers above 0, got {min(numbers)}")
        if empty := [name for name, part in self.parts.items() if not part]:
            raise ValueError(f"parts: expected at least one key point in {', '.join(empty)}, got none")

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def mirror(self) -> tuple[int, ...]:
        """(K,) which key point stands in the place of each in a mirrored image."""
        order = list(range(len(self.names)))
        for a, b in self.swaps if self.swaps is not None else _by_name(self.names):
            i, j = self.names.index(a), self.names.index(b)
            order[i], order[j] = j, i
        return tuple(order)

    @cached_property
    def lines(self) -> tuple[tuple[int, int], ...]:
        """The bones by position of their ends."""
        return tuple((self.names.index(a), self.names.index(b)) for a, b in self.bones)

    @cached_property
    def spreads(self) -> tuple[float, ...]:
        """(K,) sigmas, given or not."""
        return self.sigmas if self.sigmas is not None else (DEFAULT_SIGMA,) * len(self.names)

    @cached_property
    def places(self) -> dict[str, tuple[int, ...]]:
        """Positions of the key points of each part."""
        return {name: tuple(map(self.names.index, part)) for name, part in self.parts.items()}

    @cached_property
    def halves(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Positions of the upper and of the lower key points."""
        rest = tuple(name for name in self.names if name not in self.upper)
        lower = rest if self.lower is None else self.lower
        return tuple(map(self.names.index, self.upper)), tuple(map(self.names.index, lower))


def _by_name(names: tuple[str, ...]) -> list[tuple[str, str]]:
    """Pairs like left_eye and right_eye, or l_hip and r_hip."""
    by_folded = {name.lower(): name for name in names}
    pairs = []
    for name in names:
        other = _LEFT.sub(lambda found: "r" if len(found[0]) == 1 else "right", name.lower())
        if other != name.lower() and other in by_folded:
            pairs.append((name, by_folded[other]))
    return pairs
