"""ShuffleNetV2 (Ma et al., Practical Guidelines for Efficient CNN Architecture Design, 2018)."""

from __future__ import annotations

import re
from collections.abc import Iterable

from torch import Tensor, nn

from omma.backbones.base import Backbone, check_stages, run
from omma.layers import ConvNormAct, NormKind, ShuffleUnit, init_conv
from omma.registry import register


@register
class ShuffleNetV2(Backbone):
    """Three stages of shuffled units at strides 8, 16, 32 and a 1x1 convolution, behind a pooled stem.

    Parameter names are OpenMMLab's; torchvision's are understood too.

    Args:
        width: factor of the channels: 0.5, 1.0, 1.5 or 2.0.
        norm: kind of the norm layers.
        norm_eval: keep batch norm on its stored statistics during training too.
        out_indices: maps to return: 0 to 2 are the stages, 3 the convolution at the end.
        frozen_stages: -1 trains all; 0 freezes the stem; k freezes the stem and maps 0..k-1.
        recompute: run each unit again in the backward pass instead of keeping what it computed.
        weights: initial weights, a file or ``publisher://name``; null: random.

    Raises:
        ValueError: an argument is out of its range.
        WeightsError: ``weights`` isn't there or isn't of this network.
    """

    def __init__(
        self,
        *,
        width: float = 1.0,
        norm: NormKind = "bn",
        norm_eval: bool = False,
        out_indices: tuple[int, ...] = (0, 1, 2, 3),
        frozen_stages: int = -1,
        recompute: bool = False,
        weights: str | None = None,
    ) -> None:
        super().__init__()
        if width not in _CHANNELS:
            raise ValueError(f"width must be one of {', '.join(map(str, _CHANNELS))}, got {width}")
        check_stages(out_indices, range(4), frozen_stages, 4)
        *widths, last = _CHANNELS[width]
        self.norm_eval, self.recompute = norm_eval, recompute
        self.out_indices = out_indices
        self.out_channels = tuple((*widths, last)[i] for i in out_indices)
        self.strides = tuple((8, 16, 32, 32)[i] for i in out_indices)
        self.conv1 = ConvNormAct(3, 24, 3, stride=2, padding=1, norm=norm)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.layers = nn.ModuleList()
        before = 24
        for channels, count in zip(widths[: max(out_indices) + 1], _UNITS):
            units = [ShuffleUnit(before, channels, stride=2, norm=norm)]
            units += [ShuffleUnit(channels, channels, stride=1, norm=norm) for _ in range(count - 1)]
            self.layers.append(nn.Sequential(*units))
            before = channels
        if max(out_indices) == 3:
            self.layers.append(ConvNormAct(before, last, 1, norm=norm))
        init_conv(self, kind="kaiming")
        frozen = [f"layers.{i}" for i in range(min(frozen_stages, len(self.layers)))]
        self.start(weights, frozen=["conv1", *frozen] if frozen_stages >= 0 else [])

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(N, 3, H, W) -> one map per entry of ``out_indices``."""
        x = self.maxpool(self.conv1(x))
        maps = []
        for i, layer in enumerate(self.layers):
            units = layer.children() if isinstance(layer, nn.Sequential) else [layer]
            x = run(units, x, recompute=self.recompute)
            if i in self.out_indices:
                maps.append(x)
        return tuple(maps)

    def own_names(self, names: Iterable[str]) -> dict[str, str]:
        """What the parameters in torchvision's files are called here."""
        own = {}
        for name in names:
            if unit := re.match(r"stage(\d)\.(\d)\.branch(\d)\.(\d)\.(\w+)$", name):
                stage, index, branch, layer, key = unit.groups()
                # Depthwise bricks have no ReLU, which torchvision counts elsewhere.
                order = _FIRST if branch == "1" else _SECOND
                brick, part = divmod(order.index(int(layer)), 2)
                place = f"layers.{int(stage) - 2}.{index}.branch{branch}.{brick}"
                own[name] = f"{place}.{('conv', 'bn')[part]}.{key}"
            elif ends := re.match(r"conv([15])\.([01])\.(\w+)$", name):
                place = "conv1" if ends[1] == "1" else "layers.3"
                own[name] = f"{place}.{('conv', 'bn')[int(ends[2])]}.{ends[3]}"
        return own


_CHANNELS: dict[float, tuple[int, int, int, int]] = {
    0.5: (48, 96, 192, 1024),
    1.0: (116, 232, 464, 1024),
    1.5: (176, 352, 704, 1024),
    2.0: (244, 488, 976, 2048),
}
"""Of the stages and the last convolution, by width."""
_UNITS = (4, 8, 4)
_FIRST, _SECOND = (0, 1, 2, 3), (0, 1, 3, 4, 5, 6)
"""Where torchvision's branches have convolutions and norms in turn."""
