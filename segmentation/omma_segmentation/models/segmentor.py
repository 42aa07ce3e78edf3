"""Backbone, neck and decode heads: the frame of nearly every segmentation model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from omma.backbones import Backbone
from omma.checkpoint.readers import Weights
from omma.layers import resize
from omma.model import Model, Preprocessor
from omma.necks import Neck, channels_behind
from omma.registry import register
from omma.structures import IGNORED, Batch, Prediction
from omma_segmentation.models.heads.decode_head import DecodeHead, MapHead, RefineHead
from omma_segmentation.models.sliding_window import SlidingWindow
from omma_segmentation.models.torchvision_weights import from_torchvision


@register
class Segmentor(Model):
    """One class for each pixel.

    Args:
        backbone: image to feature maps.
        neck: feature maps to other ones; null: the heads take the backbone's.
        decode_head: maps to logits; or several heads in a row, each of which refines the logits before it.
        auxiliary_head: heads that only learn, on intermediate maps; one, several or null.
        window: predict through a sliding window; null: on the whole image at once.
        preprocessor: images to network input.
        label_stride: s; of each s x s pixels one is learnt from, drawn anew in each step. Logits are coarser
            than pixels anyway, and on a CPU the losses of all pixels take their time. Heads that learn
            boundaries (STDC, PIDNet) find them in the labels that are left: their widths count in steps of s.

    Raises:
        ValueError: a head takes maps that aren't there or have other channels, or is in the wrong place, or
            the stride isn't positive.
    """

    task: ClassVar[str] = "segmentation"

    def __init__(
        self,
        *,
        backbone: Backbone,
        neck: Neck | None = None,
        decode_head: DecodeHead | tuple[MapHead, ...],
        auxiliary_head: DecodeHead | tuple[DecodeHead, ...] | None = None,
        window: SlidingWindow | None = None,
        preprocessor: Preprocessor,
        label_stride: int = 1,
    ) -> None:
        super().__init__()
        if label_stride < 1:
            raise ValueError(f"label_stride must be at least 1, got {label_stride}")
        self.label_stride = label_stride
        self.preprocessor, self.backbone, self.neck = preprocessor, backbone, neck
        self.decode_head = nn.ModuleList(decode_head) if isinstance(decode_head, tuple) else decode_head
        if isinstance(auxiliary_head, tuple):
            self.auxiliary_head = nn.ModuleList(auxiliary_head)
        else:
            self.auxiliary_head = auxiliary_head
        self.window = window
        channels = channels_behind(neck, backbone.out_channels)
        first, refining = self.decode_heads()
        self.align_corners, classes = first.align_corners, first.num_classes
        for name, head in {"decode": first, **refining, **self.auxiliary_heads()}.items():
            check_maps(name, head, channels)
            # A head that learns something else has classes of its own, and no rows for those of the data.
            if head.class_rows() and head.num_classes != classes:
                raise ValueError(f"{name} head has {head.num_classes} classes, decode head {classes}")
        divisor = preprocessor.divisor
        if window is not None and (window.height % divisor or window.width % divisor):
            raise ValueError(
                f"window has tiles of {window.height} x {window.width} pixels, but the network takes "
                f"multiples of {divisor}, see preprocessor.divisor"
            )

    def decode_heads(self) -> tuple[DecodeHead, dict[str, RefineHead]]:
        """The head that decodes, and those that refine its logits in turn, by what their losses are called.

        Raises:
            ValueError: a head can't stand where it does.
        """
        heads = list(self.decode_head) if isinstance(self.decode_head, nn.ModuleList) else [self.decode_head]
        first, *rest = heads or [None]
        if not isinstance(first, DecodeHead):
            raise ValueError(f"the first decode head must decode maps, got {type(first).__name__}")
        refining = {f"decode_{i}": head for i, head in enumerate(rest, 1) if isinstance(head, RefineHead)}
        if len(refining) < len(rest):
            raise ValueError("decode heads after the first must refine the logits of the one before")
        return first, refining

    def auxiliary_heads(self) -> dict[str, DecodeHead]:
        """The heads that only learn, by what their losses are called."""
        if isinstance(self.auxiliary_head, nn.ModuleList):
            heads = {f"aux_{i}": head for i, head in enumerate(self.auxiliary_head)}
        else:
            heads = {"aux": self.auxiliary_head}
        return {name: head for name, head in heads.items() if isinstance(head, DecodeHead)}

    def features(self, images: Tensor | Sequence[Tensor]) -> Sequence[Tensor]:
        """The maps of uint8 RGB images that heads take."""
        return self.maps(self.preprocessor(images))

    def maps(self, x: Tensor) -> Sequence[Tensor]:
        """The maps of network input (N, 3, H, W)."""
        maps = self.backbone(x)
        return maps if self.neck is None else self.neck(maps)

    def network(self, x: Tensor) -> Tensor:
        """Network input (N, 3, H, W) -> logits (N, C, H, W)."""
        maps = self.maps(x)
        first, refining = self.decode_heads()
        logits = first.logits(first(maps))
        for head in refining.values():
            logits = head(maps, logits)
        return resize(logits, x, align_corners=self.align_corners)

    def own_weights(self, state: Mapping[str, Tensor]) -> Weights | None:
        """``state`` under our names if it is of a torchvision segmenter, see ``torchvision_weights``."""
        return from_torchvision(state)

    def forward(self, images: Tensor | Sequence[Tensor]) -> Tensor:
        """Logits of uint8 RGB images, (N, C, H, W) at the size of the network's input."""
        return self.network(self.preprocessor(images))

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """The losses of all heads, ``decode.loss_ce``, ``aux.loss_ce`` and so on; ``decode_0`` of several."""
        x = self.preprocessor(batch.images)
        maps, labels = self.maps(x), self.learnt(pixel_labels(batch, x))
        first, refining = self.decode_heads()
        outputs = first(maps)
        losses = named("decode_0" if refining else "decode", first.loss(outputs, labels))
        logits = first.logits(outputs)
        for i, (name, head) in enumerate(refining.items()):
            losses |= named(name, head.loss(maps, logits, labels))
            if i + 1 < len(refining):
                logits = head(maps, logits)
        for name, head in self.auxiliary_heads().items():
            losses |= named(name, head.loss(head(maps), labels))
        return losses

    def learnt(self, labels: Tensor) -> Tensor:
        """Of (N, H, W) labels those that this step learns from."""
        step = self.label_stride
        if step == 1:
            return labels
        # Drawn, as always the same pixel of a cell would move all borders towards it.
        top, left = torch.randint(step, (2,)).tolist()
        return labels[:, top::step, left::step]

    def predict(self, batch: Batch) -> list[Prediction]:
        """The class of each original pixel."""
        return [{"semantic": logits.argmax(0).to(torch.uint8)} for logits in self.original_logits(batch)]

    def original_logits(self, batch: Batch) -> Iterator[Tensor]:
        """Logits (C, H, W) of the original pixels of each image, one after the other: they are large."""
        x = self.preprocessor(batch.images)
        logits = self.network(x) if self.window is None else self.window(self.network, x)
        align = self.align_corners
        for one, (height, width), meta in zip(logits, batch.sizes, batch.metas, strict=True):
            yield resize(one[None, :, :height, :width], (meta.height, meta.width), align_corners=align)[0]


def check_maps(name: str, head: MapHead, channels: Sequence[int]) -> None:
    """Whether a head fits maps of these ``channels``.

    Raises:
        ValueError: it takes maps that aren't there or have other channels.
    """
    for index, wanted in zip(head.in_index, head.in_channels, strict=True):
        if not -len(channels) <= index < len(channels):
            raise ValueError(
                f"{name} head takes map {index}, but there are {len(channels)}: {list(channels)}"
            )
        if channels[index] != wanted:
            raise ValueError(
                f"in_channels of the {name} head says {wanted} for map {index}, which has {channels[index]} "
                f"channels; the maps have {list(channels)}"
            )


def named(name: str, losses: dict[str, Tensor]) -> dict[str, Tensor]:
    """The losses of one head among those of all."""
    return {f"{name}.{key}": value for key, value in losses.items()}


def pixel_labels(batch: Batch, x: Tensor) -> Tensor:
    """Labels (N, H, W) int64 of network input ``x`` (N, 3, H, W); what was padded is ignored."""
    labels = torch.full((len(batch), *x.shape[-2:]), IGNORED, dtype=torch.int64, device=x.device)
    for slot, sample in zip(labels, batch.samples, strict=True):
        semantic: Any = sample["semantic"]
        slot[: semantic.shape[-2], : semantic.shape[-1]] = semantic
    return labels
