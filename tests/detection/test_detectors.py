"""The recursive pyramid of DetectoRS against its formula."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from omma.backbones import DetectoRSResNet
from omma.necks import FPN
from omma_detection.models.detectors import ASPP, RFP


@torch.no_grad()
def test_branches_have_their_dilations_and_the_last_sees_the_mean():
    aspp, x = ASPP(6, 2, (1, 3, 6)), torch.randn(2, 6, 9, 8)
    out = aspp(x)
    assert out.shape == (2, 8, 9, 8)
    convs = [conv for conv in aspp.aspp if isinstance(conv, nn.Conv2d)]
    for i, (conv, dilation) in enumerate(zip(convs[:3], (1, 3, 6))):
        pad = dilation if dilation > 1 else 0
        expected = F.conv2d(x, conv.weight, conv.bias, padding=pad, dilation=dilation).relu()
        torch.testing.assert_close(out[:, 2 * i : 2 * i + 2], expected)
    mean = F.conv2d(x.mean((2, 3), keepdim=True), convs[3].weight, convs[3].bias).relu()
    torch.testing.assert_close(out[:, 6:], mean.expand(-1, -1, 9, 8))


@torch.no_grad()
def test_each_level_is_a_mixture_of_two_rounds():
    torch.manual_seed(0)
    neck = RFP(
        out_channels=16, backbones=(DetectoRSResNet(switchable=False, rfp_channels=8),), aspp_channels=2
    ).eval()
    for parameter in (*neck.rfp_weight.parameters(), *neck.rfp_modules.parameters()):
        parameter.add_(torch.randn_like(parameter) / 100)
    image = torch.randn(1, 3, 64, 96)
    maps = [torch.randn(1, c, 64 // s, 96 // s) for c, s in ((256, 4), (512, 8), (1024, 16), (2048, 32))]
    plain = FPN(in_channels=(256, 512, 1024, 2048), out_channels=16)
    plain.load_state_dict({n: v for n, v in neck.state_dict().items() if not n.startswith("rfp")})
    first = plain(maps)
    second = plain(neck.rfp_modules[0](image, [neck.rfp_aspp(level) for level in first[1:4]]))
    found = neck([image, *maps])
    assert len(found) == 5
    assert neck.out_strides((1, 4, 8, 16, 32)) == (4, 8, 16, 32, 64)
    for level, old, new in zip(found, first, second):
        share = torch.sigmoid((new * neck.rfp_weight.weight).sum(1, keepdim=True) + neck.rfp_weight.bias)
        torch.testing.assert_close(level, share * new + (1 - share) * old)


def test_a_backbone_that_takes_other_maps_is_refused():
    with torch.device("meta"):
        backbone = DetectoRSResNet(rfp_channels=64)
        with pytest.raises(ValueError, match=r"backbones\[0\].rfp_channels must be 4 \* aspp_channels"):
            RFP(backbones=(backbone,))
