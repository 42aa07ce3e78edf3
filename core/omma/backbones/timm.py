"""Any of timm's networks as a backbone."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from omma.backbones.base import Backbone
from omma.errors import SetupError
from omma.registry import register


@register
class TimmBackbone(Backbone):
    """A network of the timm library, returning feature maps (needs ``pip install "omma[timm]"``).

    Args:
        model: timm's name, e.g. ``convnext_tiny.fb_in1k``.
        out_indices: levels to return, in timm's count; null: timm's default.
        pretrained: let timm load its published weights.
    """

    def __init__(
        self, *, model: str, out_indices: tuple[int, ...] | None = None, pretrained: bool = False
    ) -> None:
        super().__init__()
        try:
            import timm
        except ImportError as error:
            raise SetupError('TimmBackbone needs the timm library: pip install "omma[timm]"') from error
        if not timm.is_model(model.split(".")[0]):
            near = timm.list_models(f"*{model.split('_')[0]}*")[:5]
            raise ValueError(f"timm has no model '{model}'" + (f"; near: {', '.join(near)}" if near else ""))
        options: dict[str, Any] = {} if out_indices is None else {"out_indices": out_indices}
        self.net = timm.create_model(model, pretrained=pretrained, features_only=True, **options)
        info: Any = self.net.feature_info
        self.out_channels = tuple(info.channels())
        self.strides = tuple(info.reduction())

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(N, 3, H, W) -> one (N, C, H / stride, W / stride) map per level."""
        # Transformers of timm may answer (N, H, W, C); the channel count tells which axis is which.
        maps = self.net(x)
        return tuple(
            m if m.shape[1] == channels else m.permute(0, 3, 1, 2)
            for m, channels in zip(maps, self.out_channels)
        )
