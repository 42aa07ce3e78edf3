"""Writes the shapes world as the files that the readers of real data sets read."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from omma.data.shapes import annotations
from omma.data.shapes.scene import CATEGORIES, Scene, make_scene
from omma.errors import SetupError

SPLITS = ("train", "val", "test")

_MANIFEST = "shapes.json"
_VERSION = 1
_FOLDERS = ("images", "annotations", "semantic", "panoptic", "clips", "skeletons")
_JPEG_QUALITY = 92
_CROWD_EVERY = 8
_README = """\
The shapes world: generated scenes of textured shapes and articulated figures.

images/SPLIT/000001.jpg             pictures
annotations/instances_SPLIT.json    COCO boxes and masks of the things
annotations/keypoints_SPLIT.json    COCO key points of the figures
annotations/panoptic_SPLIT.json     COCO panoptic segments of panoptic/SPLIT/000001.png
semantic/SPLIT/000001.png           category id of each pixel
clips/SPLIT/00001.mp4               figures in motion, listed in clips/SPLIT.csv
skeletons/SPLIT.npz                 key points of the clips' figures

Category ids are the same everywhere: {categories}.
The parameters that made this folder are in {manifest}.
"""


def make_shapes(
    out: Path,
    *,
    train: int = 400,
    val: int = 100,
    test: int = 0,
    size: int = 192,
    seed: int = 0,
    clips: int = 0,
) -> None:
    """Make the shapes world in folder ``out``.

    Image k of a split depends on (seed, split, k, size) alone, so a larger set begins with the smaller one.
    A folder made with the same parameters stays as it is; one made with others is made anew.

    Args:
        out: folder to fill; made if missing.
        train, val, test: number of images in each split.
        size: side of the images and clips in pixels.
        seed: of everything drawn.
        clips: number of training clips; the other splits get a quarter of it.

    Raises:
        ValueError: a count is negative or ``size`` below 64.
        SetupError: ``out`` holds other things or can't be written.
    """
    counts = {"train": train, "val": val, "test": test}
    for name, count in {**counts, "clips": clips}.items():
        if count < 0:
            raise ValueError(f"{name} must be at least 0, got {count}")
    if size < 64:
        raise ValueError(f"size must be at least 64 pixels, got {size}")
    manifest = {"version": _VERSION, **counts, "size": size, "seed": seed, "clips": clips}
    try:
        if _already_made(out, manifest):
            return
        _clear(out)
        _write_json(out / _MANIFEST, {**manifest, "complete": False})
        for split, count in counts.items():
            if count:
                _write_images(out, split, count, size, seed)
        categories = ", ".join(f"{i} {name}" for i, name in enumerate(CATEGORIES))
        (out / "README.txt").write_text(_README.format(categories=categories, manifest=_MANIFEST))
        _write_json(out / _MANIFEST, {**manifest, "complete": True})
    except OSError as error:
        raise SetupError(
            f"{out}: can't write the shapes world: {error.strerror or error}; name a folder that can be written"
        ) from error


def scene_of(split: str, index: int, *, size: int, seed: int) -> Scene:
    """Scene ``index`` (from 0) of a split. Every eighth has a crowd."""
    rng = np.random.default_rng([seed, SPLITS.index(split), 0, index])
    return make_scene(rng, size, crowd=index % _CROWD_EVERY == 3)


def _already_made(out: Path, manifest: dict[str, Any]) -> bool:
    """Whether ``out`` holds this very world, complete.

    Raises:
        SetupError: it holds something that this module didn't make.
    """
    if (out.is_dir() and not any(out.iterdir())) or not out.exists():
        return False
    try:
        found = json.loads((out / _MANIFEST).read_text())
        ours = isinstance(found, dict) and "version" in found
    except (OSError, ValueError):
        found, ours = None, False
    if not ours:
        raise SetupError(
            f"{out}: expected a new or empty folder or one with shapes made before ({_MANIFEST}), found other "
            f"files; name another folder"
        )
    return found == {**manifest, "complete": True}


def _clear(out: Path) -> None:
    """Leave ``out`` a folder without an earlier world; files of others in it stay."""
    out.mkdir(parents=True, exist_ok=True)
    for name in _FOLDERS:
        if (out / name).is_dir():
            shutil.rmtree(out / name)


def _write_images(out: Path, split: str, count: int, size: int, seed: int) -> None:
    """Write pictures, maps and the three COCO files of one split."""
    folders = {name: out / name / split for name in ("images", "semantic", "panoptic")}
    for folder in [*folders.values(), out / "annotations"]:
        folder.mkdir(parents=True, exist_ok=True)
    images, things, panoptic_records = [], [], []
    for index in range(count):
        image_id, scene = index + 1, scene_of(split, index, size=size, seed=seed)
        name = f"{image_id:06d}"
        images.append({"id": image_id, "file_name": f"{name}.jpg", "height": size, "width": size})
        things += annotations.instances(scene, image_id)
        record, picture = annotations.panoptic(scene, image_id)
        panoptic_records.append(record)
        _write_picture(folders["images"] / f"{name}.jpg", scene.image)
        _write_picture(folders["semantic"] / f"{name}.png", scene.semantic)
        _write_picture(folders["panoptic"] / f"{name}.png", picture)
    info = {"description": f"shapes world, {split}", "version": str(_VERSION)}
    for kind, records, categories in (
        ("instances", things, annotations.instance_categories()),
        ("keypoints", [r for r in things if "keypoints" in r], annotations.keypoint_categories()),
        ("panoptic", panoptic_records, annotations.panoptic_categories()),
    ):
        content = {"info": info, "images": images, "annotations": records, "categories": categories}
        _write_json(out / "annotations" / f"{kind}_{split}.json", content)


def _write_picture(path: Path, picture: np.ndarray) -> None:
    """Write RGB or grey pixels, uint8, in the format that the file's ending names."""
    bgr = picture[..., ::-1] if picture.ndim == 3 else picture
    options = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY] if path.suffix == ".jpg" else []
    _, data = cv2.imencode(path.suffix, np.ascontiguousarray(bgr), options)
    path.write_bytes(data.tobytes())


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, separators=(",", ":")))
