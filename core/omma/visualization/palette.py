"""The colours of classes and lines."""

from __future__ import annotations

import colorsys

Color = tuple[int, int, int]

_GOLDEN = 0.618033988749895  # of a turn: no hue comes close to the few before it


def class_color(label: int) -> Color:
    """RGB colour of a class: the same in every run and picture, and unlike those of its neighbours."""
    hue = (0.58 + label * _GOLDEN) % 1.0
    saturation = (0.85, 0.65, 0.95)[label // 7 % 3]
    value = (0.9, 0.75, 0.6)[label // 5 % 3]
    red, green, blue = colorsys.hsv_to_rgb(hue, saturation, value)
    return round(255 * red), round(255 * green), round(255 * blue)
