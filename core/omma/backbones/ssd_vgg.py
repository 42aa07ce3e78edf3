"""VGG-16 as SSD's backbone (Simonyan and Zisserman, 2014; Liu et al., SSD, 2015)."""

from __future__ import annotations

from torch import Tensor, nn

from omma.backbones.base import Backbone
from omma.registry import register

_PLAN = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
"""Channels and convolutions between two poolings."""


@register
class SSDVGG(Backbone):
    """VGG-16 whose classifier is a dilated and a 1x1 convolution; the maps after conv4_3 and conv7.

    Parameters are called ``features.N`` as in torchvision's VGG-16.

    Args:
        weights: initial weights, ``openmmlab://vgg16_caffe`` or a file; null: random.

    Raises:
        WeightsError: ``weights`` isn't there or isn't of this network.
    """

    out_channels = (512, 1024)
    strides = (8, 16)

    def __init__(self, *, weights: str | None = None) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for width, count in _PLAN:
            for _ in range(count):
                layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU(inplace=True)]
                channels = width
            layers.append(nn.MaxPool2d(2, 2, ceil_mode=True))
        layers[-1] = nn.MaxPool2d(3, stride=1, padding=1)
        for conv in (nn.Conv2d(512, 1024, 3, padding=6, dilation=6), nn.Conv2d(1024, 1024, 1)):
            layers += [conv, nn.ReLU(inplace=True)]
        self.features = nn.Sequential(*layers)
        # Classification files end before the dilated convolution.
        self.added_names = ("features.31", "features.33")
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                assert module.bias is not None
                nn.init.zeros_(module.bias)
        self.start(weights)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(N, 3, H, W) -> (N, 512, ceil(H / 8), ceil(W / 8)) and (N, 1024, ceil(H / 16), ceil(W / 16))."""
        conv4_3 = self.features[:23](x)
        # The next layers work in place on their own input only: the pooling comes first.
        return conv4_3, self.features[23:](conv4_3)
