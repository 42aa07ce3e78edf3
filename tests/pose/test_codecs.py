"""Codecs: targets by their formulas, and decoding as the inverse of encoding."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from omma_pose.codecs import (
    HeatmapCodec,
    IntegralRegressionLabel,
    MegviiHeatmap,
    MSRAHeatmap,
    RegressionLabel,
    SimCCLabel,
    UDPHeatmap,
)

SIZES = {"input_size": (96, 128), "heatmap_size": (24, 32)}
MSRA, DARK, UDP = MSRAHeatmap(**SIZES), MSRAHeatmap(**SIZES, dark=True), UDPHeatmap(**SIZES)
MEGVII = MegviiHeatmap(**SIZES, kernel=5)
CODECS = {"msra": MSRA, "dark": DARK, "udp": UDP, "megvii": MEGVII}
ORDER = torch.tensor([0, 2, 1, 3, 4])


@pytest.fixture(params=CODECS, scope="module")
def codec(request: pytest.FixtureRequest) -> HeatmapCodec:
    return CODECS[request.param]


@pytest.fixture
def keypoints() -> Tensor:
    """(40, 5, 2) places at least 36 pixels from the border, which smoothing doesn't reach."""
    generator = torch.Generator().manual_seed(0)
    return 36 + torch.rand(40, 5, 2, generator=generator) * torch.tensor([23.0, 55.0])


def ones(keypoints: Tensor) -> Tensor:
    return torch.ones(keypoints.shape[:2])


EXACT = {"msra": 2.0, "dark": 0.05, "udp": 0.05, "megvii": 3.0}
"""Pixels of the input: half or three quarters of a pixel of the heatmap, and what a parabola leaves."""


@pytest.mark.parametrize("name", CODECS)
def test_decoding_inverts_encoding(name, keypoints):
    codec = CODECS[name]
    targets, weights = codec.encode(keypoints, ones(keypoints))
    decoded, scores = codec.decode(targets)
    assert float((decoded - keypoints).abs().max()) <= EXACT[name]
    assert weights.min() == 1
    assert scores.min() > 0.8


@pytest.mark.parametrize("kernel", [3, 5, 15])
def test_smoothed_pixels_are_opencvs(kernel):
    """Border and corner, beside them, and farther inside than a kernel reaches."""
    places = [(0, 0), (23, 31), (1, 30), (7, 3), (22, 0), (12, 16)]
    keypoints = torch.tensor([places]) * 4.0 + 3.0
    targets, weights = MEGVII.encode_with(keypoints, torch.ones(1, len(places)), kernel)
    for target, (x, y) in zip(targets[0], places):
        expected = np.zeros((32, 24), np.float32)
        expected[y, x] = 1
        expected = cv2.GaussianBlur(expected, (kernel, kernel), 0)
        np.testing.assert_allclose(target, 255 * expected / expected[y, x], atol=1e-3)
    assert weights.tolist() == [[1.0] * len(places)]


def test_smoothed_pixels_outside_have_no_weight():
    keypoints = torch.tensor([[[-4.0, 8.0], [96.0, 8.0], [8.0, 128.0], [95.9, 127.9]]])
    targets, weights = MEGVII.encode(keypoints, torch.ones(1, 4))
    assert weights.tolist() == [[0.0, 0.0, 0.0, 1.0]]
    assert targets[0, :3].abs().max() == 0
    assert targets[0, 3].max() == 255


def test_bumps_of_whole_pixels_reach_three_deviations():
    targets, _ = MSRA.encode(torch.tensor([[[41.0, 62.0]]]), torch.ones(1, 1))
    expected = np.zeros((32, 24))
    for y in range(32):
        for x in range(24):
            # 41 / 4 = 10.25 and 62 / 4 = 15.5 are nearest to 10 and 16.
            dx, dy = x - 10, y - 16
            if max(abs(dx), abs(dy)) <= 6:
                expected[y, x] = math.exp(-(dx * dx + dy * dy) / 8)
    np.testing.assert_allclose(targets[0, 0], expected, atol=1e-7)


def test_bumps_of_dark_lie_between_pixels():
    targets, _ = DARK.encode(torch.tensor([[[41.0, 62.0]]]), torch.ones(1, 1))
    y, x = np.mgrid[:32, :24]
    expected = np.exp(-((x - 10.25) ** 2 + (y - 15.5) ** 2) / 8)
    np.testing.assert_allclose(targets[0, 0], expected, atol=1e-6)


def test_bumps_of_udp_count_from_centre_to_centre():
    targets, _ = UDP.encode(torch.tensor([[[95.0, 127.0]]]), torch.ones(1, 1))
    # The centre of the input's last pixel is that of the heatmap's.
    assert float(targets[0, 0, 31, 23]) == pytest.approx(1.0)


def test_unlabelled_key_points_have_neither_bump_nor_weight(codec, keypoints):
    visible = ones(keypoints)
    visible[:, 1] = 0
    targets, weights = codec.encode(keypoints, visible)
    assert weights[:, 1].max() == 0
    assert targets[:, 1].abs().max() == 0
    assert weights[:, 0].min() == 1


@pytest.mark.parametrize("codec", [MSRA, DARK, UDP], ids=["msra", "dark", "udp"])
def test_key_points_far_outside_have_no_weight(codec):
    places = torch.tensor([[[-40.0, 10.0], [10.0, -40.0], [160.0, 10.0], [10.0, 200.0], [-4.0, 130.0]]])
    targets, weights = codec.encode(places, torch.ones(1, 5))
    assert weights.tolist() == [[0, 0, 0, 0, 1]]
    assert targets[0, :4].abs().max() == 0
    assert targets[0, 4].max() > 0


def test_bumps_of_mspn_have_their_peak_within_the_map():
    targets, weights = MEGVII.encode(
        torch.tensor([[[-40.0, 10.0], [-4.0, 126.0], [2.0, 126.0]]]), torch.ones(1, 3)
    )
    assert weights.tolist() == [[0, 0, 1]]
    assert targets[0, :2].abs().max() == 0
    assert targets[0, 2].max() > 0


@pytest.mark.parametrize("codec", [MSRA, DARK, UDP], ids=["msra", "dark", "udp"])
def test_a_map_without_a_positive_value_has_no_place(codec):
    decoded, scores = codec.decode(torch.full((1, 2, 32, 24), -0.5))
    assert scores.tolist() == [[-0.5, -0.5]]
    expected = torch.tensor(codec.stride).expand(1, 2, 2) * -1
    torch.testing.assert_close(decoded, expected)


def test_udp_of_a_mirror_image_is_turned_back_exactly(keypoints):
    mirrored = keypoints.clone()
    mirrored[..., 0] = 95 - keypoints[..., 0]
    targets, _ = UDP.encode(mirrored[:, ORDER], ones(keypoints))
    expected, _ = UDP.encode(keypoints, ones(keypoints))
    torch.testing.assert_close(UDP.upright(targets, ORDER), expected, atol=1e-5, rtol=0)


def test_msra_of_a_mirror_image_is_turned_back_and_moved(keypoints):
    # Mirrored crops map the centre of a box to half the width, as crops do: x becomes width - x.
    mirrored = keypoints.clone()
    mirrored[..., 0] = 96 - keypoints[..., 0]
    targets, _ = DARK.encode(mirrored[:, ORDER], ones(keypoints))
    expected, _ = DARK.encode(keypoints, ones(keypoints))
    torch.testing.assert_close(DARK.upright(targets, ORDER)[..., 1:], expected[..., 1:], atol=1e-5, rtol=0)


def test_half_precision_outputs_are_decoded(codec, keypoints):
    targets, _ = codec.encode(keypoints, ones(keypoints))
    decoded, scores = codec.decode(targets.bfloat16())
    assert decoded.dtype == scores.dtype == torch.float32
    assert decoded.isfinite().all()


@pytest.mark.parametrize("change", [{"sigma": 0.0}, {"blur": 10}, {"heatmap_size": (1, 32)}])
def test_arguments_out_of_range_are_refused(change):
    with pytest.raises(ValueError):
        UDPHeatmap(**{**SIZES, **change})


LINES = {
    "gaussian": SimCCLabel(input_size=(96, 128)),
    "two sigmas": SimCCLabel(input_size=(96, 128), sigma=(4.9, 5.66), normalize=False),
    "one bin": SimCCLabel(input_size=(96, 128), smoothing="standard"),
    "smoothed": SimCCLabel(input_size=(96, 128), smoothing="standard", smooth=0.1),
}


@pytest.mark.parametrize("name", LINES)
def test_lines_are_decoded_to_the_nearest_bin(name, keypoints):
    line = LINES[name]
    targets, weights = line.encode(keypoints, ones(keypoints))
    decoded, _ = line.decode(targets)
    # Two bins a pixel: no key point is farther than a quarter of a pixel from one.
    assert float((decoded - keypoints).abs().max()) <= 0.25 + 1e-5
    assert weights.min() == 1
    assert [target.shape[-1] for target in targets] == [192, 256]


def test_lines_follow_their_formula():
    (x, _), _ = LINES["gaussian"].encode(torch.tensor([[[20.1, 30.0]]]), torch.ones(1, 1))
    expected = [math.exp(-((i - 40) ** 2) / 72) / (6 * math.sqrt(2 * math.pi)) for i in range(192)]
    np.testing.assert_allclose(x[0, 0], expected, rtol=1e-5, atol=1e-9)
    (x, _), _ = LINES["smoothed"].encode(torch.tensor([[[20.1, 30.0]]]), torch.ones(1, 1))
    assert float(x[0, 0, 40]) == pytest.approx(0.9)
    assert float(x.sum()) == pytest.approx(1.0)


def test_lines_of_key_points_outside_have_no_weight():
    places = torch.tensor([[[-1.0, 5.0], [5.0, 128.0], [5.0, 5.0]]])
    targets, weights = LINES["one bin"].encode(places, torch.tensor([[1.0, 1.0, 0.0]]))
    assert weights.tolist() == [[0, 0, 0]]
    assert max(float(target.abs().max()) for target in targets) == 0


def test_lines_of_a_mirror_image_are_turned_back(keypoints):
    line = LINES["one bin"]
    mirrored = keypoints.clone()
    mirrored[..., 0] = 95.5 - keypoints[..., 0]
    targets, _ = line.encode(mirrored[:, ORDER], ones(keypoints))
    places, _ = line.decode(line.upright(targets, ORDER))
    assert float((places - keypoints).abs().max()) <= 0.25 + 1e-5


def test_a_line_without_a_positive_value_has_no_place():
    places, scores = LINES["gaussian"].decode((torch.full((1, 1, 192), -1.0), torch.ones(1, 1, 256)))
    assert places.tolist() == [[[-0.5, -0.5]]]
    assert scores.tolist() == [[-1.0]]


def test_shares_are_decoded_exactly(keypoints):
    shares = RegressionLabel(input_size=(96, 128))
    targets, weights = shares.encode(keypoints, ones(keypoints))
    decoded, scores = shares.decode(targets)
    torch.testing.assert_close(decoded, keypoints)
    assert weights.min() == scores.min() == 1
    assert float(targets.max()) < 1


def test_scores_of_shares_fall_with_their_deviations():
    outputs = torch.tensor([[[0.5, 0.5, 0.1, 0.3]]])
    assert RegressionLabel(input_size=(96, 128)).decode(outputs)[1].item() == pytest.approx(0.8)


def test_shares_outside_have_no_weight():
    places = torch.tensor([[[-0.1, 5.0], [95.0, 127.0], [95.1, 5.0], [5.0, 5.0]]])
    _, weights = RegressionLabel(input_size=(96, 128)).encode(places, torch.tensor([[1.0, 1.0, 1.0, 0.0]]))
    assert weights.tolist() == [[0, 1, 0, 0]]


def test_shares_of_a_mirror_image_are_turned_back(keypoints):
    shares = RegressionLabel(input_size=(96, 128))
    mirrored = keypoints.clone()
    mirrored[..., 0] = 95 - keypoints[..., 0]
    targets, _ = shares.encode(mirrored[:, ORDER], ones(keypoints))
    torch.testing.assert_close(shares.decode(shares.upright(targets, ORDER))[0], keypoints)


def test_the_mean_of_an_integral_heatmap_is_its_key_point():
    integral = IntegralRegressionLabel(input_size=(96, 128), heatmap_size=(24, 32))
    keypoints = torch.tensor([[[40.0, 64.0]]])
    (shares, heatmaps), weights = integral.encode(keypoints, torch.ones(1, 1))
    assert weights.item() == 1
    assert float(heatmaps.sum()) == pytest.approx(1.0)
    y, x = np.mgrid[:32, :24]
    mean = [float((heatmaps[0, 0].numpy() * axis).sum()) * 4 for axis in (x, y)]
    assert mean == pytest.approx([40.0, 64.0], abs=1e-3)
    torch.testing.assert_close(integral.decode((shares, heatmaps))[0], keypoints)


@pytest.mark.parametrize(
    "change", [{"split": 0}, {"sigma": -1.0}, {"smooth": 0.1}, {"smooth": 1.0, "smoothing": "standard"}]
)
def test_lines_out_of_range_are_refused(change):
    with pytest.raises(ValueError):
        SimCCLabel(input_size=(96, 128), **change)
