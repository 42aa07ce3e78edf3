"""MSCAN, the encoder of SegNeXt (Guo et al., Rethinking Convolutional Attention for Segmentation, 2022)."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor, nn
from torch.nn import functional as F

from omma.backbones.base import Backbone, check_stages, drop_rates, run
from omma.backbones.pvt import initialise
from omma.layers import LayerNorm2d, MapBlock, NormKind, make_norm
from omma.registry import register


@register
class MSCAN(Backbone):
    """Four stages of attention by depthwise strip convolutions of several sizes, at strides 4, 8, 16, 32.

    Parameter names are OpenMMLab's; files of the authors are understood too. Published: t has 32, 64, 160 and
    256 channels and 3, 3, 5, 2 blocks; the others 64, 128, 320 and 512 channels and s 2, 2, 4, 2;
    b 3, 3, 12, 3; l 3, 5, 27, 3 blocks.

    Args:
        channels: of each stage.
        depths: blocks of each stage.
        mlp_ratios: hidden width of each stage's feed-forward layers, as a multiple of the stage's.
        drop_path: share of blocks skipped in training at the end; it grows along the depth from 0.
        layer_scale: initial factor of each channel of what blocks add.
        norm: kind of the norms within stages.
        norm_eval: keep batch norm on its stored statistics during training too.
        out_indices: stages to return, 0 is the first; each ends with a norm.
        frozen_stages: -1 trains all; 0 freezes the first patches; k freezes stages 1..k.
        recompute: run each block again in the backward pass instead of keeping what it computed.
        weights: initial weights, a file or ``publisher://name``; null: random.

    Raises:
        ValueError: an argument is out of its range.
        WeightsError: ``weights`` isn't there or isn't of this network.
    """

    def __init__(
        self,
        *,
        channels: tuple[int, int, int, int] = (32, 64, 160, 256),
        depths: tuple[int, int, int, int] = (3, 3, 5, 2),
        mlp_ratios: tuple[int, int, int, int] = (8, 8, 4, 4),
        drop_path: float = 0.1,
        layer_scale: float = 1e-2,
        norm: NormKind = "bn",
        norm_eval: bool = False,
        out_indices: tuple[int, ...] = (0, 1, 2, 3),
        frozen_stages: int = -1,
        recompute: bool = False,
        weights: str | None = None,
    ) -> None:
        super().__init__()
        check_stages(out_indices, range(4), frozen_stages, 4)
        self.norm_eval, self.recompute = norm_eval, recompute
        self.out_indices = out_indices
        self.out_channels = tuple(channels[i] for i in out_indices)
        self.strides = tuple(4 * 2**i for i in out_indices)
        rates = iter(drop_rates(drop_path, sum(depths)))
        for i, width in enumerate(channels[: max(out_indices) + 1]):
            patches = Stem(width, norm) if i == 0 else PatchEmbed(channels[i - 1], width, norm)
            blocks = (
                MapBlock(
                    width,
                    mixer=StripAttention(width),
                    hidden=width * mlp_ratios[i],
                    depthwise=True,
                    norm=norm,
                    layer_scale=layer_scale,
                    drop_path=next(rates),
                )
                for _ in range(depths[i])
            )
            self.add_module(f"patch_embed{i + 1}", patches)
            self.add_module(f"block{i + 1}", nn.ModuleList(blocks))
            self.add_module(f"norm{i + 1}", LayerNorm2d(width))
        initialise(self)
        last = min(frozen_stages, max(out_indices) + 1)
        frozen = [f"{part}{i}" for i in range(1, last + 1) for part in _PARTS]
        self.start(weights, frozen=frozen if frozen_stages else ["patch_embed1"])

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(N, 3, H, W) -> one map per entry of ``out_indices``."""
        maps = []
        for i in range(max(self.out_indices) + 1):
            patches, blocks, norm = (getattr(self, f"{part}{i + 1}") for part in _PARTS)
            x = norm(run(blocks, patches(x), recompute=self.recompute)).contiguous()
            if i in self.out_indices:
                maps.append(x)
        return tuple(maps)

    def own_names(self, names: Iterable[str]) -> dict[str, str]:
        """What the parameters in the authors' files are called here."""
        double = ".dwconv.dwconv."
        return {name: name.replace(double, ".dwconv.") for name in names if double in name}


class Stem(nn.Module):
    """Two strided convolutions: (N, 3, H, W) to (N, C, H / 4, W / 4)."""

    def __init__(self, channels: int, norm: NormKind) -> None:
        super().__init__()
        half = channels // 2
        first, second = nn.Conv2d(3, half, 3, 2, padding=1), nn.Conv2d(half, channels, 3, 2, padding=1)
        self.proj = nn.Sequential(first, make_norm(norm, half), nn.GELU(), second, make_norm(norm, channels))

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, C, H / 4, W / 4)."""
        return self.proj(x)


class PatchEmbed(nn.Module):
    """A strided convolution and a norm: (N, C, H, W) to (N, C', H / 2, W / 2)."""

    def __init__(self, in_channels: int, out_channels: int, norm: NormKind) -> None:
        super().__init__()
        self.proj = nn.Conv2d(in_channels, out_channels, 3, 2, padding=1)
        self.norm = make_norm(norm, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C', H / 2, W / 2)."""
        return self.norm(self.proj(x))


class StripAttention(nn.Module):
    """Gates a map by depthwise convolutions of itself, between two 1x1 ones and beside a shortcut."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.proj_1 = nn.Conv2d(channels, channels, 1)
        self.spatial_gating_unit = StripGate(channels)
        self.proj_2 = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> the same shape."""
        return x + self.proj_2(self.spatial_gating_unit(F.gelu(self.proj_1(x))))


class StripGate(nn.Module):
    """A map times a mixture of its 5x5 surroundings and of strips of 7, 11 and 21 through them."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv0 = nn.Conv2d(channels, channels, 5, padding=2, groups=channels)
        for i, side in enumerate(_STRIPS):
            reach = side // 2
            across = nn.Conv2d(channels, channels, (1, side), padding=(0, reach), groups=channels)
            down = nn.Conv2d(channels, channels, (side, 1), padding=(reach, 0), groups=channels)
            self.add_module(f"conv{i}_1", across)
            self.add_module(f"conv{i}_2", down)
        self.conv3 = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> the same shape."""
        near = self.conv0(x)
        total = near
        for i in range(len(_STRIPS)):
            total = total + getattr(self, f"conv{i}_2")(getattr(self, f"conv{i}_1")(near))
        return self.conv3(total) * x


_STRIPS = (7, 11, 21)
_PARTS = ("patch_embed", "block", "norm")
