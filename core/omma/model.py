"""The contract of every model: raw outputs, losses, predictions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from omma.registry import register
from omma.structures import Batch, Prediction


@register
class Preprocessor(nn.Module):
    """From uint8 RGB images of any size to the one float tensor that a backbone takes.

    Normalises first and pads with zeros afterwards (right and bottom), so padding is the mean colour.

    Args:
        mean: per-channel mean to subtract, in the channel order of the network's input, 0..255.
        std: per-channel divisor, likewise.
        bgr: reverse the channels to BGR before normalising (caffe-style weights).
        divisor: padded height and width are multiples of this, pixels.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        *,
        mean: tuple[float, float, float] = (123.675, 116.28, 103.53),
        std: tuple[float, float, float] = (58.395, 57.12, 57.375),
        bgr: bool = False,
        divisor: int = 32,
    ) -> None:
        super().__init__()
        self.bgr = bgr
        self.divisor = divisor
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1), persistent=False)

    def forward(self, images: Tensor | Sequence[Tensor]) -> Tensor:
        """``images``: uint8 (N, 3, H, W), or N of (3, H_i, W_i). Returns float32 (N, 3, H', W')."""
        height = max(image.shape[-2] for image in images)
        width = max(image.shape[-1] for image in images)
        height, width = (-(-side // self.divisor) * self.divisor for side in (height, width))
        out = torch.zeros(len(images), 3, height, width, device=self.mean.device)
        for slot, image in zip(out, images):
            image = image.flip(0) if self.bgr else image
            slot[:, : image.shape[-2], : image.shape[-1]] = (image - self.mean) / self.std
        return out


class Model(nn.Module, ABC):
    """Three methods, one job each; a config's ``model:`` builds a subclass.

    ``loss`` and ``predict`` start from the images of the batch, so a model needs no recipe beside it.
    Every model trains on images without any object.
    """

    task: ClassVar[str]
    """Name of the task package's ``Task`` (metrics, drawing, JSON form)."""
    static_graph: ClassVar[bool] = True
    """Whether every step uses the same parameters; false where ``loss`` may leave some of them out."""
    preprocessor: Preprocessor

    @abstractmethod
    def forward(self, images: Tensor | Sequence[Tensor]) -> Any:
        """Raw output tensors for uint8 RGB images, (N, 3, H, W) or N of (3, H_i, W_i)."""

    @abstractmethod
    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Named scalar losses, already weighted: their sum is what is minimised."""

    @abstractmethod
    def predict(self, batch: Batch) -> list[Prediction]:
        """One result per image, in the pixels of the original images."""

    def at_epoch(self, epoch: int) -> None:
        """Told before each training step how many epochs are behind it; most models need not know."""

    def compile_units(self) -> list[nn.Module]:
        """Submodules of fixed-shape tensor code, which ``train.compile`` compiles one by one."""
        units = (getattr(self, name, None) for name in ("backbone", "neck"))
        return [unit for unit in units if isinstance(unit, nn.Module)]
