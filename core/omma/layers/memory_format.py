"""How the numbers of a convolution's weights lie in memory."""

from __future__ import annotations

import torch
from torch import nn

_FORMATS = {4: torch.channels_last, 5: torch.channels_last_3d}


def lay_channels_last(model: nn.Module) -> None:
    """Lay the weights of 2D and 3D convolutions out with channels innermost, in place.

    What they compute comes out in the same layout, so that nothing is converted on the way. Shapes, names and
    values stay.
    """
    for parameter in model.parameters():
        if (memory_format := _FORMATS.get(parameter.ndim)) is not None:
            parameter.data = parameter.data.contiguous(memory_format=memory_format)
