"""Line charts and heat maps as SVG text, for the report and for files beside it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from omma.metrics import Curves, Matrix
from omma.visualization.palette import class_color

_FONT = 'font-family="system-ui, sans-serif"'
_GREY, _LIGHT, _DARK = "#667", "#e4e6ea", "#223"
_LETTER = 6.3  # mean width of a letter at font size 12


def ticks(low: float, high: float, count: int = 6) -> list[float]:
    """About ``count`` round numbers from ``low`` to ``high``: steps of 1, 2 or 5 times a power of ten."""
    if not (math.isfinite(low) and math.isfinite(high)) or high <= low:
        return [low]
    rough = (high - low) / max(count, 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(i * step, 12) for i in range(first, math.floor(high / step + 1e-9) + 1)]


def line_chart(curves: Curves, *, width: int = 720, height: int = 360, log_y: bool = False) -> str:
    """The curves over common axes with ticks and, for more than one line, a legend on the right.

    Points that are not finite part a line. Without any finite point the chart says that there is no data.

    Args:
        curves: what to draw.
        width: of the picture, pixels.
        height: of the picture, pixels.
        log_y: logarithmic y axis, as long as all values are above zero.
    """
    legend = _legend_width(list(curves.lines)) if len(curves.lines) > 1 else 0
    frame = _Frame(64, 40, width - 64 - 24 - legend, height - 40 - 52)
    points = [
        (x, y)
        for xs, ys in curves.lines.values()
        for x, y in zip(xs, ys)
        if math.isfinite(x) and math.isfinite(y)
    ]
    body = [_text(frame.x, 22, curves.title, size=14, weight="600", color=_DARK)]
    if not points:
        middle = (frame.x + frame.width / 2, frame.y + frame.height / 2)
        return _svg(width, height, [*body, _text(*middle, "no data", anchor="middle")])
    x_range = curves.x_range or _extent([x for x, _ in points])
    y_range = curves.y_range or _extent([y for _, y in points])
    log_y = log_y and min(y for _, y in points) > 0
    if log_y:
        y_range = (math.log10(min(y for _, y in points)) - 0.05, math.log10(max(y for _, y in points)) + 0.05)
    scale = _Scale(frame, x_range, y_range, log_y)
    body += _axes(scale, curves.x_label, curves.y_label)
    for number, (name, (xs, ys)) in enumerate(curves.lines.items()):
        body.append(_path(scale, xs, ys, _hex(class_color(number)), name))
    if legend:
        body += _legend(list(curves.lines), frame.x + frame.width + 18, frame.y, frame.height)
    return _svg(width, height, body)


def heat_map(matrix: Matrix, *, cell: int = 0) -> str:
    """Counts as coloured cells; the colour is the share of the row, the text the count.

    Args:
        matrix: what to draw.
        cell: side of a cell in pixels; 0 lets the number of rows decide.
    """
    size = cell or max(10, min(56, 1000 // max(len(matrix.columns), 1)))
    letters = min(12, size * 0.55)
    left = 34 + max((_LETTER * len(name) for name in matrix.rows), default=0.0) * letters / 12
    below = 42 + max((_LETTER * len(name) for name in matrix.columns), default=0.0) * letters / 12
    top, body = 44, [_text(12, 22, matrix.title, size=14, weight="600", color=_DARK)]
    for row, (name, values) in enumerate(zip(matrix.rows, matrix.values)):
        y, total = top + row * size, sum(values)
        body.append(_text(left - 8, y + size * 0.66, name, size=letters, anchor="end", color=_DARK))
        for column, value in enumerate(values):
            body.append(
                _cell(
                    left + column * size, y, size, value, value / total if total else 0.0, matrix, row, column
                )
            )
    bottom = top + size * len(matrix.rows)
    for column, name in enumerate(matrix.columns):
        x = left + (column + 0.62) * size
        turn = f'transform="rotate(-90 {x:.1f} {bottom + 8:.1f})"'
        body.append(_text(x, bottom + 8, name, size=letters, anchor="end", color=_DARK, extra=turn))
    middle = top + size * len(matrix.rows) / 2
    body.append(
        _text(16, middle, matrix.row_label, anchor="middle", extra=f'transform="rotate(-90 16 {middle:.1f})"')
    )
    body.append(
        _text(
            left + size * len(matrix.columns) / 2, bottom + below - 12, matrix.column_label, anchor="middle"
        )
    )
    wide = left + size * len(matrix.columns) + 20
    return _svg(max(wide, 12 + 8 * len(matrix.title)), bottom + below, body)


class _Frame:
    """The rectangle inside the axes, in pixels."""

    def __init__(self, x: float, y: float, width: float, height: float) -> None:
        self.x, self.y, self.width, self.height = x, y, width, height


class _Scale:
    """From values to pixels."""

    def __init__(self, frame: _Frame, x: tuple[float, float], y: tuple[float, float], log_y: bool) -> None:
        self.frame, self.x_range, self.y_range, self.log_y = frame, x, y, log_y

    def x(self, value: float) -> float:
        low, high = self.x_range
        return self.frame.x + self.frame.width * (value - low) / (high - low)

    def y(self, value: float) -> float:
        low, high = self.y_range
        place = math.log10(value) if self.log_y else value
        return self.frame.y + self.frame.height * (1 - (place - low) / (high - low))

    def y_ticks(self) -> list[float]:
        low, high = self.y_range
        if not self.log_y:
            return ticks(low, high, 5)
        factors = (1, 2, 5) if high - low < 2.5 else (1,)
        powers = range(math.floor(low), math.ceil(high) + 1)
        return [f * 10.0**p for p in powers for f in factors if low <= math.log10(f * 10.0**p) <= high]


def _axes(scale: _Scale, x_label: str, y_label: str) -> list[str]:
    frame = scale.frame
    right, bottom = frame.x + frame.width, frame.y + frame.height
    out = []
    for value in scale.y_ticks():
        y = scale.y(value)
        out.append(f'<line x1="{frame.x}" y1="{y:.1f}" x2="{right:.1f}" y2="{y:.1f}" stroke="{_LIGHT}"/>')
        out.append(_text(frame.x - 8, y + 4, _number(value), anchor="end"))
    for value in ticks(*scale.x_range, max(3, int(frame.width // 90))):
        x = scale.x(value)
        out.append(
            f'<line x1="{x:.1f}" y1="{bottom:.1f}" x2="{x:.1f}" y2="{bottom + 5:.1f}" stroke="{_GREY}"/>'
        )
        out.append(_text(x, bottom + 19, _number(value), anchor="middle"))
    out.append(f'<path d="M{frame.x} {frame.y}V{bottom:.1f}H{right:.1f}" fill="none" stroke="{_GREY}"/>')
    out.append(_text(frame.x + frame.width / 2, bottom + 40, x_label, anchor="middle"))
    middle = frame.y + frame.height / 2
    out.append(_text(9, middle, y_label, anchor="middle", extra=f'transform="rotate(-90 9 {middle:.1f})"'))
    return out


def _path(scale: _Scale, xs: Sequence[float], ys: Sequence[float], color: str, name: str) -> str:
    runs: list[list[str]] = [[]]
    for x, y in zip(xs, ys):
        if math.isfinite(x) and math.isfinite(y):
            runs[-1].append(f"{scale.x(x):.1f} {scale.y(y):.1f}")
        elif runs[-1]:
            runs.append([])
    title = f"<title>{escape(name)}</title>"
    dots = [run[0].split() for run in runs if len(run) == 1]
    marks = "".join(f'<circle cx="{x}" cy="{y}" r="3" fill="{color}">{title}</circle>' for x, y in dots)
    lines = "".join(f"M{'L'.join(run)}" for run in runs if len(run) > 1)
    stroke = f'fill="none" stroke="{color}" stroke-width="1.8" stroke-linejoin="round"'
    return marks + (f'<path d="{lines}" {stroke}>{title}</path>' if lines else "")


def _legend(names: Sequence[str], x: float, y: float, height: float) -> list[str]:
    room = max(1, int(height // 17))
    shown = names if len(names) <= room else names[: room - 1]
    out = []
    for number, name in enumerate(shown):
        line = y + 10 + 17 * number
        color = _hex(class_color(number))
        out.append(f'<path d="M{x:.1f} {line - 4:.1f}h16" stroke="{color}" stroke-width="3"/>')
        out.append(_text(x + 22, line, _short(name), color=_DARK))
    if len(shown) < len(names):
        out.append(_text(x, y + 10 + 17 * len(shown), f"and {len(names) - len(shown)} more"))
    return out


def _legend_width(names: Sequence[str]) -> float:
    return 44 + _LETTER * max(len(_short(name)) for name in names)


def _cell(
    x: float, y: float, size: float, value: float, share: float, matrix: Matrix, row: int, column: int
) -> str:
    # From white to a deep blue; the root keeps small shares visible.
    weight = math.sqrt(max(share, 0.0))
    red, green, blue = (round(255 + (end - 255) * weight) for end in (20, 70, 140))
    title = f"{matrix.rows[row]} / {matrix.columns[column]}: {_number(value)} ({share:.0%} of the row)"
    color = f"rgb({red},{green},{blue})"
    out = (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{size}" height="{size}" fill="{color}" stroke="{_LIGHT}">'
        f"<title>{escape(title)}</title></rect>"
    )
    if value and size >= 20:
        text = _number(value)
        letters = min(size * 0.4, size * 1.5 / len(text))
        ink = "#fff" if weight > 0.6 else _DARK
        out += _text(
            x + size / 2, y + size / 2 + letters * 0.36, text, size=letters, anchor="middle", color=ink
        )
    return out


def _extent(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    margin = (high - low) * 0.04 or abs(low) * 0.1 or 1.0
    return (0.0 if 0 <= low < margin * 5 else low - margin), high + margin


def _text(
    x: float,
    y: float,
    text: str,
    *,
    size: float = 12,
    anchor: str = "start",
    weight: str = "400",
    color: str = _GREY,
    extra: str = "",
) -> str:
    style = f'font-size="{size:.4g}" font-weight="{weight}" text-anchor="{anchor}" fill="{color}" {_FONT}'
    return f'<text x="{x:.1f}" y="{y:.1f}" {style} {extra}>{escape(text)}</text>'


def _svg(width: float, height: float, body: Sequence[str]) -> str:
    size = f'width="{width:.0f}" height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">'
    return "\n".join([head, '<rect width="100%" height="100%" fill="#fff"/>', *body, "</svg>"])


def _number(value: float) -> str:
    """Short decimal; thousands as k and millions as M where nothing is lost."""
    for unit, sign in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= 10 * unit and round(value / unit, 2) * unit == value:
            return f"{value / unit:g}{sign}"
    return f"{value:.6g}"


def _short(name: str, limit: int = 22) -> str:
    return name if len(name) <= limit else f"{name[: limit - 1]}…"


def _hex(color: tuple[int, int, int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*color)
