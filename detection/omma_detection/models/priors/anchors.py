"""Anchor boxes on a pyramid (Ren et al., Faster R-CNN, 2015; Lin et al., RetinaNet, 2017)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from omma.registry import register


@register
class AnchorGenerator:
    """The same set of boxes around every position of every level.

    At each position the boxes run over the aspect ratios first and the scales within them, as OpenMMLab
    orders the channels of its heads. The box of the first position is centred on pixel (0, 0), or beside it.

    Args:
        strides: input pixels per position, one per level.
        ratios: height / width.
        scales: side of a square anchor in strides.
        offset: place of the first centre, in strides; 0.5 is the middle of its cell.
        steps: pixels from one position to the next, where these aren't the strides.
    """

    def __init__(
        self,
        *,
        strides: tuple[int, ...],
        ratios: tuple[float, ...] = (0.5, 1.0, 2.0),
        scales: tuple[float, ...] = (8.0,),
        offset: float = 0.0,
        steps: tuple[float, ...] | None = None,
    ) -> None:
        if not strides or not ratios or not scales:
            raise ValueError("strides, ratios and scales must not be empty")
        if steps is not None and len(steps) != len(strides):
            raise ValueError(f"{len(steps)} steps for {len(strides)} strides")
        self.steps: tuple[float, ...] = strides if steps is None else steps
        self.strides = strides
        self.ratios = ratios
        self.scales = scales
        self.offset = offset

    @property
    def per_position(self) -> int:
        """Anchors at each position, A."""
        return len(self.ratios) * len(self.scales)

    def base_anchors(self, stride: int) -> Tensor:
        """The anchors of position (0, 0): (A, 4) xyxy, pixels."""
        root = torch.tensor(self.ratios, dtype=torch.float32).sqrt()[:, None]
        scale = torch.tensor(self.scales, dtype=torch.float32)[None]
        width, height = (stride * scale / root).flatten(), (stride * scale * root).flatten()
        return torch.stack([-width, -height, width, height], dim=1) / 2 + self.offset * stride

    def grid(self, sizes: Sequence[tuple[int, int]], device: torch.device) -> list[Tensor]:
        """Anchors of each level of ``sizes`` (H, W): (H * W * A, 4) xyxy, pixels, row by row."""
        return [
            place((self.base_anchors(stride) + self.offset * (step - stride)).to(device), size, step)
            for size, stride, step in zip(sizes, self.strides, self.steps, strict=True)
        ]

    def covered(self, sizes: Sequence[tuple[int, int]], images: Tensor) -> Tensor:
        """Whether the position of each anchor lies in the image and not in the padding beside it.

        Args:
            sizes: (H, W) of each level, as for ``grid``.
            images: (N, 2) heights and widths before padding, pixels.

        Returns:
            (N, sum of H * W * A) bool, in the order of ``grid``.
        """
        levels = [
            in_image(size, images, step).repeat_interleave(self.per_position, dim=1)
            for size, step in zip(sizes, self.steps, strict=True)
        ]
        return torch.cat(levels, dim=1)


def place(base: Tensor, size: tuple[int, int], stride: float) -> Tensor:
    """The anchors (A, 4) of position (0, 0) at every position of a level (H, W): (H * W * A, 4)."""
    y, x = torch.meshgrid(*(torch.arange(n, device=base.device) * stride for n in size), indexing="ij")
    shift = torch.stack([x, y, x, y], dim=-1).reshape(-1, 1, 4)
    return (shift + base).reshape(-1, 4)


def in_image(size: tuple[int, int], images: Tensor, stride: float) -> Tensor:
    """(N, H * W) bool: whether the positions of a level (H, W) lie in images of the sizes (N, 2), pixels."""
    y, x = (torch.arange(n, device=images.device) * stride < images[:, i : i + 1] for i, n in enumerate(size))
    return (y[:, :, None] & x[:, None]).flatten(1)


@register
def OctaveAnchorGenerator(
    *,
    strides: tuple[int, ...],
    ratios: tuple[float, ...] = (0.5, 1.0, 2.0),
    octave_base_scale: float = 4.0,
    scales_per_octave: int = 3,
    offset: float = 0.0,
) -> AnchorGenerator:
    """Anchors whose scales divide an octave evenly, as RetinaNet's: 4, 4 * 2^(1/3), 4 * 2^(2/3)."""
    scales = tuple(octave_base_scale * 2 ** (i / scales_per_octave) for i in range(scales_per_octave))
    return AnchorGenerator(strides=strides, ratios=ratios, scales=scales, offset=offset)
