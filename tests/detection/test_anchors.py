"""Anchors and points against the formulas of the papers, computed one by one."""

from __future__ import annotations

import math

import pytest
import torch

from omma_detection.models.priors import AnchorGenerator, PointGenerator
from omma_detection.models.priors.anchors import OctaveAnchorGenerator

CPU = torch.device("cpu")


def test_anchors_run_over_rows_columns_ratios_and_scales():
    strides, ratios, scales, sizes = (4, 8), (0.5, 2.0), (2.0, 3.0), [(2, 3), (1, 2)]
    levels = AnchorGenerator(strides=strides, ratios=ratios, scales=scales).grid(sizes, CPU)
    for level, stride, (height, width) in zip(levels, strides, sizes):
        expected = []
        for y in range(height):
            for x in range(width):
                for ratio in ratios:
                    for scale in scales:
                        w, h = stride * scale / math.sqrt(ratio), stride * scale * math.sqrt(ratio)
                        cx, cy = x * stride, y * stride
                        expected.append([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2])
        torch.testing.assert_close(level, torch.tensor(expected))


def test_octave_scales_divide_an_octave_evenly():
    generator = OctaveAnchorGenerator(strides=(8,), ratios=(1.0,), octave_base_scale=4, scales_per_octave=3)
    box = generator.base_anchors(8)
    torch.testing.assert_close(
        box[:, 2] - box[:, 0], torch.tensor([32.0, 32 * 2 ** (1 / 3), 32 * 2 ** (2 / 3)])
    )


def test_points_lie_in_the_middle_of_their_cells():
    (points,) = PointGenerator(strides=(8,)).grid([(1, 3)], CPU)
    assert points.tolist() == [[4, 4], [12, 4], [20, 4]]


def test_only_positions_within_the_unpadded_image_are_covered():
    generator = AnchorGenerator(strides=(4, 8), ratios=(1.0,), scales=(1.0, 2.0))
    sizes = [(4, 4), (2, 2)]
    covered = generator.covered(sizes, torch.tensor([[9, 16], [16, 8]]))
    grid = torch.cat(generator.grid(sizes, CPU))
    centre = (grid[:, :2] + grid[:, 2:]) / 2
    for mask, (height, width) in zip(covered, [(9, 16), (16, 8)]):
        assert mask.tolist() == [bool(y < height and x < width) for x, y in centre.tolist()]


def test_a_grid_of_another_number_of_levels_is_refused():
    with pytest.raises(ValueError):
        AnchorGenerator(strides=(4, 8)).grid([(2, 2)], CPU)
