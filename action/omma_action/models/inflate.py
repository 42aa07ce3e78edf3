"""Weights of a network for images in one for clips (Carreira and Zisserman, Quo Vadis, 2017)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from omma.backbones.resnet import brick_name


def inflated(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """``state`` of a ResNet for images under the names and in the shapes of a ResNet for clips.

    A kernel over T frames is that of the images T times, divided by T: on a still clip both say the same.
    Inputs that only the network for clips has (of lateral connections) weigh nothing. Of networks for clips
    the state stays as it is, and so does what neither has.

    Args:
        state: by name, below the network.
        own: the parameters to fill, by name.
    """
    out: dict[str, Tensor] = {}
    for name, value in state.items():
        target = own.get(brick_name(name))
        if value.ndim != 4 or target is None or target.ndim != 5:
            out[name if name in own else brick_name(name)] = value
            continue
        kernel = value.new_zeros(len(value), max(target.shape[1], value.shape[1]), *value.shape[2:])
        kernel[:, : value.shape[1]] = value
        out[brick_name(name)] = repeated(kernel, target.shape[2])
    return out


def repeated(kernel: Tensor, frames: int) -> Tensor:
    """A kernel over images (C', C, h, w) as one over so many frames, each of which weighs the same."""
    return torch.stack([kernel / frames] * frames, dim=2)


def centred(kernel: Tensor, frames: int) -> Tensor:
    """A kernel over images (C', C, h, w) as one over so many frames that sees the middle one alone."""
    out = kernel.new_zeros(*kernel.shape[:2], frames, *kernel.shape[2:])
    out[:, :, frames // 2] = kernel
    return out
