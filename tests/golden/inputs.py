"""The golden input and target as Omma's own structures."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import recipe
import torch
from torchvision import tv_tensors

from omma.structures import Batch, Meta, Sample

_DRAWN = r"RandomState\(0\)\.randint\(0, (\d+), \(([\d, ]+)\)\)"


def batch_of(golden: dict[str, Any]) -> Batch:
    """The one image or clip of a golden file with its target; original size is input size."""
    shape = golden["input"]["shape"]
    if len(shape) in (5, 6):
        return _clip(golden)
    if len(shape) != 3:
        raise NotImplementedError(f"nothing here makes an input of shape {shape}")
    height, width = shape[-2:]
    image = torch.from_numpy(recipe.picture(tuple(shape)))
    meta = Meta(index=0, id=0, path="golden", height=height, width=width)
    sample = Sample(meta=meta, **_objects(golden.get("target"), (height, width)))
    sample |= _keypoints(golden.get("target"), (height, width))
    sample["semantic"] = tv_tensors.Mask(_semantic(golden.get("target"), (height, width)))
    return Batch([image], [sample])


def _clip(golden: dict[str, Any]) -> Batch:
    """Frames (1, T, 3, H, W) of a clip, its views (1, V, 3, T, H, W), or skeletons or volumes of them."""
    shape = golden["input"]["shape"]
    clip = torch.from_numpy(np.random.RandomState(1).randint(0, 256, shape).astype(np.uint8))
    if "-keypoint" in golden["config"] or "-limb" in golden["config"]:
        # (1, V, M, T, K, C), or (1, V, K, T, H, W), which nothing normalises later.
        meta = Meta(index=0, id=0, path="golden", height=0, width=0)
        sample = Sample(meta=meta, labels=torch.tensor([golden["target"]["label"]]))
        return Batch([(clip[0].float() - 114) / 58], [sample])
    clip = clip if clip.ndim == 5 else clip[0].transpose(1, 2)  # (V, T, 3, H, W)
    meta = Meta(index=0, id=0, path="golden", height=shape[-2], width=shape[-1])
    return Batch([clip], [Sample(meta=meta, labels=torch.tensor([golden["target"]["label"]]))])


def _semantic(target: Any, size: tuple[int, int]) -> torch.Tensor:
    """Classes drawn as the file says, ``RandomState(0).randint(0, C, (1, H, W))``."""
    if isinstance(target, str) and (match := re.fullmatch(_DRAWN, target)):
        shape = tuple(int(number) for number in match[2].split(","))
        return torch.from_numpy(np.random.RandomState(0).randint(0, int(match[1]), shape)[0]).to(torch.uint8)
    # Not in the files: semantic branches of detectors were fed the column's number in their map of stride 8.
    return (torch.arange(size[1]) // 8).to(torch.uint8).expand(size).contiguous()


def _keypoints(target: Any, size: tuple[int, int]) -> Sample:
    """One object that fills the image; all its key points are visible."""
    if not isinstance(target, dict) or "keypoints" not in target:
        return Sample()
    keypoints = torch.tensor(target["keypoints"])[None]
    return Sample(
        keypoints=tv_tensors.KeyPoints(keypoints, canvas_size=size),
        visibility=torch.full(keypoints.shape[:2], 2, dtype=torch.uint8),
    )


def _objects(target: Any, size: tuple[int, int]) -> Sample:
    if not isinstance(target, dict) or "boxes" not in target:
        return Sample()
    boxes = torch.tensor(target["boxes"]).reshape(-1, 4)
    sample = Sample(
        boxes=tv_tensors.BoundingBoxes(boxes, format="XYXY", canvas_size=size),
        labels=torch.tensor(target["labels"], dtype=torch.int64),
    )
    if target.get("masks"):
        masks = torch.zeros(len(boxes), *size, dtype=torch.uint8)
        for mask, (x1, y1, x2, y2) in zip(masks, boxes.int().tolist()):
            mask[y1:y2, x1:x2] = 1
        sample["masks"] = tv_tensors.Mask(masks)
    return sample
