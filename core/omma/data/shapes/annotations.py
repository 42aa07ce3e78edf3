"""What a scene's COCO files say: instances, key points of figures, and panoptic segments."""

from __future__ import annotations

from typing import Any

import numpy as np

from omma.data.shapes.figure import KEYPOINTS, SKELETON
from omma.data.shapes.scene import CATEGORIES, FIGURE, THINGS, Scene
from omma.ops.masks import outlines

Json = dict[str, Any]

_MOST_SEGMENTS = 1000  # of one image; spaces the ids of annotations
_COLOUR_STEP = 0x9E3779  # odd, so that its multiples modulo 2^24 differ; spread so that neighbours do too


def instance_categories() -> list[Json]:
    """The ``categories`` of an instance file."""
    return [{"id": i, "name": CATEGORIES[i], "supercategory": _family(i)} for i in THINGS]


def keypoint_categories() -> list[Json]:
    """The ``categories`` of a key point file: the figure alone."""
    figure = {"id": FIGURE, "name": CATEGORIES[FIGURE], "supercategory": _family(FIGURE)}
    return [{**figure, "keypoints": list(KEYPOINTS), "skeleton": [list(bone) for bone in SKELETON]}]


def panoptic_categories() -> list[Json]:
    """The ``categories`` of a panoptic file: things and stuff."""
    return [
        {"id": i, "name": name, "supercategory": _family(i), "isthing": int(i in THINGS)}
        for i, name in enumerate(CATEGORIES)
    ]


def instances(scene: Scene, image_id: int) -> list[Json]:
    """COCO annotations of the things in a scene, in drawing order; figures also have their key points."""
    records = []
    for index, segment in enumerate(scene.segments):
        if segment.category not in THINGS:
            continue
        mask = scene.mask(index)
        record: Json = {
            "id": image_id * _MOST_SEGMENTS + index,
            "image_id": image_id,
            "category_id": segment.category,
            "iscrowd": int(segment.crowd),
            "area": int(mask.sum()),
            "bbox": tight_box(mask),
            "segmentation": segmentation(mask, crowd=segment.crowd),
        }
        if segment.keypoints is not None:
            record["keypoints"] = _flat_keypoints(segment.keypoints)
            record["num_keypoints"] = int((segment.keypoints[:, 2] > 0).sum())
        records.append(record)
    return records


def panoptic(scene: Scene, image_id: int) -> tuple[Json, np.ndarray]:
    """COCO's panoptic record of a scene and its picture, uint8 (H, W, 3): id = R + 256 G + 65536 B."""
    ids = np.array([(index + 1) * _COLOUR_STEP % 2**24 for index in range(len(scene.segments))])
    segments = []
    for index, segment in enumerate(scene.segments):
        mask = scene.mask(index)
        segments.append(
            {
                "id": int(ids[index]),
                "category_id": segment.category,
                "area": int(mask.sum()),
                "bbox": tight_box(mask),
                "iscrowd": int(segment.crowd),
            }
        )
    picture = ids[scene.segment_map][..., None] >> np.array([0, 8, 16]) & 255
    record = {"image_id": image_id, "file_name": f"{image_id:06d}.png", "segments_info": segments}
    return record, picture.astype(np.uint8)


def tight_box(mask: np.ndarray) -> list[int]:
    """[x, y, width, height] of the smallest box around the pixels of a mask, bool (H, W)."""
    (xs,) = np.nonzero(mask.any(axis=0))
    (ys,) = np.nonzero(mask.any(axis=1))
    return [int(xs[0]), int(ys[0]), int(xs[-1] - xs[0] + 1), int(ys[-1] - ys[0] + 1)]


def segmentation(mask: np.ndarray, *, crowd: bool) -> list[list[int]] | Json:
    """A mask in COCO's form, exact to the pixel.

    Polygons where they can say it, a compressed RLE string where the mask has a hole, and uncompressed run
    lengths for a crowd, as COCO itself writes them.
    """
    if crowd:
        return {"size": list(mask.shape), "counts": run_lengths(mask)}
    polygons = polygons_of(mask)
    if polygons is not None:
        return polygons
    from pycocotools import mask as rle

    counts = rle.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"]
    return {
        "size": list(mask.shape),
        "counts": counts.decode("ascii") if isinstance(counts, bytes) else counts,
    }


def run_lengths(mask: np.ndarray) -> list[int]:
    """Lengths of the alternating runs of zeros and ones, down the columns, beginning with zeros."""
    flat = mask.ravel(order="F")
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    bounds = np.concatenate([[0], changes, [flat.size]])
    return ([0] if flat[0] else []) + np.diff(bounds).tolist()


def polygons_of(mask: np.ndarray) -> list[list[int]] | None:
    """Polygons [x, y, ...] along the pixel edges of a mask, or None where it has a hole."""
    rings, hole = outlines(mask)
    return None if hole or not rings else [ring.ravel().tolist() for ring in rings]


def _family(category: int) -> str:
    if category == FIGURE:
        return "person"
    return "shape" if category in THINGS else "stuff"


def _flat_keypoints(keypoints: np.ndarray) -> list[float]:
    """[x, y, visibility, ...] with hundredths of a pixel."""
    return [number for x, y, seen in keypoints for number in (round(x, 2), round(y, 2), int(seen))]
