"""Boxes, masks and titles on RGB images.

Line widths and letters grow with the image, so that a picture looks the same whether it has 320 or 3,000
pixels a side. Nothing is drawn in place.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import cv2
import numpy as np

from omma.visualization.palette import Color, class_color

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_DARK, _LIGHT = 28, (240, 240, 240)
"""Of strips with letters beside an image."""

Rect = tuple[int, int, int, int]
"""Left, top, right, bottom; pixels."""


def draw_boxes(
    image: np.ndarray,
    boxes: np.ndarray,
    tags: Sequence[str],
    colors: Sequence[Color],
    *,
    dashed: bool = False,
) -> np.ndarray:
    """The image with a frame and a tag for each box.

    Args:
        image: (H, W, 3) uint8 RGB.
        boxes: (N, 4) xyxy in pixels of the image, in falling order of importance: the first lies on top.
        tags: N texts; an empty one is left out.
        colors: N colours.
        dashed: draw broken frames, for what is not counted.
    """
    out = np.ascontiguousarray(image).copy()
    width = _line_width(out)
    corners = np.round(boxes).astype(np.int64)
    for (x1, y1, x2, y2), color in zip(corners[::-1].tolist(), reversed(colors)):
        # A rim keeps a frame visible on a background of its own colour.
        if dashed:
            _dashes(out, (x1, y1, x2, y2), color, width)
        else:
            cv2.rectangle(out, (x1, y1), (x2, y2), _ink(color, rim=True), width + 2)
            cv2.rectangle(out, (x1, y1), (x2, y2), color, width)
    shown = [(tag, color, corner) for tag, color, corner in zip(tags, colors, corners.tolist()) if tag]
    taken: list[Rect] = []
    for tag, _, (x1, y1, _, y2) in shown:
        taken.append(_tag_place(out, tag, (x1, y1, y2), taken))
    for (tag, color, _), rect in zip(reversed(shown), reversed(taken)):
        _tag(out, tag, rect, color)
    return out


def draw_masks(
    image: np.ndarray, masks: np.ndarray, colors: Sequence[Color], *, opacity: float = 0.45
) -> np.ndarray:
    """The image with translucent masks and their outlines.

    Args:
        image: (H, W, 3) uint8 RGB.
        masks: (N, H, W) bool, in falling order of importance: the first lies on top.
        colors: N colours.
        opacity: share of the colour inside a mask, in 0..1.
    """
    out = np.ascontiguousarray(image).copy()
    for mask, color in zip(masks[::-1], reversed(colors)):
        part = mask.astype(np.uint8)
        x, y, w, h = cv2.boundingRect(part)
        if not w:
            continue
        inside = part[y : y + h, x : x + w].astype(bool)
        patch = out[y : y + h, x : x + w]
        patch[inside] = np.round((1 - opacity) * patch[inside] + opacity * np.array(color))
        contours, _ = cv2.findContours(
            part[y : y + h, x : x + w], cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE, offset=(x, y)
        )
        cv2.drawContours(out, contours, -1, color, _line_width(out), cv2.LINE_AA)
    return out


def draw_classes(
    image: np.ndarray, labels: np.ndarray, names: Sequence[str], *, opacity: float = 0.55, legend: int = 12
) -> np.ndarray:
    """The image under the colours of its pixels' classes, and beside it those that fill the most by name.

    Args:
        image: (H, W, 3) uint8 RGB.
        labels: (H, W) uint8; pixels of numbers without a name stay as they are.
        names: of the classes.
        opacity: share of the colour, in 0..1.
        legend: classes in the legend at most.

    Returns:
        (H, W', 3); how much wider it is hangs on the size of the image and on ``names`` alone.
    """
    palette = np.array([class_color(label) for label in range(len(names))], np.float32).reshape(-1, 3)
    known = labels < len(names)
    out = np.ascontiguousarray(image).copy()
    out[known] = np.round((1 - opacity) * out[known] + opacity * palette[labels[known]])
    counts = np.bincount(labels[known], minlength=len(names))
    most = [int(label) for label in np.argsort(-counts, kind="stable")[:legend] if counts[label]]
    return np.concatenate([out, _legend(out, most, names)], axis=1)


def draw_title(image: np.ndarray, text: str) -> np.ndarray:
    """The image under a dark strip with ``text`` in it, shortened to fit."""
    scale, weight = _letters(image)
    height = cv2.getTextSize("Ag", _FONT, scale, weight)[0][1]
    while len(text) > 4 and cv2.getTextSize(text, _FONT, scale, weight)[0][0] > image.shape[1] - height:
        text = text[:-4].rstrip() + "..."
    strip = np.full((2 * height + 2, image.shape[1], 3), _DARK, dtype=np.uint8)
    origin = (height // 2, height + height // 2)
    cv2.putText(strip, text, origin, _FONT, scale, _LIGHT, weight, cv2.LINE_AA)
    return np.concatenate([strip, image])


def draw_ranking(
    image: np.ndarray, names: Sequence[str], shares: Sequence[float], labels: Sequence[int]
) -> np.ndarray:
    """The image with a list in its top-left corner: a name, a number and a bar as long as the number each.

    Args:
        image: (H, W, 3) uint8 RGB.
        names: one per line.
        shares: in 0..1.
        labels: which the colours of the bars come from.
    """
    out = np.ascontiguousarray(image).copy()
    scale, weight = _letters(out)
    (_, height), base, pad = _tag_size(out, "Ag")
    texts = [f"{share:4.2f}  {name}" for name, share in zip(names, shares)]
    width = max((_tag_size(out, text)[0][0] for text in texts), default=0) + 2 * pad
    row = height + base + 3 * pad
    panel = out[: row * len(texts), :width]
    panel[:] = panel // 3  # letters stay readable on any background
    for i, (text, share, label) in enumerate(zip(texts, shares, labels)):
        origin = (pad, i * row + height + pad)
        cv2.putText(out, text, origin, _FONT, scale, _LIGHT, weight, cv2.LINE_AA)
        bar = (i + 1) * row - pad
        cv2.line(out, (pad, bar), (pad + round(share * (width - 2 * pad)), bar), class_color(label), pad)
    return out


def _line_width(image: np.ndarray) -> int:
    return max(2, round(min(image.shape[:2]) / 300))


def _letters(image: np.ndarray) -> tuple[float, int]:
    """Scale and stroke of the font."""
    scale = float(np.clip(min(image.shape[:2]) / 1100, 0.36, 3.0))
    return scale, max(1, round(scale * 1.6))


def _ink(color: Color, *, rim: bool = False) -> Color:
    """Black or white, whichever is read on ``color``; for a rim, dark unless the colour is dark itself."""
    luminance = (0.299 * color[0] + 0.587 * color[1] + 0.114 * color[2]) / 255
    if rim:
        return (20, 20, 20) if luminance > 0.4 else (235, 235, 235)
    return (0, 0, 0) if luminance > 0.55 else (255, 255, 255)


def _tag_place(image: np.ndarray, text: str, place: tuple[int, int, int], taken: Sequence[Rect]) -> Rect:
    """Above the box (left, top, bottom), or where it neither leaves the image nor hides one of ``taken``.

    Where there is no such place it is above the box all the same.
    """
    (width, height), base, pad = _tag_size(image, text)
    wide, high = width + 2 * pad, height + base + pad
    left, top, bottom = place
    x = int(np.clip(left, 0, max(0, image.shape[1] - wide)))
    limit = max(0, image.shape[0] - high)
    options = [int(np.clip(y, 0, limit)) for y in (top - high, top, bottom - high, bottom)]
    rects = [(x, y, x + wide, y + high) for y in options]
    return next((rect for rect in rects if not any(_meet(rect, other) for other in taken)), rects[0])


def _tag(image: np.ndarray, text: str, rect: Rect, color: Color) -> None:
    """A filled label, in place."""
    (_, height), _, pad = _tag_size(image, text)
    scale, weight = _letters(image)
    cv2.rectangle(image, rect[:2], rect[2:], color, cv2.FILLED)
    origin = (rect[0] + pad, rect[1] + height + pad // 2 + 1)
    cv2.putText(image, text, origin, _FONT, scale, _ink(color), weight, cv2.LINE_AA)


def _tag_size(image: np.ndarray, text: str) -> tuple[tuple[int, int], int, int]:
    """(width, height) of the letters, what hangs below their line, and the space around them."""
    scale, weight = _letters(image)
    (width, height), base = cv2.getTextSize(text, _FONT, scale, weight)
    return (width, height), base, max(2, height // 4)


def _meet(a: Rect, b: Rect) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _legend(image: np.ndarray, labels: Sequence[int], names: Sequence[str]) -> np.ndarray:
    """A dark column as high as the image, with the colours and names of as many ``labels`` as have room."""
    scale, weight = _letters(image)
    (_, height), base, pad = _tag_size(image, "Ag")
    widest = max((_tag_size(image, name)[0][0] for name in names), default=0)
    column = np.full((image.shape[0], widest + height + 4 * pad, 3), _DARK, np.uint8)
    row = height + base + pad
    for i, label in enumerate(labels[: max(1, image.shape[0] // row)]):
        top = i * row + pad
        cv2.rectangle(column, (pad, top), (pad + height, top + height), class_color(label), cv2.FILLED)
        origin = (height + 3 * pad, top + height)
        cv2.putText(column, names[label], origin, _FONT, scale, _LIGHT, weight, cv2.LINE_AA)
    return column


def _dashes(image: np.ndarray, box: tuple[int, int, int, int], color: Color, width: int) -> None:
    x1, y1, x2, y2 = box
    corners = [(x1, y1), (x2, y1), (x2, y2), (x1, y2), (x1, y1)]
    for start, end in pairwise(corners):
        length = float(np.hypot(end[0] - start[0], end[1] - start[1]))
        stops = np.arange(0, max(length, 1), 6 * width)
        for stop in stops:
            ends = [
                tuple(round(a + (b - a) * min(1.0, part / max(length, 1))) for a, b in zip(start, end))
                for part in (stop, stop + 3 * width)
            ]
            cv2.line(image, ends[0], ends[1], color, width, cv2.LINE_AA)
