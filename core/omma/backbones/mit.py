"""Mix Transformer, the encoder of SegFormer (Xie et al., SegFormer, 2021)."""

from __future__ import annotations

from omma.backbones.pvt import PyramidTransformer
from omma.registry import register


@register
class MixVisionTransformer(PyramidTransformer):
    """Four stages of overlapping patches and blocks with few keys; positions come from convolutions alone.

    Parameter names are OpenMMLab's; files of the authors are understood too. Published: b0 has 32 channels
    and 2 blocks in each stage, the others 64: b1 2, 2, 2, 2; b2 3, 4, 6, 3; b3 3, 4, 18, 3;
    b4 3, 8, 27, 3; b5 3, 6, 40, 3.

    Args:
        channels: of one head; a stage has as many times more as it has heads.
        depths: blocks of each stage.
        heads: attention heads of each stage.
        mlp_ratios: hidden width of each stage's feed-forward layers, as a multiple of the stage's.
        reductions: side of the patches that each stage's keys and values are made of.
        drop_path: share of blocks skipped in training at the end; it grows along the depth from 0.
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
        channels: int = 32,
        depths: tuple[int, int, int, int] = (2, 2, 2, 2),
        heads: tuple[int, int, int, int] = (1, 2, 5, 8),
        mlp_ratios: tuple[int, int, int, int] = (4, 4, 4, 4),
        reductions: tuple[int, int, int, int] = (8, 4, 2, 1),
        drop_path: float = 0.1,
        out_indices: tuple[int, ...] = (0, 1, 2, 3),
        frozen_stages: int = -1,
        recompute: bool = False,
        weights: str | None = None,
    ) -> None:
        super().__init__()
        self.build(
            channels=channels,
            depths=depths,
            heads=heads,
            mlp_ratios=mlp_ratios,
            reductions=reductions,
            drop_path=drop_path,
            version=2,
            train_size=0,
            out_indices=out_indices,
            frozen_stages=frozen_stages,
            recompute=recompute,
            weights=weights,
            reduced_eps=1e-6,
        )
