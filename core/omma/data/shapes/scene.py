"""One still scene: a textured ground, overlapping shapes and figures, and what is known about them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from omma.data.shapes import figure as fig
from omma.data.shapes.outlines import SHAPES, outline, place
from omma.data.shapes.render import Layer, colour, coverage, covered, finish, lay, texture, window_of

FIGURE = len(SHAPES) + 1
FLOOR = FIGURE + 1
CATEGORIES = ("background", *SHAPES, "figure", "floor")
"""``CATEGORIES[id]`` is the name of a category in every annotation; background and floor are stuff."""
THINGS = range(1, FIGURE + 1)
"""Category ids of what can be counted."""

_HUES = (0.0, 0.61, 0.14, 0.83, 0.48, 0.31)
_LEAST_SEEN = 0.4  # of a thing's area; below that nobody could name it
_LEAST_STUFF = 0.05
_LEAST_AREA = 30  # pixels
_TRIES = 12


@dataclass(frozen=True)
class Segment:
    """One region of a scene: a thing, a crowd of things, or stuff."""

    category: int
    crowd: bool = False
    keypoints: np.ndarray | None = None  # (17, 3): x, y in pixels, visibility


@dataclass(frozen=True)
class Scene:
    """A picture and, for every pixel, the segment that it shows."""

    image: np.ndarray  # (H, W, 3) uint8, RGB
    segment_map: np.ndarray  # (H, W) int32: index into ``segments``
    segments: tuple[Segment, ...]

    def mask(self, index: int) -> np.ndarray:
        """Where segment ``index`` is seen, bool (H, W)."""
        return self.segment_map == index

    @property
    def semantic(self) -> np.ndarray:
        """Category of each pixel, uint8 (H, W)."""
        return np.array([segment.category for segment in self.segments], dtype=np.uint8)[self.segment_map]


class Stage:
    """A scene being painted, from the hindmost thing to the foremost."""

    def __init__(self, rng: np.random.Generator, height: int, width: int) -> None:
        self.rng = rng
        self.height, self.width = height, width
        self.image = np.empty((height, width, 3), dtype=np.float32)
        self.segment_map = np.zeros((height, width), dtype=np.int32)
        self.categories: list[int] = []
        self.crowds: set[int] = set()
        self.figures: dict[int, tuple[np.ndarray, fig.Look]] = {}
        self._needed: list[float] = []  # pixels of each segment that must stay in sight
        self._paint_ground()

    def add(self, category: int, layers: list[Layer]) -> bool:
        """Paint one thing, unless it or one behind it would hardly be seen."""
        mask = covered(layers, self.height, self.width)
        area = int(mask.sum())
        left = np.bincount(self.segment_map[~mask], minlength=len(self._needed))
        if area < _LEAST_AREA or (left < self._needed).any():
            return False
        lay(self.image, layers)
        self.segment_map[mask] = len(self.categories)
        self.categories.append(category)
        self._needed.append(area * (_LEAST_STUFF if category == FLOOR else _LEAST_SEEN))
        return True

    def add_shape(self, shape: str, *, center: tuple[float, float], radius: float) -> bool:
        """Paint one shape of random turn, stretch and surface."""
        rng = self.rng
        polygons = place(
            outline(shape, rng),
            center=center,
            radius=radius,
            aspect=rng.uniform(0.8, 1.0),
            angle=rng.uniform(0, 2 * np.pi),
        )
        # Most shapes keep near the colour of their class; some take any, so that colour alone can't tell.
        hue = rng.uniform() if rng.random() < 0.25 else rng.normal(_HUES[SHAPES.index(shape)], 0.06)
        base = colour(hue, rng.uniform(0.55, 1.0), rng.uniform(0.6, 1.0))
        return self.add(SHAPES.index(shape) + 1, [self._textured(polygons, base, rng.uniform(10, 45))])

    def add_figure(self, points: np.ndarray, look: fig.Look, height: float) -> bool:
        """Paint one figure with its key points at ``points``."""
        added = self.add(FIGURE, fig.layers(points, look, height, self.height, self.width))
        if added:
            self.figures[len(self.categories) - 1] = (points, look)
        return added

    def merge(self, first: int) -> None:
        """Make one crowd of the things painted since segment ``first``."""
        self.segment_map[self.segment_map > first] = first
        self._needed[first:] = [_LEAST_SEEN * np.count_nonzero(self.segment_map == first)]
        del self.categories[first + 1 :]
        self.crowds.add(first)

    def scene(self) -> Scene:
        """The finished picture; every segment of it is seen somewhere."""
        segments = []
        for index, category in enumerate(self.categories):
            keypoints = None
            if index in self.figures:
                points, look = self.figures[index]
                flags = fig.visibility(points, look, self.segment_map == index)
                keypoints = np.concatenate([points, flags[:, None]], axis=1) * (flags > 0)[:, None]
            segments.append(Segment(category, index in self.crowds, keypoints))
        image = finish(self.image, self.rng, grain=self.rng.uniform(2, 7))
        return Scene(image, self.segment_map, tuple(segments))

    def _textured(self, polygons: list[np.ndarray], base: np.ndarray, strength: float) -> Layer:
        window = rows, columns = window_of(polygons, self.height, self.width)
        alpha = coverage(polygons, window)
        if not alpha.size:
            return Layer(window, alpha, base)
        height, width = rows.stop - rows.start, columns.stop - columns.start
        return Layer(window, alpha, texture(self.rng, height, width, base=base, strength=strength))

    def _paint_ground(self) -> None:
        """The background, and below a slanting horizon in two of three scenes the floor."""
        rng, (height, width) = self.rng, (self.height, self.width)
        base = colour(rng.uniform(), rng.uniform(0.0, 0.35), rng.uniform(0.25, 0.9))
        self.image[:] = texture(rng, height, width, base=base, strength=rng.uniform(15, 45))
        self.categories.append(0)
        self._needed.append(_LEAST_STUFF * height * width)
        if rng.random() < 0.67:
            left, right = rng.uniform(0.45, 0.8, 2) * height
            ground = np.array([[-2, left], [width + 2, right], [width + 2, height + 2], [-2, height + 2]])
            base = colour(rng.uniform(0.04, 0.14), rng.uniform(0.3, 0.6), rng.uniform(0.2, 0.6))
            self.add(FLOOR, [self._textured([ground], base, rng.uniform(15, 45))])


def make_scene(rng: np.random.Generator, size: int, *, crowd: bool = False) -> Scene:
    """A square scene of ``size`` pixels with two to six shapes, often a figure, and a crowd on demand."""
    stage = Stage(rng, size, size)
    if crowd:
        _add_crowd(stage, size)
    kinds = [*rng.choice(len(SHAPES), int(rng.integers(2, 7))), *[len(SHAPES)] * int(rng.random() < 0.5)]
    for kind in rng.permutation(kinds):
        for _ in range(_TRIES):
            x, y = rng.uniform(0.08, 0.92, 2) * size
            if kind < len(SHAPES):
                # Uniform in the logarithm: as many small shapes as large ones.
                radius = size * np.exp(rng.uniform(np.log(0.055), np.log(0.2)))
                added = stage.add_shape(SHAPES[kind], center=(x, y), radius=radius)
            else:
                added = _add_figure(stage, x, y + 0.25 * size, rng.uniform(0.3, 0.6) * size)
            if added:
                break
    return stage.scene()


def _add_figure(stage: Stage, x: float, y: float, height: float) -> bool:
    look, pose = fig.random_look(stage.rng), fig.random_pose(stage.rng)
    points = fig.joints(pose, foot=(x, y), height=height, faces_viewer=look.faces_viewer)
    return stage.add_figure(points, look, height)


def _add_crowd(stage: Stage, size: int) -> None:
    """A heap of small shapes of one kind, marked as one region because nobody would outline them singly."""
    rng = stage.rng
    shape = SHAPES[int(rng.integers(len(SHAPES)))]
    center = rng.uniform(0.25, 0.75, 2) * size
    first = len(stage.categories)
    for x, y in center + rng.normal(0, 0.09 * size, (18, 2)):
        stage.add_shape(shape, center=(x, y), radius=rng.uniform(0.03, 0.045) * size)
    stage.merge(first)
