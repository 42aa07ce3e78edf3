"""K-Net's update of kernels against the formulas of its section 3.2, and its losses."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from omma_segmentation.losses import PixelCrossEntropy
from omma_segmentation.models.fcn import FCNHead
from omma_segmentation.models.knet import IterativeDecodeHead, KernelUpdateHead

from .formulas import at, drawn


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


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
