"""Heads against their papers' formulas, where no golden file has their numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import pytest
import torch
from torch import Tensor, nn

from omma.layers import CrissCrossAttention
from omma.model import Preprocessor
from omma_segmentation.losses import PixelCrossEntropy
from omma_segmentation.models.ccnet import CrissCrossContext
from omma_segmentation.models.dnlnet import DisentangledContext
from omma_segmentation.models.fcn import FCNHead
from omma_segmentation.models.heads.decode_head import MapHead
from omma_segmentation.models.segmentor import Segmentor
from omma_segmentation.models.semantic_fpn import FPNHead

from ..plain import PlainBackbone


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


M = TypeVar("M", bound=nn.Module)


def drawn(module: M) -> M:
    """The module in double precision with random parameters everywhere, so that nothing is an identity."""
    for value in module.parameters():
        nn.init.normal_(value, std=0.3)
    return module.double().eval()


def at(layer: nn.Module, x: Tensor) -> Tensor:
    """A 1x1 convolution of (C, H, W) as rows (P, C')."""
    return layer(x[None])[0].flatten(1).T


@torch.no_grad()
def test_disentangled_attention_is_whitened_pairs_and_a_mask_of_pixels():
    module = drawn(DisentangledContext(temperature=0.5).make(8, "bn"))
    x = torch.randn(2, 8, 3, 4).double()
    for image, found in zip(x, module(x)):
        query, key, value = (at(module.get_submodule(name), image) for name in ("theta", "phi", "g"))
        likeness = (query - query.mean(0)) @ (key - key.mean(0)).T / 4**0.5 / 0.5
        pairs = likeness.softmax(1) @ value
        unary = at(module.get_submodule("conv_mask"), image).softmax(0).T @ value
        out = module.get_submodule("conv_out")
        added = [out(rows.T.view(1, 4, *size))[0] for rows, size in ((pairs, (3, 4)), (unary, (1, 1)))]
        torch.testing.assert_close(found, image + added[0] + added[1])


@torch.no_grad()
def test_criss_cross_context_reaches_every_pixel_in_two_steps():
    module = drawn(CrissCrossContext(times=2).make(8, "bn"))
    once = drawn(CrissCrossAttention(8))
    once.load_state_dict(module.state_dict())
    x = torch.randn(1, 8, 5, 6).double()
    torch.testing.assert_close(module(x), once(once(x)))
    moved = x.clone()
    moved[..., 0, 0] += 1
    assert (module(moved) - module(x)).abs().amax(1).min() > 0
    assert (once(moved) - once(x)).abs().amax(1).min() == 0


def test_strides_of_a_semantic_pyramid_must_double():
    with pytest.raises(ValueError, match=r"powers of two times the first one, got \(4, 12\)"):
        FPNHead(
            in_channels=(4, 4),
            in_index=(0, 1),
            strides=(4, 12),
            channels=4,
            num_classes=2,
            loss=PixelCrossEntropy(),
        )


def test_context_needs_two_convolutions():
    with pytest.raises(ValueError, match="num_convs must be 2 or more, got 1"):
        FCNHead(
            in_channels=4,
            channels=8,
            num_classes=2,
            loss=PixelCrossEntropy(),
            num_convs=1,
            context=CrissCrossContext(),
        )


def fcn(num_classes: int = 3) -> FCNHead:
    return FCNHead(in_channels=4, channels=4, num_classes=num_classes, loss=PixelCrossEntropy())


@pytest.mark.parametrize(
    ("heads", "message"),
    [
        (lambda: (), "first decode head must decode maps, got NoneType"),
        (lambda: (fcn(), fcn()), "must refine the logits of the one before"),
    ],
    ids=["none", "decoding twice"],
)
def test_heads_in_a_row_must_fit_each_other(heads: Callable[[], tuple[MapHead, ...]], message: str):
    preprocessor = Preprocessor(mean=(0, 0, 0), std=(1, 1, 1), divisor=1)
    with pytest.raises(ValueError, match=message):
        Segmentor(backbone=PlainBackbone((4,), (4,)), decode_head=heads(), preprocessor=preprocessor)
