"""ResNet (He et al., Deep Residual Learning for Image Recognition, 2015)."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from omma.backbones.base import Backbone
from omma.layers import NormKind, make_norm
from omma.registry import register

Style = Literal["pytorch", "caffe"]
"""Which convolution of a bottleneck has the stride: the 3x3 (pytorch) or the first 1x1 (caffe)."""


@register
class ResNet(Backbone):
    """Four stages of residual blocks at strides 4, 8, 16, 32.

    Parameter names are torchvision's and OpenMMLab's (``layer1.0.conv1.weight``).

    Args:
        depth: number of layers.
        style: position of a bottleneck's stride.
        norm: kind of the norm layers.
        norm_eval: keep batch norm on its stored statistics during training too (small batches).
        frozen_stages: -1 trains all; 0 freezes the stem; k freezes the stem and stages 1..k.
        out_indices: stages to return, 0 is the one at stride 4.
        zero_init_residual: start each block as the identity.
        weights: initial weights, ``torchvision://resnet50`` or a file; null: random.
    """

    def __init__(
        self,
        *,
        depth: Literal[18, 34, 50, 101, 152],
        style: Style = "pytorch",
        norm: NormKind = "bn",
        norm_eval: bool = True,
        frozen_stages: int = -1,
        out_indices: tuple[int, ...] = (0, 1, 2, 3),
        zero_init_residual: bool = False,
        weights: str | None = None,
    ) -> None:
        super().__init__()
        if not -1 <= frozen_stages <= 4:
            raise ValueError(f"frozen_stages must be in -1..4, got {frozen_stages}")
        if not out_indices or not set(out_indices) <= {0, 1, 2, 3}:
            raise ValueError(f"out_indices must be some of 0, 1, 2, 3, got {out_indices}")
        block, blocks = _ARCHITECTURES[depth]
        self.norm_eval = norm_eval
        self.frozen_stages = frozen_stages
        self.out_indices = out_indices
        self.out_channels = tuple(64 * 2**i * block.expansion for i in out_indices)
        self.strides = tuple(4 * 2**i for i in out_indices)
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = make_norm(norm, 64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        channels = 64
        for i in range(max(out_indices) + 1):
            stage = _stage(block, blocks[i], channels, 64 * 2**i, 1 if i == 0 else 2, style, norm)
            self.add_module(f"layer{i + 1}", stage)
            channels = 64 * 2**i * block.expansion
        self._initialise(zero_init_residual)
        if weights is not None:
            from omma.checkpoint.pretrained import load_pretrained

            load_pretrained(self, weights)
        self._freeze()

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(N, 3, H, W) -> one map per entry of ``out_indices``."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        maps = []
        for i in range(max(self.out_indices) + 1):
            x = self.get_submodule(f"layer{i + 1}")(x)
            if i in self.out_indices:
                maps.append(x)
        return tuple(maps)

    def train(self, mode: bool = True) -> ResNet:
        """As ``nn.Module.train``, except that frozen stages and, on wish, batch norm stay in eval mode."""
        super().train(mode)
        for frozen in self._frozen():
            frozen.eval()
        if mode and self.norm_eval:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self

    def _frozen(self) -> list[nn.Module]:
        if self.frozen_stages < 0:
            return []
        last = min(self.frozen_stages, max(self.out_indices) + 1)
        return [self.conv1, self.bn1, *(self.get_submodule(f"layer{i}") for i in range(1, last + 1))]

    def _freeze(self) -> None:
        for module in self._frozen():
            module.eval().requires_grad_(False)

    def _initialise(self, zero_init_residual: bool) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif zero_init_residual and isinstance(module, BasicBlock | Bottleneck):
                nn.init.zeros_(module.last_norm.get_parameter("weight"))


def _stage(
    block: type[BasicBlock] | type[Bottleneck],
    count: int,
    in_channels: int,
    width: int,
    stride: int,
    style: Style,
    norm: NormKind,
) -> nn.Sequential:
    out_channels = width * block.expansion
    shortcut = None
    if stride != 1 or in_channels != out_channels:
        conv = nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)
        shortcut = nn.Sequential(conv, make_norm(norm, out_channels))
    first = block(in_channels, width, stride=stride, style=style, norm=norm, downsample=shortcut)
    rest = (
        block(out_channels, width, stride=1, style=style, norm=norm, downsample=None) for _ in range(1, count)
    )
    return nn.Sequential(first, *rest)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut."""

    expansion = 1

    def __init__(
        self,
        in_channels: int,
        width: int,
        *,
        stride: int,
        style: Style,
        norm: NormKind,
        downsample: nn.Module | None,
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, width, 3, stride, 1, bias=False)
        self.bn1 = make_norm(norm, width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = make_norm(norm, width)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample

    @property
    def last_norm(self) -> nn.Module:
        """The norm before the sum."""
        return self.bn2

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, width, H / stride, W / stride)."""
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        return self.relu(out + (x if self.downsample is None else self.downsample(x)))


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions beside a shortcut; the last has four times the width."""

    expansion = 4

    def __init__(
        self,
        in_channels: int,
        width: int,
        *,
        stride: int,
        style: Style,
        norm: NormKind,
        downsample: nn.Module | None,
    ) -> None:
        super().__init__()
        first, second = (stride, 1) if style == "caffe" else (1, stride)
        self.conv1 = nn.Conv2d(in_channels, width, 1, first, bias=False)
        self.bn1 = make_norm(norm, width)
        self.conv2 = nn.Conv2d(width, width, 3, second, 1, bias=False)
        self.bn2 = make_norm(norm, width)
        self.conv3 = nn.Conv2d(width, width * self.expansion, 1, bias=False)
        self.bn3 = make_norm(norm, width * self.expansion)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample

    @property
    def last_norm(self) -> nn.Module:
        """The norm before the sum."""
        return self.bn3

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, 4 * width, H / stride, W / stride)."""
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        return self.relu(out + (x if self.downsample is None else self.downsample(x)))


_ARCHITECTURES: dict[int, tuple[type[BasicBlock] | type[Bottleneck], tuple[int, int, int, int]]] = {
    18: (BasicBlock, (2, 2, 2, 2)),
    34: (BasicBlock, (3, 4, 6, 3)),
    50: (Bottleneck, (3, 4, 6, 3)),
    101: (Bottleneck, (3, 4, 23, 3)),
    152: (Bottleneck, (3, 8, 36, 3)),
}
