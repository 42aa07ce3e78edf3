"""torchvision's transforms of colour, sharpness and noise, under their own names.

Its geometric ones work on samples as well, in Python; configs have this package's, which keep instances
aligned and ``meta`` true.
"""

from __future__ import annotations

from torchvision.transforms import v2

from omma.registry import register

register(v2.ColorJitter)
register(v2.RandAugment)
register(v2.RandomErasing)
register(v2.GaussianBlur)
register(v2.RandomAdjustSharpness)
register(v2.RandomAutocontrast)
register(v2.RandomEqualize)
register(v2.RandomGrayscale)
register(v2.RandomInvert)
register(v2.RandomPhotometricDistort)
register(v2.RandomPosterize)
register(v2.RandomSolarize)
