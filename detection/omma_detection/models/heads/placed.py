"""Heads that know where images lie in the network's input: not always in its corner."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from omma.model import Canvas
from omma.structures import Batch, Prediction
from omma_detection.models.heads.dense import DenseHead


@dataclass(frozen=True)
class Frame:
    """From pixels of images to positions of a map and back."""

    step: Tensor
    """(2,) xy pixels per position."""
    origin: Tensor
    """(N, 1, 2) xy pixels of the map before the image."""

    def positions(self, pixels: Tensor) -> Tensor:
        """(N, K, 2) xy."""
        return (pixels + self.origin) / self.step

    def pixels(self, positions: Tensor) -> Tensor:
        """(N, K, 2) xy; what lies above or left of the image is moved to its edge."""
        return (positions * self.step - self.origin).clamp(min=0)


class PlacedHead(DenseHead):
    """A dense head on maps of one stride, told where the images lie.

    ``canvas`` says so; null: at the corner of an input of whole strides.
    """

    @abstractmethod
    def loss(self, outputs: Any, batch: Batch, canvas: Canvas | None = None) -> dict[str, Tensor]:
        """Named, weighted losses of what ``forward`` gave."""

    @abstractmethod
    def predict(self, outputs: Any, batch: Batch, canvas: Canvas | None = None) -> list[Prediction]:
        """Predictions in original pixels from what ``forward`` gave."""

    def frame(self, maps: Tensor, canvas: Canvas | None) -> Frame:
        """How maps (N, C, H, W) lie to the images."""
        count, _, rows, columns = maps.shape
        if canvas is None:
            canvas = Canvas(rows * self.strides[0], columns * self.strides[0], ((0, 0),) * count)
        step = maps.new_tensor([canvas.width / columns, canvas.height / rows])
        origin = maps.new_tensor([(left, top) for top, left in canvas.offsets])
        return Frame(step, origin[:, None])
