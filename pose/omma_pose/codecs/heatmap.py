"""One map for each key point, with a bump where it lies."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from omma.registry import register
from omma_pose.codecs.base import Codec
from omma_pose.codecs.peaks import maxima, newton_steps, quarter_steps, taylor_steps


class HeatmapCodec(Codec):
    """Targets and outputs are heatmaps (N, K, H, W), where pixel centres count as in the input.

    Args:
        input_size: (width, height) of the network's input, pixels.
        heatmap_size: (W, H).
        sigma: deviation of the bump in pixels of the heatmap; it reaches three deviations.

    Raises:
        ValueError: a size or the deviation is out of its range.
    """

    shift_mirrored: bool
    """Move mirrored maps by a pixel: the crops of a box and of its mirror image lie a pixel apart."""

    def __init__(self, *, input_size: tuple[int, int], heatmap_size: tuple[int, int], sigma: float) -> None:
        super().__init__(input_size=input_size)
        if min(heatmap_size) < 2 or sigma <= 0:
            raise ValueError(f"need sides from 2 on and a positive sigma, got {heatmap_size} and {sigma}")
        self.heatmap_size, self.sigma = heatmap_size, sigma

    @property
    @abstractmethod
    def stride(self) -> tuple[float, float]:
        """(x, y) pixels of the input for one of the heatmap."""

    def encode(self, keypoints: Tensor, visible: Tensor) -> tuple[Tensor, Tensor]:
        """Heatmaps (N, K, H, W) with 1 at the peak and 0 far from it, and the weights."""
        centres = keypoints / keypoints.new_tensor(self.stride)
        return self.bumps(centres, visible.float())

    @abstractmethod
    def bumps(self, centres: Tensor, visible: Tensor) -> tuple[Tensor, Tensor]:
        """Maps and weights for centres (N, K, 2) in pixels of the heatmap."""

    def decode(self, outputs: Tensor) -> tuple[Tensor, Tensor]:
        """The highest point of each map, refined, and its height.

        A map without a positive value has its key point at (-1, -1) of the heatmap, or near it.
        """
        heatmaps = outputs.float()
        places, heights = maxima(heatmaps)
        places = torch.where((heights > 0)[..., None], places, -1.0)
        places = places + self.refine(heatmaps, places)
        return places * places.new_tensor(self.stride), heights

    @abstractmethod
    def refine(self, heatmaps: Tensor, places: Tensor) -> Tensor:
        """(N, K, 2) from the highest pixels at ``places`` to where the maxima are."""

    def upright(self, outputs: Tensor, order: Tensor) -> Tensor:
        """See ``Codec.upright``."""
        maps = outputs.flip(-1)[:, order]
        return torch.cat([maps[..., :1], maps[..., :-1]], dim=-1) if self.shift_mirrored else maps


@register
class MSRAHeatmap(HeatmapCodec):
    """A pixel of the heatmap for ``input_size / heatmap_size`` of the input (Xiao et al., 2018).

    The bump sits on the nearest pixel; decoding goes a quarter of a pixel towards the higher neighbour. With
    ``dark`` it sits where the key point is, and decoding follows the logarithm of the smoothed map to its
    maximum (Zhang et al., DARK, 2019).

    The centre of the heatmap's pixel i is at i strides of the input, whose first pixel's centre is 0: so the
    first pixels of both have the same centre, the last ones not.

    Args:
        input_size: (width, height) of the network's input, pixels.
        heatmap_size: (width, height) of the heatmaps.
        sigma: deviation of the bump in pixels of the heatmap.
        dark: without the bias of whole pixels.
        blur: side of the kernel that smooths maps for ``dark``, odd.

    Raises:
        ValueError: a size, the deviation or the kernel is out of its range.
    """

    shift_mirrored = True

    def __init__(
        self,
        *,
        input_size: tuple[int, int],
        heatmap_size: tuple[int, int],
        sigma: float = 2.0,
        dark: bool = False,
        blur: int = 11,
    ) -> None:
        super().__init__(input_size=input_size, heatmap_size=heatmap_size, sigma=sigma)
        check_blur(blur)
        self.dark, self.blur = dark, blur

    @property
    def stride(self) -> tuple[float, float]:
        """(x, y) pixels of the input for one of the heatmap."""
        (width, height), (w, h) = self.input_size, self.heatmap_size
        return width / w, height / h

    def bumps(self, centres: Tensor, visible: Tensor) -> tuple[Tensor, Tensor]:
        """Maps and weights for centres (N, K, 2) in pixels of the heatmap."""
        nearest = whole(centres)
        if self.dark:
            weights = visible * within(centres, 3 * self.sigma, self.heatmap_size)
            return gaussians(centres, self.heatmap_size, self.sigma, weights), weights
        weights = visible * within(nearest, 3 * self.sigma, self.heatmap_size)
        return gaussians(nearest, self.heatmap_size, self.sigma, weights, window=nearest), weights

    def refine(self, heatmaps: Tensor, places: Tensor) -> Tensor:
        """See ``HeatmapCodec.refine``."""
        return taylor_steps(heatmaps, places, self.blur) if self.dark else quarter_steps(heatmaps, places)


@register
class UDPHeatmap(HeatmapCodec):
    """The outermost pixels of heatmap and input have the same centres (Huang et al., UDP, 2020).

    So a pixel of the heatmap stands for ``(input_size - 1) / (heatmap_size - 1)`` of the input, and a mirror
    moves nothing. The bump sits where the key point is; decoding follows the logarithm of the smoothed map.

    Args:
        input_size: (width, height) of the network's input, pixels.
        heatmap_size: (width, height) of the heatmaps.
        sigma: deviation of the bump in pixels of the heatmap.
        blur: side of the kernel that smooths maps, odd.

    Raises:
        ValueError: a size, the deviation or the kernel is out of its range.
    """

    unbiased = True
    shift_mirrored = False

    def __init__(
        self,
        *,
        input_size: tuple[int, int],
        heatmap_size: tuple[int, int],
        sigma: float = 2.0,
        blur: int = 11,
    ) -> None:
        super().__init__(input_size=input_size, heatmap_size=heatmap_size, sigma=sigma)
        check_blur(blur)
        self.blur = blur

    @property
    def stride(self) -> tuple[float, float]:
        """(x, y) pixels of the input for one of the heatmap."""
        (width, height), (w, h) = self.input_size, self.heatmap_size
        return (width - 1) / (w - 1), (height - 1) / (h - 1)

    def bumps(self, centres: Tensor, visible: Tensor) -> tuple[Tensor, Tensor]:
        """Maps and weights for centres (N, K, 2) in pixels of the heatmap."""
        nearest = whole(centres)
        weights = visible * within(nearest, 3 * self.sigma, self.heatmap_size)
        return gaussians(centres, self.heatmap_size, self.sigma, weights, window=nearest), weights

    def refine(self, heatmaps: Tensor, places: Tensor) -> Tensor:
        """See ``HeatmapCodec.refine``."""
        return newton_steps(heatmaps, places, self.blur)


def check_blur(blur: int) -> None:
    """Whether a kernel can have this side.

    Raises:
        ValueError: it is even or negative.
    """
    if blur < 1 or blur % 2 == 0:
        raise ValueError(f"blur must be odd and positive, got {blur}")


def whole(centres: Tensor) -> Tensor:
    """The nearest pixels, as whole floats."""
    return (centres + 0.5).trunc()


def within(centres: Tensor, reach: float, size: tuple[int, int]) -> Tensor:
    """(N, K) whether some of a bump of this reach around ``centres`` (N, K, 2) lies on a map of (W, H)."""
    return ((centres - reach < centres.new_tensor(size)) & (centres + reach + 1 >= 0)).all(dim=-1)


def gaussians(
    centres: Tensor, size: tuple[int, int], sigma: float, weights: Tensor, *, window: Tensor | None = None
) -> Tensor:
    """Maps (N, K, H, W) of bumps with a height of 1.

    Args:
        centres: (N, K, 2) pixels of the map.
        size: (W, H).
        sigma: deviation, pixels.
        weights: (N, K); maps of key points without weight are 0.
        window: (N, K, 2) pixels around which the bump reaches three deviations; null: over the whole map.
    """
    sides = []
    for axis, length in enumerate(size):
        grid = torch.arange(length, dtype=centres.dtype, device=centres.device)
        side = torch.exp(-((grid - centres[..., axis, None]) ** 2) / (2 * sigma**2))
        if window is not None:
            side = side * ((grid - window[..., axis, None]).abs() <= 3 * sigma)
        sides.append(side)
    across, down = sides
    # On the side, since each pass over the maps costs as much as all else.
    down = down * (weights > 0)[..., None]
    return down[..., :, None] * across[..., None, :]
