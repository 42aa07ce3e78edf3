"""Operators within a function that torch's own compiler turns into C++."""

from __future__ import annotations

import shutil

import pytest
import torch
from torch import Tensor

from omma import ops


@pytest.mark.skipif(shutil.which("g++") is None, reason="the compiler for the CPU needs g++")
def test_a_loss_over_several_operators_compiles_to_machine_code():
    torch.manual_seed(0)
    maps = torch.randn(2, 3, 8, 8, requires_grad=True)
    boxes = torch.tensor([[2.0, 2.0, 20.0, 24.0], [0.0, 4.0, 30.0, 30.0]])
    labels = torch.tensor([1, 3])

    def loss(maps: Tensor, boxes: Tensor, labels: Tensor) -> Tensor:
        rois = torch.cat([labels.new_tensor([[0], [1]]).to(boxes), boxes], 1)
        regions = ops.roi_align(maps, rois, size=2, scale=0.25, sampling_ratio=2)
        overlap = ops.pairwise_iou(boxes, boxes)
        focal = ops.sigmoid_focal_loss(regions.flatten(2).mean(2), labels)
        return focal.sum() + (overlap @ regions.flatten(1)).square().mean()

    (expected,) = torch.autograd.grad(plain := loss(maps, boxes, labels), maps)
    torch._dynamo.reset()
    compiled = torch.compile(loss, fullgraph=True)(maps, boxes, labels)
    (actual,) = torch.autograd.grad(compiled, maps)
    torch.testing.assert_close(compiled, plain, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=1e-5)
