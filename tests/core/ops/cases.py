"""What ``test_all_ops`` must know of an operator: each ``*_cases`` module has a tuple ``CASES`` of these."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

Inputs = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """How an operator is called, and what it must give.

    ``make(n, generator)`` gives the tensors of a problem of size ``n`` as float64 (and integers), by argument
    name; 0 and 1 are the empty problem and the one of one element.
    """

    op: str
    """Name in ``OPERATORS``, of which every kernel is tested."""
    function: Callable[..., Any]
    make: Callable[[int, torch.Generator], Inputs]
    truth: Callable[..., Any]
    """The same from an independent source, in float64; takes the same arguments."""
    settings: dict[str, Any] = field(default_factory=dict)
    """The arguments that aren't tensors."""
    note: str = ""
    """Tells cases of one operator apart."""
    size: int = 12
    sizes: tuple[int, ...] = (0, 1)
    """Further sizes at which results are compared."""
    differentiable: tuple[str, ...] = ()
    """Arguments that gradients reach."""
    half: tuple[str, ...] = ()
    """Arguments that may be of half precision; empty: the operator isn't for half precision."""
    half_tolerance: float = 2e-2
    """Absolute error allowed in bfloat16; an eighth of it in float16."""
    tolerance: float = 1e-5
    """Absolute and relative error allowed in float32."""
    float64: tuple[str, ...] = ("reference", "torchvision", "triton", "numpy", "pytorch")
    """Backends that compute in float64 when given it; their gradients are checked."""
    dynamic: bool = False
    """Whether the result's shape depends on values: tracing must be told to allow it."""
    untraced: tuple[str, ...] = ()
    """Backends that can't be compiled and exported with these settings."""
    extremes: Callable[[], list[Inputs]] | None = None
    """Huge, degenerate and other hard problems, compared like the others."""

    @property
    def name(self) -> str:
        """For the test's id."""
        return f"{self.op}-{self.note}" if self.note else self.op


def random_boxes(count: int, generator: torch.Generator, *, extent: float = 100.0) -> Tensor:
    """(count, 4) xyxy float64 that overlap a good deal."""
    corner, size = torch.rand(2, count, 2, generator=generator, dtype=torch.float64) * extent
    return torch.cat([corner, corner + size * 0.4 + 0.1], 1)


def hard_boxes() -> Tensor:
    """Of no area, one inside the other, equal, far out and huge."""
    return torch.tensor(
        [
            [0, 0, 0, 0],
            [5, 5, 5, 9],
            [0, 0, 10, 10],
            [0, 0, 10, 10],
            [2, 2, 4, 4],
            [-1e4, -1e4, 1e4, 1e4],
            [9990, 9990, 10000, 10000],
            [9991, 9991, 10001, 10001],
        ],
        dtype=torch.float64,
    )
