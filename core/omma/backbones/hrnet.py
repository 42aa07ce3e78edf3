"""HRNet (Wang et al., Deep High-Resolution Representation Learning for Visual Recognition, 2019)."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

from omma.backbones.base import Backbone, check_stages, run
from omma.backbones.residual import BasicBlock, BlockForm, Bottleneck, make_stage
from omma.layers import NormKind, make_norm
from omma.registry import register

Upsampling = Literal["nearest", "bilinear"]


class BranchNet(Backbone):
    """Branches side by side, one more in each of the stages 2 to 4, behind a stem of stride 4."""

    recompute: bool

    def build(
        self,
        *,
        width: int,
        modules: tuple[int, int, int],
        stem_blocks: int,
        norm: NormKind,
        make_module: Callable[[tuple[int, ...], bool], nn.Module],
        single_output: bool,
    ) -> None:
        """All parts, for the constructors of the families.

        Args:
            width: channels of the branch at stride 4; each coarser one has twice as many.
            modules: modules of stages 2, 3 and 4.
            stem_blocks: bottlenecks of stage 1.
            norm: kind of the norm layers.
            make_module: makes the next module, for the widths of its branches, fine to coarse; with true it
                makes the finest branch only.
            single_output: whether the last module makes the finest branch only.
        """
        self.conv1 = nn.Conv2d(3, 64, 3, stride=2, padding=1, bias=False)
        self.bn1 = make_norm(norm, 64)
        self.conv2 = nn.Conv2d(64, 64, 3, stride=2, padding=1, bias=False)
        self.bn2 = make_norm(norm, 64)
        self.relu = nn.ReLU(inplace=True)
        form = BlockForm(norm=norm)
        self.layer1 = make_stage(Bottleneck, 64, 64, stride=1, form=form, dilations=(1,) * stem_blocks)
        before: tuple[int, ...] = (64 * Bottleneck.expansion,)
        for stage, count in enumerate(modules, start=2):
            widths = tuple(width * 2**i for i in range(stage))
            last = [single_output and stage == 4 and i == count - 1 for i in range(count)]
            parts = (make_module(widths, one) for one in last)
            self.add_module(f"transition{stage - 1}", _transition(before, widths, norm))
            self.add_module(f"stage{stage}", nn.Sequential(*parts))
            before = widths
        self.out_channels = before[:1] if single_output else before
        self.strides = (4, 8, 16, 32)[: len(self.out_channels)]

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(N, 3, H, W) -> one map per branch."""
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)))
        branches = [run(self.layer1, x, recompute=self.recompute)]
        for stage in (2, 3, 4):
            transition = self.get_submodule(f"transition{stage - 1}")
            # New branches start from the coarsest there is; the others go on by themselves.
            sources = [branches[min(i, stage - 2)] for i in range(stage)]
            branches = [step(source) for step, source in zip(transition.children(), sources)]
            for module in self.get_submodule(f"stage{stage}").children():
                branches = module(branches)
        return tuple(branches)


@register
class HRNet(BranchNet):
    """Branches at strides 4, 8, 16 and 32 side by side, which exchange what they see after each module.

    Args:
        width: channels of the branch at stride 4; each coarser one has twice as many.
        modules: modules of stages 2, 3 and 4.
        blocks: residual blocks of each branch in a module.
        stem_blocks: bottlenecks of stage 1.
        upsampling: how coarse branches are brought to the size of fine ones.
        single_output: fuse the last module into the branch at stride 4 only, and return that.
        norm: kind of the norm layers.
        norm_eval: keep batch norm on its stored statistics during training too.
        frozen_stages: -1 trains all; 0 freezes the stem; k freezes the stem and stages 1..k.
        zero_init_residual: start each block as the identity.
        recompute: run each module again in the backward pass instead of keeping what it computed.
        weights: initial weights, a file or ``publisher://name``; null: random.

    Raises:
        ValueError: an argument is out of its range.
        WeightsError: ``weights`` isn't there or isn't of this network.
    """

    def __init__(
        self,
        *,
        width: int = 32,
        modules: tuple[int, int, int] = (1, 4, 3),
        blocks: int = 4,
        stem_blocks: int = 4,
        upsampling: Upsampling = "nearest",
        single_output: bool = False,
        norm: NormKind = "bn",
        norm_eval: bool = True,
        frozen_stages: int = -1,
        zero_init_residual: bool = False,
        recompute: bool = False,
        weights: str | None = None,
    ) -> None:
        super().__init__()
        if min(width, *modules, blocks, stem_blocks) < 1:
            raise ValueError("width, modules, blocks and stem_blocks must be positive")
        check_stages((0,), range(1), frozen_stages, 4)
        self.norm_eval = norm_eval
        self.recompute = recompute
        form = BlockForm(norm=norm)

        def module(widths: tuple[int, ...], single: bool) -> HRModule:
            return HRModule(widths, blocks, form, upsampling, single_output=single)

        self.build(
            width=width,
            modules=modules,
            stem_blocks=stem_blocks,
            norm=norm,
            make_module=module,
            single_output=single_output,
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif zero_init_residual and isinstance(module, BasicBlock | Bottleneck):
                nn.init.zeros_(module.get_parameter(f"{module.norms[-1]}.weight"))
        self.start(weights, frozen=frozen_parts(frozen_stages))


class FusedBranches(nn.Module):
    """Blocks in every branch, then each branch becomes the sum of all, brought to its size.

    Args:
        branches: blocks of each branch, fine to coarse.
        fuse_layers: for each branch that comes out, what brings each branch to its channels, and to its size
            where that is smaller.
        upsampling: of coarse branches.
    """

    def __init__(self, branches: nn.ModuleList, fuse_layers: nn.ModuleList, upsampling: Upsampling) -> None:
        super().__init__()
        self.branches, self.fuse_layers = branches, fuse_layers
        self.upsampling: Upsampling = upsampling

    def forward(self, branches: list[Tensor]) -> list[Tensor]:
        """Maps (N, widths[i], H / 2**i, W / 2**i) -> the same, fused."""
        branches = [blocks(x) for blocks, x in zip(self.branches, branches)]
        fused = []
        for target, steps in enumerate(self.fuse_layers):
            assert isinstance(steps, nn.ModuleList)
            parts = [step(x) for step, x in zip(steps, branches)]
            size = branches[target].shape[-2:]
            total = parts[0]
            for source, part in enumerate(parts[1:], start=1):
                total = total + (self._enlarge(part, size) if source > target else part)
            fused.append(total.relu())
        return fused

    def _enlarge(self, x: Tensor, size: tuple[int, ...]) -> Tensor:
        if self.upsampling == "nearest":
            return F.interpolate(x, size=size, mode="nearest")
        return F.interpolate(x, size=size, mode="bilinear", align_corners=False)


class HRModule(FusedBranches):
    """Residual blocks in every branch, then each branch becomes the sum of all, brought to its size.

    Args:
        widths: channels of the branches, fine to coarse.
        blocks: residual blocks of each branch.
        form: of the blocks.
        upsampling: of coarse branches.
        single_output: make the finest branch only.
    """

    def __init__(
        self,
        widths: tuple[int, ...],
        blocks: int,
        form: BlockForm,
        upsampling: Upsampling,
        *,
        single_output: bool,
    ) -> None:
        branches = (
            make_stage(BasicBlock, w, w, stride=1, form=form, dilations=(1,) * blocks) for w in widths
        )
        targets = range(1 if single_output else len(widths))
        steps = (
            nn.ModuleList(_to_branch(widths, source, target, form.norm) for source in range(len(widths)))
            for target in targets
        )
        super().__init__(nn.ModuleList(branches), nn.ModuleList(steps), upsampling)


def _to_branch(widths: tuple[int, ...], source: int, target: int, norm: NormKind) -> nn.Module:
    """From one branch's channels and size to another's; enlarging, which has no parameters, comes after."""
    if source == target:
        return nn.Identity()
    if source > target:
        return narrow(widths[source], widths[target], norm)
    steps = (*(widths[source],) * (target - source), widths[target])
    halvings = [_halve(a, b, norm) for a, b in pairwise(steps)]
    # The last has no ReLU: what it gives is added to the other branches.
    del halvings[-1][2]
    return nn.Sequential(*halvings)


def narrow(in_channels: int, out_channels: int, norm: NormKind) -> nn.Sequential:
    """From a coarse branch's channels to those of a finer one."""
    return nn.Sequential(nn.Conv2d(in_channels, out_channels, 1, bias=False), make_norm(norm, out_channels))


def _halve(in_channels: int, out_channels: int, norm: NormKind) -> nn.Sequential:
    conv = nn.Conv2d(in_channels, out_channels, 3, stride=2, padding=1, bias=False)
    return nn.Sequential(conv, make_norm(norm, out_channels), nn.ReLU(inplace=True))


def _transition(before: tuple[int, ...], after: tuple[int, ...], norm: NormKind) -> nn.ModuleList:
    """From the branches of one stage to those of the next, which has one more."""
    steps = nn.ModuleList()
    for a, b in zip(before, after):
        conv = nn.Conv2d(a, b, 3, padding=1, bias=False)
        same = nn.Identity()
        steps.append(same if a == b else nn.Sequential(conv, make_norm(norm, b), nn.ReLU(inplace=True)))
    steps.append(nn.Sequential(_halve(before[-1], after[-1], norm)))
    return steps


def frozen_parts(stages: int) -> tuple[str, ...]:
    """Names of what doesn't train: for 0 the stem, for k the stem and stages 1..k."""
    names = ("conv1", "bn1", "conv2", "bn2") if stages >= 0 else ()
    later = (
        "layer1",
        *(f"{part}{i + k}" for i in (1, 2, 3) for k, part in enumerate(("transition", "stage"))),
    )
    return (*names, *later[: 0 if stages < 1 else 2 * stages - 1])
