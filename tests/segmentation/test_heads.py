"""Heads against their papers' formulas, where no golden file has their numbers."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import TypeVar

import pytest
import torch
from torch import Tensor, nn

from omma.layers import CrissCrossAttention
from omma.losses import BinaryCrossEntropyLoss
from omma.model import Preprocessor
from omma.structures import IGNORED
from omma_segmentation.losses import PixelCrossEntropy
from omma_segmentation.models.ccnet import CrissCrossContext
from omma_segmentation.models.danet import ChannelAttention, PixelAttention
from omma_segmentation.models.dnlnet import DisentangledContext
from omma_segmentation.models.emanet import BasisAttention
from omma_segmentation.models.encnet import EncHead, Encoding
from omma_segmentation.models.fcn import FCNHead
from omma_segmentation.models.heads.decode_head import MapHead
from omma_segmentation.models.isanet import SelfAttention, interlaced
from omma_segmentation.models.knet import IterativeDecodeHead, KernelUpdateHead
from omma_segmentation.models.pointrend import PointHead
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


@torch.no_grad()
def test_channels_attend_to_those_least_like_them():
    module = drawn(ChannelAttention())
    x = torch.randn(2, 5, 3, 4).double()
    for image, found in zip(x, module(x)):
        rows = image.flatten(1)
        energy = rows @ rows.T
        share = (energy.max(1, keepdim=True).values - energy).softmax(1)
        expected = module.gamma.scale * (share @ rows).view_as(image) + image
        torch.testing.assert_close(found, expected)


@torch.no_grad()
def test_pixels_attend_to_all_by_unscaled_products():
    module = drawn(PixelAttention(6, 2))
    x = torch.randn(1, 6, 3, 4).double()
    query, key, value = (
        at(module.get_submodule(f"{name}_project"), x[0]) for name in ("query", "key", "value")
    )
    seen = ((query @ key.T).softmax(1) @ value).T.view(6, 3, 4)
    torch.testing.assert_close(module(x)[0], module.gamma.scale * seen + x[0])


@torch.no_grad()
def test_interlaced_attention_is_attention_apart_and_then_within_tiles():
    apart, near = (drawn(SelfAttention(6, 4, norm="bn")) for _ in range(2))
    x = torch.randn(2, 6, 6, 8).double()
    # The same by masks over all pairs of pixels.
    places = torch.tensor(list(product(range(6), range(8))))
    tile = places // torch.tensor([3, 4])
    within = places % torch.tensor([3, 4])
    expected = x
    for module, kind in ((apart, within), (near, tile)):
        allowed = (kind[:, None] == kind).all(-1)
        rows = []
        for image in expected:
            query, key, value = (
                at(module.get_submodule(f"{name}_project"), image) for name in ("query", "key", "value")
            )
            likeness = (query @ key.T / 4**0.5).masked_fill(~allowed, -torch.inf)
            rows.append((likeness.softmax(1) @ value).T.view(1, 6, 6, 8))
        expected = module.get_submodule("output_project")(torch.cat(rows))
    torch.testing.assert_close(interlaced(x, (3, 4), apart, near), expected)


@torch.no_grad()
def test_a_map_that_tiles_do_not_divide_is_padded_around():
    x = torch.randn(1, 3, 5, 7)
    seen: list[Tensor] = []

    def keep(tiles: Tensor) -> Tensor:
        seen.append(tiles)
        return tiles

    assert torch.equal(interlaced(x, (4, 4), nn.Identity(), nn.Identity()), x)
    interlaced(x, (4, 4), keep, nn.Identity())
    assert seen[0].shape == (16, 3, 2, 2)
    # One row above and two below, and no column at the left.
    assert (seen[0][0, :, 0] == 0).all()
    assert torch.equal(seen[0][0, :, 1, 0], x[0, :, 3, 0])


@torch.no_grad()
def test_bases_are_fitted_by_expectation_maximisation_and_followed_in_training():
    module = BasisAttention(4, bases=3, steps=2, momentum=0.25).double().eval()
    x = torch.randn(2, 4, 3, 5).double()
    start, fitted = module.bases[0], []
    for image, found in zip(x, module(x)):
        pixels, bases, share = image.flatten(1).T, start, start
        for _ in range(2):
            share = (pixels @ bases).softmax(1)
            bases = pixels.T @ (share / share.sum(0))
            bases = bases / bases.norm(dim=0)
        fitted.append(bases)
        torch.testing.assert_close(found, (share @ bases.T).T.view_as(image))
    assert torch.equal(module.bases[0], start)
    before = start.clone()
    module.train()(x)
    both = torch.stack(fitted).mean(0)
    torch.testing.assert_close(module.bases[0], 0.75 * before + 0.25 * both / both.norm(dim=0))


@torch.no_grad()
def test_an_encoding_sums_residuals_by_nearness():
    module = drawn(Encoding(4, 3))
    x = torch.randn(2, 4, 3, 5).double()
    residuals = x.flatten(2).transpose(1, 2)[:, :, None] - module.codewords  # (N, P, K, C)
    share = (module.scale * residuals.square().sum(-1)).softmax(-1)
    torch.testing.assert_close(module(x), (share[..., None] * residuals).sum(1))


@torch.no_grad()
def test_presence_is_learnt_of_the_classes_that_an_image_shows():
    head = EncHead(
        in_channels=4,
        channels=4,
        num_classes=3,
        loss=PixelCrossEntropy(),
        presence_loss=BinaryCrossEntropyLoss(),
        codes=2,
    ).eval()
    labels = torch.tensor([[[0, 0], [2, IGNORED]], [[IGNORED, IGNORED], [IGNORED, 1]]])
    shown = torch.tensor([[1.0, 0, 1], [0, 1, 0]])
    logits, presence = head([torch.randn(2, 4, 2, 2)])
    assert presence is not None
    p = presence.double().sigmoid()
    expected = -(shown * p.log() + (1 - shown) * (1 - p).log()).mean()
    torch.testing.assert_close(
        head.loss((logits, presence), labels)["loss_se"].double(), expected, rtol=1e-5, atol=1e-6
    )


def point_head(*, num_points: int = 8, uncertain_share: float = 0.75, step_points: int = 5) -> PointHead:
    return PointHead(
        in_channels=4,
        channels=6,
        num_classes=3,
        loss=PixelCrossEntropy(),
        num_points=num_points,
        uncertain_share=uncertain_share,
        steps=1,
        step_points=step_points,
    )


@torch.no_grad()
def test_points_refine_the_least_certain_pixels_only():
    head = point_head(step_points=5)
    coarse, maps = torch.randn(1, 3, 4, 6), [torch.randn(1, 4, 8, 12)]
    fine = nn.functional.interpolate(coarse, scale_factor=2, mode="bilinear")
    found = head(maps, coarse)
    changed = (found != fine).any(1).flatten()
    two = fine.topk(2, dim=1).values
    open_most = (two[:, 0] - two[:, 1]).flatten().argsort()[:5]
    assert changed.nonzero()[:, 0].tolist() == sorted(open_most.tolist())
    y, x = divmod(int(open_most[0]), 12)
    # A pixel of the fine map is a point of that map.
    inner = maps[0][0, :, y, x]
    around = nn.functional.grid_sample(
        coarse, torch.tensor([[[[(x + 0.5) / 6 - 1, (y + 0.5) / 4 - 1]]]]), align_corners=False
    )[0, :, 0, 0]
    for layer in head.fcs:
        inner = layer(torch.cat([inner, around])[None, :, None])[0, :, 0]
    torch.testing.assert_close(
        found[0, :, y, x], head.fc_seg(torch.cat([inner, around])[None, :, None])[0, :, 0]
    )


@torch.no_grad()
def test_points_of_training_lie_where_logits_are_open():
    head = point_head(num_points=400, uncertain_share=0.75)
    coarse = torch.zeros(2, 3, 16, 16)
    coarse[:, 0] = (torch.arange(16) - 7.5).abs() * 10  # open in the middle column only
    points = head.draw(coarse)
    assert points.shape == (2, 400, 2)
    off = (points[..., 0] - 0.5).abs()
    # A quarter of the candidates is taken; at the border logits fade to zero and so are more open there.
    assert off[:, :300].max() < 0.3
    assert off[:, 300:].max() > 0.4


@torch.no_grad()
def test_the_loss_of_points_takes_the_labels_under_them():
    head = point_head(num_points=64, uncertain_share=0.0)
    labels = torch.randint(0, 3, (1, 8, 12))
    labels[0, :2] = IGNORED
    coarse, maps = torch.randn(1, 3, 4, 6), [torch.randn(1, 4, 8, 12)]
    points = torch.rand(1, 64, 2)
    head.draw = lambda coarse: points  # pyright: ignore[reportAttributeAccessIssue]
    logits = head.at(maps, coarse, points)[0]
    total = 0.0
    for i, (x, y) in enumerate(points[0].tolist()):
        label = int(labels[0, int(y * 8), int(x * 12)])
        total -= 0.0 if label == IGNORED else float(logits[:, i].log_softmax(0)[label])
    found = head.loss(maps, coarse, labels)["point_loss_ce"]
    assert float(found) == pytest.approx(total / 64, rel=1e-5)


@torch.no_grad()
def test_kernels_are_updated_by_the_features_of_their_class():
    stage = drawn(KernelUpdateHead(channels=8, update_channels=4, heads=2, hidden=6))
    features, kernels = torch.randn(1, 8, 3, 4).double(), torch.randn(1, 5, 8).double()
    logits = torch.randn(1, 5, 3, 4).double()
    masks, found = stage(features, kernels, logits)
    # The formulas of section 3.2, one kernel and half of its channels at a time.
    pixels = at(stage.get_submodule("feat_transform"), features[0])  # (P, 8)
    share = logits[0].flatten(1).softmax(0)
    update = stage.get_submodule("kernel_update_conv")
    part = dict(update.named_children())
    rows = []
    for k in range(5):
        halves = []
        for half in (slice(0, 4), slice(4, 8)):
            group, kernel = (share[k] @ pixels)[half], kernels[0, k, half]
            f1, f2 = part["dynamic_layer"](group).split(4)
            k1, k2 = part["input_layer"](kernel).split(4)
            gate = f1 * k1
            to_feature = part["norm_in"](part["update_gate"](gate)).sigmoid()
            to_kernel = part["input_norm_in"](part["input_gate"](gate)).sigmoid()
            mixed = to_feature * part["norm_out"](f2) + to_kernel * part["input_norm_out"](k2)
            halves.append(part["fc_norm"](part["fc_layer"](mixed)).relu())
        rows.append(torch.cat(halves))
    x = torch.stack(rows)
    attn = stage.get_submodule("attention.attn")
    x = stage.get_submodule("attention_norm")(x + attn(x[None], x[None], x[None])[0][0])
    x = stage.get_submodule("ffn_norm")(x + stage.get_submodule("ffn")(x))
    torch.testing.assert_close(found[0], x)
    weights = stage.get_submodule("fc_mask")(stage.get_submodule("mask_fcs")(x))
    torch.testing.assert_close(masks[0].flatten(1), weights @ pixels.T)


@torch.no_grad()
def test_every_stage_of_k_net_has_a_loss():
    head = IterativeDecodeHead(
        kernel_generate_head=FCNHead(
            in_channels=4,
            channels=8,
            num_classes=3,
            loss=PixelCrossEntropy(),
            num_convs=1,
            concat_input=False,
        ),
        kernel_update_head=(KernelUpdateHead(channels=8, update_channels=8, heads=1, hidden=4),) * 2,
    ).eval()
    labels = torch.randint(0, 3, (2, 4, 4))
    outputs = head([torch.randn(2, 4, 4, 4)])
    losses = head.loss(outputs, labels)
    assert list(losses) == ["s0.loss_ce", "s1.loss_ce", "s2.loss_ce"]
    for logits, loss in zip(outputs, losses.values(), strict=True):
        torch.testing.assert_close(loss, nn.functional.cross_entropy(logits, labels))
    assert head.logits(outputs) is outputs[-1]


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
        (lambda: (point_head(), point_head()), "first decode head must decode maps, got PointHead"),
        (lambda: (fcn(), fcn()), "must refine the logits of the one before"),
        (lambda: (fcn(2), point_head()), "decode_1 head has 3 classes, decode head 2"),
    ],
    ids=["none", "refining first", "decoding twice", "other classes"],
)
def test_heads_in_a_row_must_fit_each_other(heads: Callable[[], tuple[MapHead, ...]], message: str):
    preprocessor = Preprocessor(mean=(0, 0, 0), std=(1, 1, 1), divisor=1)
    with pytest.raises(ValueError, match=message):
        Segmentor(backbone=PlainBackbone((4,), (4,)), decode_head=heads(), preprocessor=preprocessor)
