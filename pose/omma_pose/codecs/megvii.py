"""Heatmaps as MSPN and RSN learn them."""

from __future__ import annotations

import cv2
import torch
from torch import Tensor

from omma.registry import register
from omma_pose.codecs.heatmap import HeatmapCodec
from omma_pose.codecs.peaks import maxima, smoothed


@register
class MegviiHeatmap(HeatmapCodec):
    """A pixel of the heatmap for ``input_size / heatmap_size`` of the input (Chen et al., CPN, 2018).

    The bump is a smoothed pixel, the one that the key point lies in, and 255 high; near the border it is
    mirrored. Decoding smooths the maps, takes the middle of the highest pixel and goes a quarter of a pixel
    towards the higher neighbours; at the border it takes the pixel's corner. Scores are heights over 255,
    plus 0.5.

    Pixel i of the heatmap takes what lies from i to i + 1 strides of the input, whose first pixel's centre is
    0.

    Args:
        input_size: (width, height) of the network's input, pixels.
        heatmap_size: (width, height) of the heatmaps.
        kernel: side of the smoothing kernel in pixels of the heatmap, odd.

    Raises:
        ValueError: the kernel is even, below 3, or larger than a heatmap.
    """

    shift_mirrored = False

    def __init__(self, *, input_size: tuple[int, int], heatmap_size: tuple[int, int], kernel: int) -> None:
        # The deviation that OpenMMLab's kernels have by their side.
        super().__init__(input_size=input_size, heatmap_size=heatmap_size, sigma=0.15 * kernel + 0.35)
        self.kernel = self.checked(kernel)

    def checked(self, kernel: int) -> int:
        """A kernel's side.

        Raises:
            ValueError: no kernel of a heatmap has it.
        """
        if kernel < 3 or kernel % 2 == 0 or kernel > min(self.heatmap_size):
            raise ValueError(f"kernel must be odd, from 3 to the side of {self.heatmap_size}, got {kernel}")
        return kernel

    @property
    def stride(self) -> tuple[float, float]:
        """(x, y) pixels of the input for one of the heatmap."""
        (width, height), (w, h) = self.input_size, self.heatmap_size
        return width / w, height / h

    def bumps(self, centres: Tensor, visible: Tensor) -> tuple[Tensor, Tensor]:
        """Maps and weights for centres (N, K, 2) in pixels of the heatmap."""
        return self.bumps_of(centres, visible, self.kernel)

    def encode_with(self, keypoints: Tensor, visible: Tensor, kernel: int) -> tuple[Tensor, Tensor]:
        """As ``encode``, with another kernel: coarser maps learn wider bumps."""
        return self.bumps_of(keypoints / keypoints.new_tensor(self.stride), visible.float(), kernel)

    def bumps_of(self, centres: Tensor, visible: Tensor, kernel: int) -> tuple[Tensor, Tensor]:
        """Maps and weights for centres (N, K, 2) in pixels of the heatmap, and a kernel."""
        pixels = centres.trunc()
        size = pixels.new_tensor(self.heatmap_size)
        weights = visible * ((pixels >= 0) & (pixels < size)).all(dim=-1)
        # OpenMMLab leaves out what is labelled by less than half.
        drawn = weights >= 0.5
        # What lies outside is not drawn; moved inside it keeps the arithmetic finite.
        pixels = pixels.clamp(min=0).minimum(size - 1)
        curve = torch.from_numpy(cv2.getGaussianKernel(kernel, 0, cv2.CV_32F)[:, 0]).to(centres)
        across, down = (
            _smoothed_pixel(pixels[..., axis], length, curve) for axis, length in enumerate(self.heatmap_size)
        )
        maps = 255.0 * down[..., :, None] * across[..., None, :]
        return maps * drawn[..., None, None], weights

    def decode(self, outputs: Tensor) -> tuple[Tensor, Tensor]:
        """See the class; a map without a positive value has its key point at (-1, -1) of the heatmap."""
        heatmaps = smoothed(outputs.float(), self.kernel)
        places, heights = maxima(heatmaps)
        places = torch.where((heights > 0)[..., None], places, -1.0)
        places = places + self.refine(heatmaps, places)
        return places * places.new_tensor(self.stride), heights / 255 + 0.5

    def refine(self, heatmaps: Tensor, places: Tensor) -> Tensor:
        """See ``HeatmapCodec.refine``."""
        height, width = heatmaps.shape[-2:]
        x, y = places.long().unbind(-1)
        inner = (x > 1) & (x < width - 1) & (y > 1) & (y < height - 1)
        here = (y * width + x).clamp(width, width * (height - 1) - 1)
        flat = heatmaps.flatten(2)

        def value(step: int) -> Tensor:
            return flat.gather(2, (here + step)[..., None])[..., 0]

        slope = torch.stack([value(1) - value(-1), value(width) - value(-width)], dim=-1)
        return (0.25 * slope.sign() + 0.5) * inner[..., None]


def _smoothed_pixel(places: Tensor, length: int, curve: Tensor) -> Tensor:
    """(N, K, length): a 1 at ``places`` (N, K) in 0..length - 1 under a kernel, mirrored at the border."""
    grid = torch.arange(length, dtype=places.dtype, device=places.device)
    radius, places = len(curve) // 2, places[..., None]

    def seen(offsets: Tensor) -> Tensor:
        near = offsets.abs() <= radius
        return curve[(offsets + radius).clamp(0, 2 * radius).long()] * near

    # The outermost pixel is its own mirror image and counts once.
    side = seen(grid - places) + seen(grid + places) * (places > 0)
    side = side + seen(2 * (length - 1) - places - grid) * (places < length - 1)
    return side / side.gather(-1, places.long())
