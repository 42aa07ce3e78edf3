"""Instance masks as outlines: a few hundred numbers through every transform, pixels only at the end."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms.v2 import functional as F


class Polygons(tv_tensors.TVTensor):
    """Outlines of N instances: a tensor of vertices, cut into rings, the rings dealt to instances.

    The tensor itself is (V, 2) float32, (x, y) in pixels, origin at the top-left corner of the top-left
    pixel; a ring is closed from its last vertex to its first. An instance covers the union of its rings, as
    in COCO, and may have none. ``len`` and indexing are over instances, not vertices.

    torchvision's v2 geometry (flips, resize, pad, crops, affine, rotate, perspective, elastic) moves outlines
    with the image. It does not clip them: what lies outside the canvas is cut when they are rasterised.
    ``v2.SanitizeBoundingBoxes`` knows no outlines; drop instances with ``omma``'s own transforms.

    Args:
        vertices: (V, 2), or anything that ``torch.as_tensor`` takes.
        ring_sizes: (R,) number of vertices of each ring; they sum to V.
        rings_per_instance: (N,) number of rings of each instance; they sum to R.
        canvas_size: (H, W) of the image.

    Raises:
        ValueError: the shapes or sums don't fit each other.
    """

    ring_sizes: Tensor
    """(R,) int64. Stays on the CPU: it is structure, not data."""
    rings_per_instance: Tensor
    """(N,) int64, on the CPU."""
    canvas_size: tuple[int, int]
    """(H, W) of the image."""

    __init__: Any  # what type checkers see; Tensor's own signature would hide that of __new__

    def __new__(  # noqa: D102
        cls,
        vertices: Any,
        *,
        ring_sizes: Any,
        rings_per_instance: Any,
        canvas_size: tuple[int, int],
        device: torch.device | str | None = None,
    ) -> Polygons:
        tensor = torch.as_tensor(vertices, dtype=torch.float32, device=device)
        sizes = torch.as_tensor(ring_sizes, dtype=torch.int64).cpu()
        counts = torch.as_tensor(rings_per_instance, dtype=torch.int64).cpu()
        tensor = tensor.reshape(0, 2) if tensor.numel() == 0 else tensor
        if tensor.ndim != 2 or tensor.shape[1] != 2:
            raise ValueError(f"expected vertices of shape (V, 2), got {tuple(tensor.shape)}")
        if int(sizes.sum()) != len(tensor):
            raise ValueError(f"ring_sizes sum to {int(sizes.sum())}, but there are {len(tensor)} vertices")
        if int(counts.sum()) != len(sizes):
            raise ValueError(
                f"rings_per_instance sum to {int(counts.sum())}, but there are {len(sizes)} rings"
            )
        return cls._assemble(tensor, sizes, counts, (int(canvas_size[0]), int(canvas_size[1])))

    @classmethod
    def _assemble(cls, tensor: Tensor, sizes: Tensor, counts: Tensor, canvas: tuple[int, int]) -> Polygons:
        out = tensor.as_subclass(cls)
        out.ring_sizes, out.rings_per_instance, out.canvas_size = sizes, counts, canvas
        return out

    @classmethod
    def wrap(cls, tensor: Tensor, like: Polygons, **kwargs: Any) -> Polygons:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Moved vertices, in the same order, with the structure of ``like``."""
        canvas = kwargs.get("canvas_size", like.canvas_size)
        return cls._assemble(tensor, like.ring_sizes, like.rings_per_instance, canvas)

    @classmethod
    def cat(cls, parts: Sequence[Polygons], canvas_size: tuple[int, int]) -> Polygons:
        """The instances of all parts, whose vertices lie in the pixels of one canvas."""
        return cls._assemble(
            torch.cat([part.as_subclass(Tensor) for part in parts]),
            torch.cat([part.ring_sizes for part in parts]),
            torch.cat([part.rings_per_instance for part in parts]),
            canvas_size,
        )

    @classmethod
    def from_coco(
        cls, segmentations: Sequence[Sequence[Sequence[float]]], canvas_size: tuple[int, int]
    ) -> Polygons:
        """Outlines from COCO's form: per instance a list of rings, each flat [x1, y1, x2, y2, ...].

        Rings of fewer than three vertices enclose nothing and are left out.

        Raises:
            ValueError: a ring has an odd number of coordinates.
        """
        rings, counts = [], []
        for instance in segmentations:
            if odd := [len(ring) for ring in instance if len(ring) % 2]:
                raise ValueError(f"expected x, y pairs in a ring, got {odd[0]} numbers")
            kept = [np.asarray(ring, dtype=np.float32).reshape(-1, 2) for ring in instance if len(ring) >= 6]
            rings += kept
            counts.append(len(kept))
        vertices = np.concatenate(rings) if rings else np.empty((0, 2), np.float32)
        sizes = [len(ring) for ring in rings]
        return cls(vertices, ring_sizes=sizes, rings_per_instance=counts, canvas_size=canvas_size)

    def to_coco(self) -> list[list[list[float]]]:
        """The inverse of ``from_coco``."""
        return [[ring.ravel().tolist() for ring in rings] for rings in self._instances()]

    def __len__(self) -> int:
        return len(self.rings_per_instance)

    def __getitem__(self, keep: Any) -> Polygons:  # pyright: ignore[reportIncompatibleMethodOverride]
        return self.select(keep)

    def select(self, keep: Any) -> Polygons:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The instances that ``keep`` picks: a (N,) bool mask, indices in any order, a slice or one index."""
        if isinstance(keep, int):
            keep = [keep]
        index = keep if isinstance(keep, slice) else torch.as_tensor(keep, device="cpu")
        if isinstance(index, Tensor) and index.numel() == 0 and index.dtype != torch.bool:
            index = index.long()
        chosen = torch.arange(len(self))[index]
        ring_index = _runs(self.rings_per_instance, chosen)
        vertex_index = _runs(self.ring_sizes, ring_index)
        vertices = self.as_subclass(Tensor)[vertex_index.to(self.device)]
        counts = self.rings_per_instance[chosen]
        return self._assemble(vertices, self.ring_sizes[ring_index], counts, self.canvas_size)

    def boxes(self) -> tv_tensors.BoundingBoxes:
        """(N, 4) smallest xyxy boxes around the outlines, clamped to the canvas; zeros without a ring."""
        points, per_instance = self.as_subclass(Tensor), self._vertices_per_instance()
        owner = torch.repeat_interleave(torch.arange(len(self)), per_instance).to(self.device)
        corners = []
        for reduce in ("amin", "amax"):
            zeros = points.new_zeros(len(self), 2)
            index = owner[:, None].expand(-1, 2)
            corners.append(zeros.scatter_reduce(0, index, points, reduce, include_self=False))
        height, width = self.canvas_size
        limit = points.new_tensor([width, height, width, height])
        boxes = torch.minimum(torch.cat(corners, 1).clamp_(min=0), limit)
        return tv_tensors.BoundingBoxes(boxes, format="XYXY", canvas_size=self.canvas_size)  # pyright: ignore[reportCallIssue]

    def clipped(self) -> Polygons:
        """The outlines without what lies beside the canvas; rings of which nothing is left go.

        Before the canvas becomes larger: what was cut from an image must not come back.
        """
        points, (height, width) = self.as_subclass(Tensor), self.canvas_size
        inside = ((points >= 0) & (points <= points.new_tensor([width, height]))).all(dim=1)
        if bool(inside.all()):
            return self
        rings = [_clip(ring, self.canvas_size) for rings in self._instances() for ring in rings]
        kept = torch.tensor([len(ring) >= 3 for ring in rings])
        owner = torch.repeat_interleave(torch.arange(len(self)), self.rings_per_instance)
        return Polygons(
            np.concatenate([ring for ring in rings if len(ring) >= 3] or [np.empty((0, 2))]),
            ring_sizes=[len(ring) for ring in rings if len(ring) >= 3],
            rings_per_instance=torch.bincount(owner[kept], minlength=len(self)),
            canvas_size=self.canvas_size,
            device=self.device,
        )

    def rasterise(self) -> tv_tensors.Mask:
        """(N, H, W) uint8 masks on the CPU: 1 inside, filled as pycocotools fills outlines."""
        height, width = self.canvas_size
        out = np.zeros((len(self), height, width), np.uint8)
        for mask, rings in zip(out, self._instances(), strict=True):
            if rings:
                _fill(mask, rings)
        return tv_tensors.Mask(torch.from_numpy(out))

    def _vertices_per_instance(self) -> Tensor:
        ends = torch.cat([self.ring_sizes.new_zeros(1), self.ring_sizes.cumsum(0)])
        last = self.rings_per_instance.cumsum(0)
        return ends[last] - ends[last - self.rings_per_instance]

    def _instances(self) -> list[list[np.ndarray]]:
        """Per instance its rings, each (v, 2) float64."""
        points = self.as_subclass(Tensor).detach().cpu().double().numpy()
        rings, start = [], 0
        for size in self.ring_sizes.tolist():
            rings.append(points[start : start + size])
            start += size
        out, start = [], 0
        for count in self.rings_per_instance.tolist():
            out.append(rings[start : start + count])
            start += count
        return out

    @classmethod
    def __torch_function__(
        cls,
        func: Callable[..., Tensor],
        types: tuple[type[Tensor], ...],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Tensor:
        # clone, to, detach and pin_memory keep the class; their results need the structure as well.
        output = super().__torch_function__(func, types, args, kwargs)
        if isinstance(output, Polygons) and isinstance(args[0], Polygons) and output is not args[0]:
            return cls.wrap(output, like=args[0])
        return output

    def __repr__(self, *, tensor_contents: Any = None) -> str:  # pyright: ignore[reportIncompatibleMethodOverride]
        rings, vertices = len(self.ring_sizes), self.shape[0]
        return f"Polygons({len(self)} instances, {rings} rings, {vertices} vertices, {self.canvas_size=})"


def _runs(lengths: Tensor, chosen: Tensor) -> Tensor:
    """Indices of the elements of the ``chosen`` runs, when runs of ``lengths`` lie one after the other."""
    starts = lengths.cumsum(0) - lengths
    counts = lengths[chosen]
    before = counts.cumsum(0) - counts
    return torch.arange(int(counts.sum())) + torch.repeat_interleave(starts[chosen] - before, counts)


def _clip(ring: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """What of a ring (v, 2) lies in 0..W, 0..H (Sutherland and Hodgman, 1974)."""
    for axis, limit, sign in ((0, 0, -1), (1, 0, -1), (0, size[1], 1), (1, size[0], 1)):
        beyond = sign * (ring[:, axis] - limit)
        keep = beyond <= 0
        if keep.all():
            continue
        after, after_beyond = np.roll(ring, -1, 0), np.roll(beyond, -1)
        crosses = keep != np.roll(keep, -1)
        share = beyond / np.where(crosses, beyond - after_beyond, 1)
        crossings = ring + share[:, None] * (after - ring)
        crossings[:, axis] = limit
        points = np.stack([ring, crossings], 1).reshape(-1, 2)
        ring = points[np.stack([keep, crosses], 1).ravel()]
    return ring


def _fill(mask: np.ndarray, rings: list[np.ndarray]) -> None:
    """Set to 1 what ``rings`` enclose in ``mask`` (H, W).

    pycocotools draws in a window that encloses the rings with a margin. Moving outlines by whole pixels
    doesn't change its result (rounding apart), and the cost follows the object's size, not the image's.
    """
    from pycocotools import mask as coco

    points = np.concatenate(rings)
    size = np.array(mask.shape[::-1])
    low = np.clip(np.floor(points.min(0)) - 1, 0, size).astype(int)
    high = np.clip(np.ceil(points.max(0)) + 1, 0, size).astype(int)
    (x1, y1), (x2, y2) = low, high
    if x2 <= x1 or y2 <= y1:
        return
    encoded = coco.frPyObjects([(ring - low).ravel() for ring in rings], int(y2 - y1), int(x2 - x1))
    # Columns come one after the other; OpenCV turns them several times faster than a copy does.
    cv2.transpose(coco.decode(coco.merge(encoded)).T, dst=mask[y1:y2, x1:x2])


def _like_keypoints(functional: Callable[..., Any]) -> Callable[..., Polygons]:
    def kernel(outlines: Polygons, *args: Any, **kwargs: Any) -> Polygons:
        vertices, size = outlines.as_subclass(Tensor), outlines.canvas_size
        points = tv_tensors.KeyPoints(vertices, canvas_size=size)  # pyright: ignore[reportCallIssue]
        moved = functional(points, *args, **kwargs)
        return Polygons.wrap(moved.as_subclass(Tensor), like=outlines, canvas_size=moved.canvas_size)

    return kernel


for _name in (
    "resize",
    "pad",
    "crop",
    "center_crop",
    "resized_crop",
    "affine",
    "rotate",
    "perspective",
    "elastic",
):
    F.register_kernel(_name, Polygons)(_like_keypoints(getattr(F, _name)))


# torchvision mirrors key points as pixel indices (width - 1 - x); outlines lie in the frame of the boxes.
@F.register_kernel("horizontal_flip", Polygons)
def _horizontal_flip(outlines: Polygons) -> Polygons:
    x, y = outlines.as_subclass(Tensor).unbind(1)
    return Polygons.wrap(torch.stack([outlines.canvas_size[1] - x, y], 1), like=outlines)


@F.register_kernel("vertical_flip", Polygons)
def _vertical_flip(outlines: Polygons) -> Polygons:
    x, y = outlines.as_subclass(Tensor).unbind(1)
    return Polygons.wrap(torch.stack([x, outlines.canvas_size[0] - y], 1), like=outlines)


@F.register_kernel("get_size", Polygons)
def _get_size(outlines: Polygons) -> list[int]:
    return list(outlines.canvas_size)
