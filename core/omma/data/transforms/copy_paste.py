"""Objects of one image on another (Ghiasi et al., Simple Copy-Paste, CVPR 2021)."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor
from torchvision import tv_tensors

from omma.data.transforms.base import canvas, choose, keep_instances, wrap
from omma.data.transforms.mix import Draw, Mix
from omma.ops import masks_to_boxes
from omma.registry import register
from omma.structures import INSTANCE_KEYS, Polygons, Sample


@register
class CopyPaste(Mix):
    """Pastes some objects of another sample of the same size over this one's, which lose what they cover.

    Boxes of the objects below shrink to what is still seen of them. Both samples have come through the
    transforms before; outlines become bitmaps.

    Args:
        most: objects that are pasted at most. How many is drawn from 0 up to this, or to all there are.
        box_change: an object below stays if no side of its box moved by more than this, pixels...
        min_area: ...or if more than so many of its pixels are seen.
    """

    alike = True

    def __init__(self, *, most: int = 100, box_change: float = 10.0, min_area: float = 300.0) -> None:
        if most < 1 or min(box_change, min_area) < 0:
            raise ValueError(
                "need most of at least 1, box_change and min_area of at least 0, got "
                f"{most}, {box_change}, {min_area}"
            )
        self.most, self.box_change, self.min_area = most, box_change, min_area

    def mix(self, sample: Sample, draw: Draw) -> Sample:
        """The sample below the pasted objects.

        Raises:
            ValueError: the samples differ in size, have no masks, or hold something else for each instance.
        """
        below, above = _bitmaps(sample), _bitmaps(draw())
        if canvas(below) != canvas(above):
            raise ValueError(
                f"CopyPaste needs samples of one size, got {canvas(below)} and {canvas(above)}; crop and pad "
                "them first"
            )
        count = len(above["boxes"])
        chosen = torch.zeros(count, dtype=torch.bool)
        chosen[torch.randperm(count)[: choose(min(count, self.most) + 1)]] = True
        above = keep_instances(above, chosen)
        if not len(above["boxes"]):
            return below
        covered = above["masks"].as_subclass(Tensor).amax(dim=0).bool()  # (H, W)
        below = self._cover(below, covered)
        image = torch.where(covered, above["image"].as_subclass(Tensor), below["image"].as_subclass(Tensor))
        out: dict[str, Any] = {**below, "image": tv_tensors.Image(image)}
        for key in ("boxes", "labels", "masks"):
            joined = torch.cat([below[key].as_subclass(Tensor), above[key].as_subclass(Tensor)])
            out[key] = wrap(joined, like=below[key]) if key != "labels" else joined
        return cast(Sample, out)

    def _cover(self, sample: Sample, covered: Tensor) -> Sample:
        """The sample without those of its pixels, and the objects of which too little is left."""
        masks = sample["masks"].as_subclass(Tensor) * ~covered
        boxes = sample["boxes"].as_subclass(Tensor)
        left = masks_to_boxes(masks.bool())
        near = ((left - boxes).abs() <= self.box_change).all(dim=1)
        keep = (near | (masks.sum(dim=(1, 2)) > self.min_area)) & (left[:, 2:] > left[:, :2]).all(dim=1)
        changed: Any = {
            **sample,
            "masks": tv_tensors.Mask(masks),
            "boxes": wrap(left, like=sample["boxes"]),
        }
        return keep_instances(changed, keep)


def _bitmaps(sample: Sample) -> Sample:
    if "masks" not in sample or "boxes" not in sample:
        raise ValueError("CopyPaste needs samples with boxes and masks; set masks: true in the data set")
    if others := [key for key in INSTANCE_KEYS if key in sample and key not in ("boxes", "labels", "masks")]:
        raise ValueError(f"CopyPaste doesn't know what becomes of {', '.join(others)}")
    masks = sample["masks"]
    return cast(Sample, {**sample, "masks": masks.rasterise()}) if isinstance(masks, Polygons) else sample
