"""TridentNet's backbone (Li et al., Scale-Aware Trident Networks for Object Detection, 2019)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from omma.backbones.base import run
from omma.backbones.residual import BlockForm, Bottleneck, ResidualNet, Style, make_stage
from omma.backbones.resnet import architecture
from omma.layers import NormKind
from omma.registry import register


@register
class TridentResNet(ResidualNet):
    """Three stages of ResNet, the last run by several branches of the same weights and different dilations.

    In training the batch of the map is ``branches`` times that of the images, branch by branch; in eval mode
    only ``test_branch`` runs.

    Args:
        depth: number of layers of the ResNet.
        branch_dilations: of the last stage's 3x3 convolutions, one per branch.
        test_branch: the branch that runs in eval mode; null: all.
        style: position of a bottleneck's stride.
        norm: kind of the norm layers.
        norm_eval: keep batch norm on its stored statistics during training too.
        norm_frozen: leave the weights and biases of batch norm as they are.
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
        branch_dilations: tuple[int, ...] = (1, 2, 3),
        test_branch: int | None = 1,
        style: Style = "caffe",
        norm: NormKind = "bn",
        norm_eval: bool = True,
        norm_frozen: bool = True,
        frozen_stages: int = 1,
        weights: str | None = None,
    ) -> None:
        super().__init__()
        if depth not in (50, 101, 152):
            raise ValueError(f"depth must be one of 50, 101, 152, got {depth}")
        if test_branch is not None and not 0 <= test_branch < len(branch_dilations):
            raise ValueError(
                f"test_branch must be one of {len(branch_dilations)} branches, got {test_branch}"
            )
        _, blocks = architecture(depth)
        self.declare((2,), (256, 512, 1024), (4, 1, 2, 2), frozen_stages)
        self.norm_eval = norm_eval
        self.recompute = False
        self.test_branch = test_branch
        self.branches = len(branch_dilations)
        self.add_stem(64, norm, deep=False)
        form = BlockForm(style=style, norm=norm)
        channels = 64
        for i in range(3):
            stride, ones = min(i + 1, 2), (1,) * blocks[i]
            stage = make_stage(Bottleneck, channels, 64 * 2**i, stride=stride, form=form, dilations=ones)
            self.add_module(f"layer{i + 1}", stage)
            channels = 256 * 2**i
        for block in self.get_submodule("layer3").children():
            assert isinstance(block, Bottleneck)
            assert isinstance(block.conv2, nn.Conv2d)
            block.conv2 = TridentConv(block.conv2, branch_dilations, test_branch)
        self.finish(
            zero_init_residual=False, frozen_stages=frozen_stages, norm_frozen=norm_frozen, weights=weights
        )

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(N, 3, H, W) -> (B * N, 1024, H / 16, W / 16) for the B branches that run."""
        for name in self.stem_parts:
            x = getattr(self, name)(x)
        for name in ("layer1", "layer2"):
            x = run(getattr(self, name), x, recompute=self.recompute)
        running = self.branches if self.training or self.test_branch is None else 1
        return (run(self.get_submodule("layer3").children(), torch.cat([x] * running), recompute=False),)


class TridentConv(nn.Conv2d):
    """A 3x3 convolution whose weights are used with another dilation on each share of the batch.

    Args:
        plain: the convolution that it takes the place of.
        dilations: one per branch.
        test_branch: the only one in eval mode; null: all.
    """

    def __init__(self, plain: nn.Conv2d, dilations: tuple[int, ...], test_branch: int | None) -> None:
        super().__init__(plain.in_channels, plain.out_channels, 3, plain.stride[0], padding=1, bias=False)  # pyright: ignore[reportArgumentType]
        self.dilations = dilations
        self.test_branch = test_branch

    def forward(self, input: Tensor) -> Tensor:
        """(B * N, C, H, W), branch by branch -> (B * N, C', H', W')."""
        if self.training or self.test_branch is None:
            dilations = self.dilations
        else:
            dilations = (self.dilations[self.test_branch],)
        shares = input.chunk(len(dilations))
        return torch.cat(
            [F.conv2d(x, self.weight, None, self.stride, d, d) for x, d in zip(shares, dilations)]
        )
