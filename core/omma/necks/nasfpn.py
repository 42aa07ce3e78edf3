"""NAS-FPN (Ghiasi et al., Learning Scalable Feature Pyramid Architecture for Object Detection, 2019)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from omma.layers import ConvNormAct, NormKind, init_conv, make_norm, norm_name
from omma.necks.base import Neck
from omma.registry import register


@register
class NASFPN(Neck):
    """Five levels that are merged several times in the order that a search found.

    Args:
        in_channels: channels of the backbone's maps, fine to coarse; those from ``start_level`` on, at most
            five, become the finest levels.
        out_channels: channels of every level.
        start_level: first of the backbone's maps that is used.
        stacks: how often the levels are merged.
        norm: kind of norm after each convolution.
    """

    def __init__(
        self,
        *,
        in_channels: tuple[int, ...],
        out_channels: int = 256,
        start_level: int = 1,
        stacks: int = 7,
        norm: NormKind | None = "bn",
    ) -> None:
        super().__init__()
        used = in_channels[start_level:]
        if not 1 <= len(used) <= 5:
            raise ValueError(f"NAS-FPN needs 1 to 5 maps, got {len(used)} from level {start_level} on")
        self.in_channels = in_channels
        self.out_channels = (out_channels,) * 5
        self.start_level = start_level
        self.lateral_convs = nn.ModuleList(ConvNormAct(c, out_channels, 1, norm=norm, act=None) for c in used)
        self.extra_downsamples = nn.ModuleList(
            nn.Sequential(ConvNormAct(out_channels, out_channels, 1, norm=norm, act=None), _Halve())
            for _ in range(5 - len(used))
        )
        self.fpn_stages = nn.ModuleList(
            nn.ModuleDict({name: MergeCell(out_channels, norm) for name in _CELLS}) for _ in range(stacks)
        )
        init_conv(self, kind="xavier")

    def out_strides(self, strides: tuple[int, ...]) -> tuple[int, ...]:
        """Those of the used maps, then each extra level's twice that of the one below."""
        first = strides[self.start_level]
        return tuple(first * 2**i for i in range(5))

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Maps (N, in_channels[i], H_i, W_i) -> five maps of ``out_channels``."""
        levels = [conv(m) for conv, m in zip(self.lateral_convs, maps[self.start_level :])]
        for downsample in self.extra_downsamples:
            levels.append(downsample(levels[-1]))
        p3, p4, p5, p6, p7 = levels
        for cells in self.fpn_stages:
            assert isinstance(cells, nn.ModuleDict)
            attended = cells["gp_64_4"](_attend(p6, p4))
            middle = cells["sum_44_4"](_add(attended, p4, p4))
            p3 = cells["sum_43_3"](_add(middle, p3, p3))
            p4 = cells["sum_34_4"](_add(p3, middle, p4))
            p5 = cells["sum_55_5"](_add(p5, _attend(p4, p3, p5), p5))
            p7 = cells["sum_77_7"](_add(p7, _attend(p5, middle, p7), p7))
            p6 = cells["gp_75_6"](_attend(p7, p5, p6))
        return p3, p4, p5, p6, p7


class MergeCell(nn.Module):
    """What follows each merge: ReLU, a 3x3 convolution, a norm."""

    def __init__(self, channels: int, norm: NormKind | None) -> None:
        super().__init__()
        self.out_conv = ActConvNorm(channels, norm)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> the same shape."""
        return self.out_conv(x)


class ActConvNorm(nn.Module):
    """ReLU, a 3x3 convolution with bias, a norm."""

    def __init__(self, channels: int, norm: NormKind | None) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm_name = norm_name(norm) if norm else None
        if norm:
            self.add_module(norm_name(norm), make_norm(norm, channels))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> the same shape."""
        x = self.conv(x.relu())
        return getattr(self, self.norm_name)(x) if self.norm_name else x


class _Halve(nn.Module):
    """Max-pooling by 2 that leaves out an odd last row or column, unless nothing else is there."""

    def forward(self, x: Tensor) -> Tensor:
        return F.max_pool2d(x, 2, ceil_mode=min(x.shape[-2:]) < 2)


def _add(first: Tensor, second: Tensor, like: Tensor) -> Tensor:
    size = (like.shape[-2], like.shape[-1])
    return _resize(first, size) + _resize(second, size)


def _attend(first: Tensor, second: Tensor, like: Tensor | None = None) -> Tensor:
    """``second`` plus ``first`` weighed by the mean of ``second``, at the size of ``like``."""
    like = second if like is None else like
    size = (like.shape[-2], like.shape[-1])
    first, second = _resize(first, size), _resize(second, size)
    return second + second.mean(dim=(2, 3), keepdim=True).sigmoid() * first


def _resize(x: Tensor, size: tuple[int, int]) -> Tensor:
    height, width = x.shape[-2:]
    if (height, width) == size:
        return x
    if height < size[0] or width < size[1]:
        return F.interpolate(x, size=size, mode="nearest")
    kernel = (-(-height // size[0]), -(-width // size[1]))
    missing = (0, size[1] * kernel[1] - width, 0, size[0] * kernel[0] - height)
    return F.max_pool2d(F.pad(x, missing), kernel) if any(missing) else F.max_pool2d(x, kernel)


_CELLS = (
    "gp_64_4",
    "sum_44_4",
    "sum_43_3",
    "sum_34_4",
    "sum_55_5",
    "sum_77_7",
    "gp_75_6",
)
