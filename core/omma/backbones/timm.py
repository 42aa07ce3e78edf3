"""Any of timm's networks as a backbone."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn

from omma.backbones.base import Backbone
from omma.checkpoint.readers import read_weights
from omma.errors import SetupError, WeightsError
from omma.registry import register


@register
class TimmBackbone(Backbone):
    """A network of the timm library, returning feature maps (needs ``pip install "omma[timm]"``).

    Args:
        model: timm's name, e.g. ``convnext_tiny.fb_in1k``.
        out_indices: levels to return, in timm's count; null: timm's default.
        pretrained: let timm fetch its published weights.
        weights: a file of this model as timm publishes it, in place of ``pretrained``.

    Raises:
        SetupError: timm isn't installed.
        ValueError: timm has no such model, or it can't return maps.
        WeightsError: the weights can't be had or aren't of this model.
    """

    def __init__(
        self,
        *,
        model: str,
        out_indices: tuple[int, ...] | None = None,
        pretrained: bool = False,
        weights: str | None = None,
    ) -> None:
        super().__init__()
        if pretrained and weights is not None:
            raise ValueError(f"expected pretrained or weights, got both (weights={weights!r})")
        self.net = _create(model, out_indices, pretrained, weights)
        info: Any = self.net.feature_info
        self.out_channels = tuple(info.channels())
        self.strides = tuple(info.reduction())
        self.channels_last = str(getattr(self.net, "output_fmt", "NCHW")).endswith("NHWC")

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(N, 3, H, W) -> one (N, C, H / stride, W / stride) map per level."""
        maps = self.net(x)
        return tuple(m.permute(0, 3, 1, 2) for m in maps) if self.channels_last else tuple(maps)

    def own_names(self, names: Iterable[str]) -> dict[str, str]:
        """What the parameters in files of timm's and OpenMMLab's (``timm_model.``) are called here.

        timm flattens a network that returns maps (``stages.0.x`` to ``stages_0.x``) or wraps it.
        """
        known = set(self.net.state_dict())
        own = {}
        for name in names:
            plain = name.removeprefix("timm_model.")
            candidates = (plain, plain.replace(".", "_", 1), f"model.{plain}")
            match = next((each for each in candidates if each in known), None)
            if match is not None:
                own[name] = f"net.{match}"
        return own


def _create(
    model: str, out_indices: tuple[int, ...] | None, pretrained: bool, weights: str | None
) -> nn.Module:
    try:
        import timm
    except ImportError as error:
        raise SetupError('TimmBackbone needs the timm library: pip install "omma[timm]"') from error
    if not timm.is_model(model):
        near = timm.list_models(f"*{model.split('.')[0].split('_')[0]}*")[:5]
        raise ValueError(f"timm has no model '{model}'" + (f"; near: {', '.join(near)}" if near else ""))
    options: dict[str, Any] = {} if out_indices is None else {"out_indices": out_indices}
    if weights is not None:
        # timm brings its files into shape itself; it gets tensors, so that it opens no pickle.
        options["pretrained_cfg_overlay"] = {"state_dict": read_weights(weights).state}
    elif not pretrained:
        return timm.create_model(model, features_only=True, **options)
    try:
        return timm.create_model(model, pretrained=True, features_only=True, **options)
    except (OSError, RuntimeError, KeyError) as error:
        source = weights or "its published weights"
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise WeightsError(f"timm's '{model}' could not take {source}: {reason:.300}") from error
