"""torchvision's transforms of colour under their own names."""

from __future__ import annotations

from torchvision.transforms import v2

from omma.registry import register

register(v2.ColorJitter)
register(v2.GaussianBlur)
register(v2.RandomAutocontrast)
register(v2.RandomEqualize)
register(v2.RandomGrayscale)
