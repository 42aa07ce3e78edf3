"""The contract of every model: raw outputs, losses, predictions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from omma.registry import register
from omma.structures import Batch, Prediction, Skeleton

Sees = Literal["image", "object", "clip", "skeletons"]


@dataclass(frozen=True)
class Canvas:
    """How the images of a batch lie in the network's input."""

    height: int
    width: int
    """Pixels."""
    offsets: tuple[tuple[int, int], ...]
    """(top, left) of each image."""


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
        canvas = self.canvas([(image.shape[-2], image.shape[-1]) for image in images])
        out = self.background(len(images), canvas)
        for slot, image, (top, left) in zip(out, images, canvas.offsets):
            image = image.flip(0) if self.bgr else image
            height, width = image.shape[-2:]
            slot[:, top : top + height, left : left + width] = (image - self.mean) / self.std
        return out

    def background(self, count: int, canvas: Canvas) -> Tensor:
        """What the images are put on, float32 (count, 3, H', W')."""
        return torch.zeros(count, 3, canvas.height, canvas.width, device=self.mean.device)

    def canvas(self, sizes: Sequence[tuple[int, int]]) -> Canvas:
        """Where images of these (height, width) lie after padding."""
        height, width = (self.padded(max(sides)) for sides in zip(*sizes))
        return Canvas(height, width, tuple((self.offset(h), self.offset(w)) for h, w in sizes))

    def padded(self, side: int) -> int:
        """The side of the canvas for the side of an image."""
        return -(-side // self.divisor) * self.divisor

    def offset(self, side: int) -> int:
        """Pixels before an image along one side of it."""
        return 0


@register
class CentredPreprocessor(Preprocessor):
    """Pads all around, so that each image lies in the middle (Law and Deng, CornerNet, 2018).

    Among images of other sizes it lies where it would by itself.

    Args:
        mean, std, bgr: as ``Preprocessor``.
        divisor: the padded side is the next multiple of this above the image's side...
        short: ...less so many pixels: 511 stays 511 at a divisor of 128 and 1 short. At 0 short a multiple
            stays what it is in training, where windows have just the size that is wanted.
        fill: (R, G, B) around the images, 0..255; null: the mean colour.
    """

    border: Tensor

    def __init__(
        self,
        *,
        mean: tuple[float, float, float] = (123.675, 116.28, 103.53),
        std: tuple[float, float, float] = (58.395, 57.12, 57.375),
        bgr: bool = False,
        divisor: int = 128,
        short: int = 1,
        fill: tuple[float, float, float] | None = None,
    ) -> None:
        if not 0 <= short <= 1:
            raise ValueError(f"short must be 0 or 1, else an image may not fit, got {short}")
        super().__init__(mean=mean, std=std, bgr=bgr, divisor=divisor)
        self.short = short
        border = torch.zeros(3, 1, 1)
        if fill is not None:
            colour = torch.tensor(fill).view(3, 1, 1)
            border = ((colour.flip(0) if bgr else colour) - self.mean) / self.std
        self.register_buffer("border", border, persistent=False)

    def background(self, count: int, canvas: Canvas) -> Tensor:
        """The colour around the images, float32 (count, 3, H', W')."""
        return self.border.expand(count, 3, canvas.height, canvas.width).clone()

    def padded(self, side: int) -> int:
        """The side of the canvas for the side of an image."""
        least = side + (self.short if self.training else 1)
        return -(-least // self.divisor) * self.divisor - self.short

    def offset(self, side: int) -> int:
        """Pixels before an image along one side of it."""
        return self.padded(side) // 2 - side // 2


class Model(nn.Module, ABC):
    """Three methods, one job each; a config's ``model:`` builds a subclass.

    ``loss`` and ``predict`` start from the images of the batch, so a model needs no recipe beside it.
    Every model trains on images without any object.
    """

    task: ClassVar[str]
    """Name of the task package's ``Task`` (metrics, drawing, JSON form)."""
    static_graph: ClassVar[bool] = True
    """Whether every step uses the same parameters; false where ``loss`` may leave some of them out."""
    sees: Sees = "image"
    """What a sample shows: all of an image, or one object of it, the box in ``boxes``; or a clip of many
    images, or the skeletons in them. Which objects or skeletons there are, annotations say, or the stage
    before in a chain of models."""
    preprocessor: Preprocessor
    skeleton: Skeleton | None = None
    """The key points that it predicts, where it predicts any."""
    joints: int | None = None
    """Key points of the skeletons that it looks at, where their number matters."""

    @abstractmethod
    def forward(self, images: Tensor | Sequence[Tensor]) -> Any:
        """Raw output tensors for uint8 RGB images, (N, 3, H, W) or N of (3, H_i, W_i)."""

    @abstractmethod
    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Named scalar losses, already weighted: their sum is what is minimised."""

    @abstractmethod
    def predict(self, batch: Batch) -> list[Prediction]:
        """One result per image, in the pixels of the original images."""

    def nothing(self) -> Prediction:
        """The prediction for an image in which there is nothing to see, on the CPU."""
        none = torch.zeros(0)
        return {"boxes": torch.zeros(0, 4), "scores": none, "labels": none.long()}

    def at_epoch(self, epoch: int) -> None:
        """Told before each training step how many epochs are behind it; most models need not know."""

    def at_step(self, step: int) -> None:
        """Likewise, how many training steps."""

    def compile_units(self) -> list[nn.Module]:
        """Submodules of fixed-shape tensor code, which ``train.compile`` compiles one by one."""
        units = (getattr(self, name, None) for name in ("backbone", "neck"))
        return [unit for unit in units if isinstance(unit, nn.Module)]
