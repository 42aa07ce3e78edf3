"""What the table of cases can't say of the operators on features: errors, and how they serve together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.nn import functional as F
from torchvision.models.swin_transformer import shifted_window_attention

from omma import ops
from omma.ops.backend import TRITON_INSTALLED, TRITON_INTERPRETED, force_backend


def zeros(*shape: int) -> torch.Tensor:
    return torch.zeros(*shape)


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (
            lambda: ops.deform_conv2d(zeros(1, 4, 5, 5), zeros(1, 18, 5, 5), zeros(6, 4, 3, 3)),
            r"deform_conv2d: offset must have shape \(1, 18, 3, 3\), got \(1, 18, 5, 5\)",
        ),
        (
            lambda: ops.deform_conv2d(zeros(1, 4, 5, 5), zeros(1, 3 * 18, 3, 3), zeros(6, 4, 3, 3)),
            r"deform_conv2d: 4 and 6 channels must split into groups as .* offset of shape \(1, 54, 3, 3\)",
        ),
        (
            lambda: ops.deform_conv2d(
                zeros(1, 4, 5, 5), zeros(1, 36, 3, 3), zeros(6, 4, 3, 3), mask=zeros(1, 9, 3, 3)
            ),
            r"deform_conv2d: mask must have shape \(1, 18, 3, 3\), got \(1, 9, 3, 3\)",
        ),
        (
            lambda: ops.carafe(zeros(1, 4, 5, 5), zeros(1, 9, 5, 5), kernel_size=3, scale=2),
            r"carafe: kernels must have shape \(1, 9, 10, 10\), got \(1, 9, 5, 5\)",
        ),
        (
            lambda: ops.carafe(zeros(1, 4, 5, 5), zeros(1, 16, 10, 10), kernel_size=4, scale=2),
            "carafe: kernel_size must be odd, got 4",
        ),
        (
            lambda: ops.masked_conv2d(zeros(1, 2, 5, 5), zeros(1, 5, 5), zeros(2, 2, 1, 1)),
            "masked_conv2d: mask must be bool, got float32",
        ),
        (
            lambda: ops.dynamic_conv2d(zeros(3, 2, 5, 5), zeros(2, 4, 2, 1, 1)),
            r"dynamic_conv2d: weight must have shape \(3, C', 2, kh, kw\), got \(2, 4, 2, 1, 1\)",
        ),
        (
            lambda: ops.ms_deform_attn(
                zeros(1, 7, 2, 4), [(2, 3)], zeros(1, 5, 2, 1, 4, 2), zeros(1, 5, 2, 1, 4)
            ),
            r"ms_deform_attn: value must have shape \(N, 6, M, D\), got \(1, 7, 2, 4\)",
        ),
        (
            lambda: ops.ms_deform_attn(
                zeros(1, 9, 2, 4), [(1, 1)] * 9, zeros(1, 5, 2, 9, 4, 2), zeros(1, 5, 2, 9, 4)
            ),
            "ms_deform_attn: sizes must be of 1 to 8 levels, got 9",
        ),
        (
            lambda: ops.corner_pool(zeros(1, 2, 5, 5), direction="up"),  # pyright: ignore[reportArgumentType]
            "corner_pool: direction must be one of top, bottom, left, right, got 'up'",
        ),
        (
            lambda: ops.psa_mask(zeros(1, 9, 5, 5), size=(3, 5), mode="collect"),
            r"psa_mask: x must have shape \(N, 15, H, W\), got \(1, 9, 5, 5\)",
        ),
        (
            lambda: ops.temporal_shift(zeros(1, 8, 4, 2, 2), fold=3),
            "temporal_shift: fold must be in 0..2, half the channels, got 3",
        ),
        (
            lambda: ops.tin_shift(zeros(1, 8, 4, 2, 2), zeros(1, 3)),
            "tin_shift: 4 channels can't be split into the 3 groups of shift",
        ),
        (
            lambda: ops.window_partition(zeros(1, 5, 5, 2), size=3, shift=3),
            r"window_partition: shift must be in 0\.\.2, got 3",
        ),
        (
            lambda: ops.window_reverse(zeros(1, 3, 9, 2), sides=(5, 5), size=3),
            r"window_reverse: windows must have shape \(N, 4, 9, C\), got \(1, 3, 9, 2\)",
        ),
    ],
)
def test_what_is_wrong_is_told(call: Callable[[], Any], told: str):
    with pytest.raises(ValueError, match=f"^{told}"):
        call()


def test_pixels_that_the_roll_brought_together_do_not_attend_to_each_other():
    mask = ops.window_mask((4, 4), size=2, shift=1, device=torch.device("cpu"))
    assert mask.shape == (4, 4, 4)
    assert mask[0].all()
    # Columns 3 and 0, rows 1 and 2; then rows 3 and 0; then both.
    assert mask[1].int().tolist() == [[1, 0, 1, 0], [0, 1, 0, 1], [1, 0, 1, 0], [0, 1, 0, 1]]
    assert mask[2].int().tolist() == [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1], [0, 0, 1, 1]]
    assert torch.equal(mask[3], torch.eye(4, dtype=torch.bool))
    assert ops.window_mask((4, 4), size=2, shift=0, device=torch.device("cpu")).all()


def test_shifted_window_attention_equals_torchvisions():
    torch.manual_seed(0)
    x = torch.randn(2, 7, 11, 4)  # not divisible by the windows
    weight, height, width = torch.randn(12, 4), 7, 11
    bias = torch.zeros(1, 1, 9, 9)
    expected = shifted_window_attention(x, weight, torch.eye(4), bias, [3, 3], 1, [1, 1])
    windows = ops.window_partition(x, size=3, shift=1)
    q, k, v = (windows @ weight.T).chunk(3, -1)
    mask = ops.window_mask((height, width), size=3, shift=1, device=x.device)
    out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    actual = ops.window_reverse(out, sides=(height, width), size=3, shift=1)
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=1e-5)


def test_few_places_and_many_are_convolved_alike(monkeypatch: pytest.MonkeyPatch):
    torch.manual_seed(0)
    x, weight = torch.randn(2, 3, 6, 6), torch.randn(4, 3, 3, 3)
    mask = torch.rand(2, 6, 6) < 0.5
    dense = ops.masked_conv2d(x, mask, weight, padding=1)
    monkeypatch.setattr("omma.ops.masked_conv._FEW", 1.0)
    torch.testing.assert_close(ops.masked_conv2d(x, mask, weight, padding=1), dense)


SEVERAL_PROGRAMS = {
    # Of which the last ones are only partly filled.
    "ms_deform_attn": lambda draw: (
        (draw(1, 7, 1, 24), [(2, 3), (1, 1)], draw(1, 18, 1, 2, 1, 2), draw(1, 18, 1, 2, 1)),
        {},
    ),
    "carafe": lambda draw: ((draw(1, 36, 5, 4), draw(1, 9, 10, 8)), {"kernel_size": 3, "scale": 2}),
}


@pytest.mark.skipif(not (TRITON_INSTALLED and TRITON_INTERPRETED), reason="needs Triton's interpreter")
@pytest.mark.parametrize("op", SEVERAL_PROGRAMS)
def test_several_programs_of_a_kernel_share_the_work(op: str):
    generator = torch.Generator().manual_seed(0)
    arguments, settings = SEVERAL_PROGRAMS[op](lambda *shape: torch.rand(shape, generator=generator))
    leaves = [x.requires_grad_() for x in arguments if isinstance(x, torch.Tensor)]
    found = []
    for backend in ("triton", "reference"):
        with force_backend(f"{op}={backend}"):
            out = getattr(ops, op)(*arguments, **settings)
        found.append((out, *torch.autograd.grad(out.square().sum(), leaves)))
    for ours, expected in zip(*found, strict=True):
        torch.testing.assert_close(ours, expected, atol=1e-4, rtol=1e-4)
