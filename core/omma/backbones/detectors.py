"""The backbone of DetectoRS (Qiao et al., 2020): switchable convolutions, maps that are fed back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn

from omma.backbones.residual import BlockForm, Bottleneck, ResidualNet, make_stage
from omma.backbones.resnet import architecture
from omma.layers import ConvAWS2d, SAConv2d
from omma.registry import register


class RecursiveBottleneck(Bottleneck):
    """A bottleneck that may be given a map of its own output's size, from which ``rfp_conv`` adds to it."""

    added_names = ("rfp_conv",)
    """What the weights of a plain network lack."""

    def __init__(
        self, in_channels: int, width: int, *, stride: int, form: BlockForm, downsample: nn.Module | None
    ) -> None:
        super().__init__(in_channels, width, stride=stride, form=form, downsample=downsample)
        self.rfp_conv: nn.Conv2d | None = None

    def forward(self, x: Tensor, fed: Tensor | None = None) -> Tensor:
        """(N, C, H, W) and (N, F, H / stride, W / stride) -> (N, 4 * width, H / stride, W / stride)."""
        out = self.layers(x)
        if self.rfp_conv is not None and fed is not None:
            out = out + self.rfp_conv(fed)
        return self.join(x, out)


@register
class DetectoRSResNet(ResidualNet):
    """ResNet of standardised convolutions, with switchable ones in its last three stages, which may be fed.

    Loads the weights of an ordinary ResNet and then computes what it did. Parameter names are OpenMMLab's.

    Args:
        depth: number of layers.
        switchable: deformable switchable atrous convolutions in place of the 3x3 ones.
        rfp_channels: of the maps that a pyramid feeds into the last three stages; null: it isn't fed.
        output_image: return the image too, before the maps, for a pyramid that looks at it again.
        norm_eval: keep batch norm on its stored statistics during training too.
        frozen_stages: -1 trains all; 0 freezes the stem; k freezes the stem and stages 1..k.
        weights: initial weights, a file or ``publisher://name``; null: random.

    Raises:
        ValueError: an argument is out of its range.
        WeightsError: ``weights`` isn't there or isn't of this network.
    """

    def __init__(
        self,
        *,
        depth: Literal[50, 101, 152] = 50,
        switchable: bool = True,
        rfp_channels: int | None = None,
        output_image: bool = False,
        norm_eval: bool = True,
        frozen_stages: int = -1,
        weights: str | None = None,
    ) -> None:
        super().__init__()
        if depth not in (50, 101, 152):
            raise ValueError(f"depth must be one of 50, 101, 152, got {depth}")
        _, blocks = architecture(depth)
        widths = [256 * 2**i for i in range(4)]
        self.declare((0, 1, 2, 3), widths, (4, 1, 2, 2, 2), frozen_stages)
        self.rfp_channels, self.output_image = rfp_channels, output_image
        if output_image:
            self.out_channels, self.strides = (3, *self.out_channels), (1, *self.strides)
        self.norm_eval = norm_eval
        self.recompute = False
        self.add_stem(64, "bn", deep=False)
        for i, count in enumerate(blocks):
            channels, stride = 64 if i == 0 else widths[i - 1], 1 if i == 0 else 2
            form, ones = BlockForm(), (1,) * count
            stage = make_stage(
                RecursiveBottleneck, channels, 64 * 2**i, stride=stride, form=form, dilations=ones
            )
            self.add_module(f"layer{i + 1}", stage)
            if switchable and i > 0:
                for block in self._blocks(i):
                    block.conv2 = _switchable(block.conv2)
        _standardise(self)
        if rfp_channels is not None:
            for i in range(1, 4):
                self._blocks(i)[0].rfp_conv = nn.Conv2d(rfp_channels, widths[i], 1)
        self.finish(zero_init_residual=False, frozen_stages=frozen_stages, norm_frozen=False, weights=weights)

    def initialise(self, *, zero_init_residual: bool) -> None:
        """Random weights, with which nothing that is fed has an effect."""
        super().initialise(zero_init_residual=zero_init_residual)
        for i in range(4):
            if (conv := self._blocks(i)[0].rfp_conv) is not None:
                for parameter in conv.parameters():
                    nn.init.zeros_(parameter)

    def forward(self, x: Tensor, fed: Sequence[Tensor] | None = None) -> tuple[Tensor, ...]:
        """(N, 3, H, W) -> four maps, after the image on wish.

        ``fed`` are the maps (N, rfp_channels, H_i, W_i) of the last three stages; null: nothing is fed.
        """
        maps = [x] if self.output_image else []
        for name in self.stem_parts:
            x = getattr(self, name)(x)
        for i in range(4):
            first, *others = self._blocks(i)
            x = first(x, None if fed is None or i == 0 else fed[i - 1])
            for block in others:
                x = block(x)
            maps.append(x)
        return tuple(maps)

    def _blocks(self, stage: int) -> list[RecursiveBottleneck]:
        """The blocks of a stage, 0 is the first; a list forgets their type."""
        found = self.get_submodule(f"layer{stage + 1}").children()
        return [block for block in found if isinstance(block, RecursiveBottleneck)]


def _switchable(plain: nn.Module) -> SAConv2d:
    """The switchable convolution in the place of a 3x3 one."""
    assert isinstance(plain, nn.Conv2d)
    return SAConv2d(plain.in_channels, plain.out_channels, 3, stride=plain.stride[0], padding=1, deform=True)


def _standardise(module: nn.Module) -> None:
    """Put standardised convolutions in the place of all ordinary ones below ``module``."""
    for name, child in module.named_children():
        if type(child) is nn.Conv2d:
            size, stride, padding = child.kernel_size[0], child.stride[0], child.kernel_size[0] // 2
            channels = (child.in_channels, child.out_channels)
            setattr(module, name, ConvAWS2d(*channels, size, stride=stride, padding=padding, bias=False))
        elif not isinstance(child, SAConv2d):
            _standardise(child)
