"""Where maps are highest, to parts of a pixel."""

from __future__ import annotations

import cv2
import torch
from torch import Tensor
from torch.nn import functional as F


def maxima(maps: Tensor) -> tuple[Tensor, Tensor]:
    """(x, y) of the highest pixel of each map (N, K, H, W), (N, K, 2) float, and its value (N, K)."""
    heights, places = maps.flatten(2).max(dim=2)
    width = maps.shape[-1]
    x, y = places % width, torch.div(places, width, rounding_mode="floor")
    return torch.stack([x, y], dim=-1).to(maps.dtype), heights


def quarter_steps(maps: Tensor, places: Tensor) -> Tensor:
    """(N, K, 2) a quarter of a pixel towards the higher neighbour on each axis; 0 near the border."""
    height, width = maps.shape[-2:]
    x, y = places.long().unbind(-1)
    dx = _at(maps, x + 1, y) - _at(maps, x - 1, y)
    dy = _at(maps, x, y + 1) - _at(maps, x, y - 1)
    inner_x = (x > 1) & (x < width - 1) & (y > 0)
    inner_y = (y > 1) & (y < height - 1) & (x > 0)
    return 0.25 * torch.stack([dx.sign() * inner_x, dy.sign() * inner_y], dim=-1)


def taylor_steps(maps: Tensor, places: Tensor, blur: int) -> Tensor:
    """(N, K, 2) to the maximum of a parabola through the logarithm of the smoothed map; 0 near the border.

    Second differences are taken over four pixels (Zhang et al., Distribution-Aware Coordinate
    Representation, 2019).
    """
    logs = smoothed(maps, blur).clamp(min=1e-10).log()
    height, width = maps.shape[-2:]
    x, y = places.long().unbind(-1)

    def value(dx: int, dy: int) -> Tensor:
        return _at(logs, x + dx, y + dy)

    here = value(0, 0)
    slope = 0.5 * torch.stack([value(1, 0) - value(-1, 0), value(0, 1) - value(0, -1)], dim=-1)
    xx = 0.25 * (value(2, 0) - 2 * here + value(-2, 0))
    yy = 0.25 * (value(0, 2) - 2 * here + value(0, -2))
    xy = 0.25 * (value(1, 1) - value(1, -1) - value(-1, 1) + value(-1, -1))
    inner = (x > 1) & (x < width - 2) & (y > 1) & (y < height - 2)
    return _newton(slope, xx, xy, yy, 0.0) * inner[..., None]


def newton_steps(maps: Tensor, places: Tensor, blur: int) -> Tensor:
    """As ``taylor_steps``, with differences between neighbours; at the border pixels count twice.

    (Huang et al., The Devil is in the Details, 2020.) From (-1, -1), which stands for no place at all, the
    neighbours are as in OpenMMLab those in memory, in part of the map before.
    """
    logs = F.pad(smoothed(maps, blur).clamp(1e-3, 50.0).log(), (1, 1, 1, 1), mode="replicate")
    flat, (height, width) = logs.flatten(1), logs.shape[-2:]
    x, y = (places.long() + 1).unbind(-1)
    first = torch.arange(logs.shape[1], device=logs.device) * height * width + y * width + x

    def value(dx: int, dy: int) -> Tensor:
        return flat.gather(1, (first + dy * width + dx) % flat.shape[1])

    here, right, left, below, above = value(0, 0), value(1, 0), value(-1, 0), value(0, 1), value(0, -1)
    slope = 0.5 * torch.stack([right - left, below - above], dim=-1)
    xx, yy = right - 2 * here + left, below - 2 * here + above
    xy = 0.5 * (value(1, 1) - right - below + 2 * here - left - above + value(-1, -1))
    return _newton(slope, xx, xy, yy, torch.finfo(torch.float32).eps)


def smoothed(maps: Tensor, blur: int) -> Tensor:
    """Maps (N, K, H, W) under a Gaussian kernel of side ``blur``, each with its old maximum."""
    # OpenCV's kernel, whose deviation follows from its side.
    kernel = torch.from_numpy(cv2.getGaussianKernel(blur, 0, cv2.CV_32F)[:, 0]).to(maps)
    flat = maps.flatten(0, 1)[:, None]
    flat = F.conv2d(flat, kernel[None, None, :, None], padding=(blur // 2, 0))
    flat = F.conv2d(flat, kernel[None, None, None, :], padding=(0, blur // 2))
    out = flat.view_as(maps)
    return out * (maps.amax((2, 3), keepdim=True) / (out.amax((2, 3), keepdim=True) + 1e-12))


def _newton(slope: Tensor, xx: Tensor, xy: Tensor, yy: Tensor, eps: float) -> Tensor:
    """Minus the inverse of the second derivatives times the first; 0 where there is no inverse."""
    xx, yy = xx + eps, yy + eps
    determinant = xx * yy - xy * xy
    dx, dy = slope.unbind(-1)
    step = torch.stack([xy * dy - yy * dx, xy * dx - xx * dy], dim=-1)
    usable = (determinant != 0)[..., None]
    return torch.where(usable, step / torch.where(usable, determinant[..., None], 1.0), 0.0)


def _at(maps: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """(N, K) values of maps (N, K, H, W) at pixels (N, K), those beyond the border at the nearest one."""
    height, width = maps.shape[-2:]
    places = y.clamp(0, height - 1) * width + x.clamp(0, width - 1)
    return maps.flatten(2).gather(2, places[..., None])[..., 0]
