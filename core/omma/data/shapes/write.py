"""Writes the shapes world as the files that the readers of real data sets read."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from omma.data.shapes import annotations
from omma.data.shapes.clips import ACTIONS, Clip, make_clip
from omma.data.shapes.scene import CATEGORIES, Scene, make_scene
from omma.errors import SetupError

SPLITS = ("train", "val", "test")

_MANIFEST = "shapes.json"
_VERSION = 1
_FOLDERS = ("images", "annotations", "semantic", "panoptic", "clips", "skeletons")
_JPEG_QUALITY = 92
_CROWD_EVERY = 8
_CLIP_SIZE, _CLIP_RATE = 112, 12  # pixels, frames per second
_README = """\
The shapes world: generated scenes of textured shapes and articulated figures.

images/SPLIT/000001.jpg             pictures
annotations/instances_SPLIT.json    COCO boxes and masks of the things
annotations/keypoints_SPLIT.json    COCO key points of the figures
annotations/panoptic_SPLIT.json     COCO panoptic segments of panoptic/SPLIT/000001.png
semantic/SPLIT/000001.png           category id of each pixel
clips/SPLIT/00001.mp4               figures in motion, listed in clips/SPLIT.csv
skeletons/SPLIT.npz                 key points of the clips' figures: keypoints (N, T, 17, 2) in pixels and
                                    scores (N, T, 17), padded with zeros beyond frames (N); labels (N),
                                    paths (N), classes, size (height, width)

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
        size: side of the images in pixels; clips measure 112 and depend on (seed, split, k) alone.
        seed: of everything drawn.
        clips: number of training clips; other splits that have images get a quarter of it.

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
        out.mkdir(parents=True, exist_ok=True)
        # First, so that a folder left by an interrupted run is known as ours and as unfinished.
        _write_json(out / _MANIFEST, {**manifest, "complete": False})
        _remove_earlier(out)
        for split, count in counts.items():
            if count:
                _write_images(out, split, count, size, seed)
            number = clips if split == "train" else -(-clips // 4)
            if count and number:
                _write_clips(out, split, number, seed)
        categories = ", ".join(f"{i} {name}" for i, name in enumerate(CATEGORIES))
        (out / "README.txt").write_text(_README.format(categories=categories, manifest=_MANIFEST))
        _write_json(out / _MANIFEST, {**manifest, "complete": True})
    except OSError as error:
        raise SetupError(
            f"{out}: can't write the shapes world: {error.strerror or error}; name a writable folder"
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
            f"{out}: expected a new or empty folder or one with shapes made before ({_MANIFEST}), "
            f"found other files; name another folder"
        )
    return found == {**manifest, "complete": True}


def _remove_earlier(out: Path) -> None:
    """Remove the folders of an earlier world; what else lies in ``out`` stays."""
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


def clip_of(split: str, index: int, *, seed: int) -> Clip:
    """Clip ``index`` (from 0) of a split; the actions take turns."""
    rng = np.random.default_rng([seed, SPLITS.index(split), 1, index])
    return make_clip(rng, index % len(ACTIONS), _CLIP_SIZE)


def _write_clips(out: Path, split: str, count: int, seed: int) -> None:
    """Write the videos, their list and their skeletons of one split."""
    (out / "clips" / split).mkdir(parents=True, exist_ok=True)
    (out / "skeletons").mkdir(exist_ok=True)
    rows, tracks = [("path", "name", "label", "frames")], []
    for index in range(count):
        clip = clip_of(split, index, seed=seed)
        name = f"{split}/{index + 1:05d}.mp4"
        _write_video(out / "clips" / name, clip.frames)
        rows.append((name, ACTIONS[clip.label], str(clip.label), str(len(clip.frames))))
        tracks.append(clip.keypoints)
    (out / "clips" / f"{split}.csv").write_text("".join(",".join(row) + "\n" for row in rows))
    longest = max(len(track) for track in tracks)
    padded = np.stack([np.pad(track, ((0, longest - len(track)), (0, 0), (0, 0))) for track in tracks])
    # Savez stamps every member with the same fixed date, so equal arrays make equal files.
    np.savez_compressed(
        out / "skeletons" / f"{split}.npz",
        keypoints=padded[..., :2].astype(np.float32),
        scores=(padded[..., 2] / 2).astype(np.float32),
        frames=np.array([len(track) for track in tracks]),
        labels=np.array([int(row[2]) for row in rows[1:]]),
        paths=np.array([row[0] for row in rows[1:]]),
        classes=np.array(ACTIONS),
        size=np.array([_CLIP_SIZE, _CLIP_SIZE]),
    )


def _write_video(path: Path, frames: np.ndarray) -> None:
    """Write RGB frames, uint8 (T, H, W, 3), as MPEG-4.

    Raises:
        SetupError: this OpenCV can't encode, or what it wrote can't be read back.
    """
    _, height, width, _ = frames.shape
    fourcc = cv2.VideoWriter.fourcc(*"mp4v")
    writer = cv2.VideoWriter(str(path), fourcc, _CLIP_RATE, (width, height))
    for frame in frames:
        writer.write(np.ascontiguousarray(frame[..., ::-1]))
    writer.release()
    reader = cv2.VideoCapture(str(path))
    written = int(reader.get(cv2.CAP_PROP_FRAME_COUNT))
    reader.release()
    if written != len(frames):
        raise SetupError(
            f"{path}: expected {len(frames)} frames, read back {written}; OpenCV lacks the MPEG-4 encoder "
            f"or the disk is full: install opencv-python, or make the shapes world without clips"
        )


def _write_picture(path: Path, picture: np.ndarray) -> None:
    """Write RGB or grey pixels, uint8, in the format that the file's ending names."""
    bgr = picture[..., ::-1] if picture.ndim == 3 else picture
    options = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY] if path.suffix == ".jpg" else []
    _, data = cv2.imencode(path.suffix, np.ascontiguousarray(bgr), options)
    path.write_bytes(data.tobytes())


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, separators=(",", ":")))
