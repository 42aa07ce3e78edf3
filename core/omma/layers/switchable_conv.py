"""Switchable atrous convolution (Qiao et al., DetectoRS, 2020)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from omma.ops import deform_conv2d

_EPS = 1e-5


class ConvAWS2d(nn.Conv2d):
    """A convolution whose weights are standardised for each output channel and given a fixed mean and scale.

    Mean and scale are buffers: those of the weights that were loaded, if the file has none, so that the
    module computes what the ordinary convolution did. Names of parameters and buffers are OpenMMLab's.
    """

    added_names: tuple[str, ...] = ("weight_gamma", "weight_beta")
    """What the weights of a network with ordinary convolutions lack."""
    weight_gamma: Tensor
    weight_beta: Tensor

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        stride: int = 1,
        padding: int = 0,
        dilation: int = 1,
        groups: int = 1,
        bias: bool = True,
    ) -> None:
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, groups=groups, bias=bias
        )
        self.register_buffer("weight_gamma", torch.ones(out_channels, 1, 1, 1))
        self.register_buffer("weight_beta", torch.zeros(out_channels, 1, 1, 1))
        self.register_load_state_dict_pre_hook(_moments_of_plain_weights)

    def reset_extras(self) -> None:
        """Mean and scale of the present weights, with which it is an ordinary convolution."""
        with torch.no_grad():
            mean, deviation = _moments(self.weight)
            self.weight_beta.copy_(mean)
            self.weight_gamma.copy_(deviation)

    def standardised(self) -> Tensor:
        """The weights that are convolved with."""
        mean, deviation = _moments(self.weight)
        return self.weight_gamma * ((self.weight - mean) / deviation) + self.weight_beta

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C', H', W')."""
        return self._conv_forward(input, self.standardised(), self.bias)


def _moments(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each output channel, (C', 1, 1, 1)."""
    flat = weight.flatten(1)
    mean, deviation = flat.mean(1), (flat.var(1) + _EPS).sqrt()
    return mean[:, None, None, None], deviation[:, None, None, None]


def _moments_of_plain_weights(module: nn.Module, state: dict[str, Tensor], prefix: str, *_: Any) -> None:
    weight = state.get(f"{prefix}weight")
    if weight is not None and f"{prefix}weight_gamma" not in state:
        state[f"{prefix}weight_beta"], state[f"{prefix}weight_gamma"] = _moments(weight)


class SAConv2d(ConvAWS2d):
    """Two convolutions, the second three times as dilated, and a switch between them at each pixel.

    Both share their weights but for a learnt difference; global context is added before and after. With
    ``deform`` both are deformable (kernel size 3). At first the switch is on the first. Like OpenMMLab's it
    never uses a bias.
    """

    added_names = (
        *ConvAWS2d.added_names,
        "switch",
        "weight_diff",
        "pre_context",
        "post_context",
        "offset_s",
        "offset_l",
    )

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        stride: int = 1,
        padding: int = 0,
        dilation: int = 1,
        groups: int = 1,
        deform: bool = False,
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride=stride,
            padding=padding,
            dilation=dilation,
            groups=groups,
            bias=False,
        )
        if deform and kernel_size != 3:
            raise ValueError(f"deform needs kernel_size 3, got {kernel_size}")
        self.deform = deform
        self.step, self.pixels, self.spacing = stride, padding, dilation
        self.switch = nn.Conv2d(in_channels, 1, 1, stride)
        self.weight_diff = nn.Parameter(torch.zeros_like(self.weight))
        self.pre_context = nn.Conv2d(in_channels, in_channels, 1)
        self.post_context = nn.Conv2d(out_channels, out_channels, 1)
        if deform:
            self.offset_s = nn.Conv2d(in_channels, 18, 3, stride, padding=1)
            self.offset_l = nn.Conv2d(in_channels, 18, 3, stride, padding=1)
        self.reset_extras()

    def reset_extras(self) -> None:
        """No context, no offsets, no difference, the switch on the first convolution."""
        super().reset_extras()
        nn.init.zeros_(self.weight_diff)
        for name, child in self.named_children():
            nn.init.zeros_(child.get_parameter("weight"))
            nn.init.constant_(child.get_parameter("bias"), 1.0 if name == "switch" else 0.0)

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C', H', W')."""
        x = input + self.pre_context(input.mean((2, 3), keepdim=True))
        # Only three rows or more can be mirrored by two.
        mode = "reflect" if min(x.shape[2:]) > 2 else "replicate"
        around = F.avg_pool2d(F.pad(x, (2, 2, 2, 2), mode=mode), 5, stride=1)
        switch = self.switch(around)
        weight = self.standardised()
        near = self._convolve(x, weight, self.offset_s(around) if self.deform else None, 1)
        far = self._convolve(x, weight + self.weight_diff, self.offset_l(around) if self.deform else None, 3)
        out = switch * near + (1 - switch) * far
        return out + self.post_context(out.mean((2, 3), keepdim=True))

    def _convolve(self, x: Tensor, weight: Tensor, offset: Tensor | None, times: int) -> Tensor:
        """With so many times the dilation."""
        padding, dilation = times * self.pixels, times * self.spacing
        if offset is None:
            return F.conv2d(x, weight, None, self.stride, padding, dilation, self.groups)
        return deform_conv2d(x, offset, weight, stride=self.step, padding=padding, dilation=dilation)
