"""The containers that carry images and what is known about them through every task.

Frames: an image tensor is RGB, uint8, (3, H, W). Boxes are (x1, y1, x2, y2) in pixels, float32, with the
origin at the top-left corner of the top-left pixel. Key points are (x, y) in the same frame; those of pose
estimation count pixels instead, as COCO's annotations do: whole numbers are centres of pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypedDict

from torch import Tensor
from torchvision import tv_tensors

from omma.structures.polygons import Polygons
from omma.structures.skeleton import Skeleton


@dataclass(frozen=True)
class DataInfo:
    """What the classes of a data set are called: fixed for a run and stored in its checkpoints."""

    classes: tuple[str, ...]
    """Label ``i`` is called ``classes[i]``; background is not a class."""
    groups: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """Labels that are also judged apart, by what they are called: LVIS' rare, common and frequent classes."""
    ancestors: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    """Labels of the wider classes that the objects of a label belong to as well: a sparrow is a bird."""
    skeleton: Skeleton | None = None
    """The key points of an object, where the data set has them."""


@dataclass(frozen=True)
class Meta:
    """Where a sample comes from and how its image lies to the original one."""

    index: int
    """Position in the data set."""
    id: int | str
    """The image's id in its annotation file."""
    path: str
    height: int
    width: int
    """Size of the original image in pixels."""
    scale: tuple[float, float] = (1.0, 1.0)
    """(x, y) factors from original pixels to those of the transformed image."""
    flipped: bool = False
    """Whether the image was mirrored left to right."""


class Sample(TypedDict, total=False):
    """One image or clip and its annotations, in the pixels of ``image`` as transformed so far.

    All tensors with a leading N belong to the same N instances, in the same order. torchvision's v2
    transforms work on it as they are: everything spatial is a tv_tensor.
    """

    image: tv_tensors.Image  # (3, H, W) uint8, RGB
    video: tv_tensors.Video  # (V, T, 3, H, W) uint8, RGB: V views (clips x crops) of T frames
    volume: Tensor  # (V, K, T, H, W) float32: heatmaps of K joints
    skeleton: Tensor  # (V, M, T, K, C) float32: K joints of M persons: x, y and score, or x, y, z
    canvas: tuple[int, int]  # (H, W) in pixels of what ``skeleton`` lies in; zeros where that is no image
    boxes: tv_tensors.BoundingBoxes  # (N, 4) float32, xyxy
    labels: Tensor  # (N,) int64; of a clip: its classes, most often one
    masks: tv_tensors.Mask | Polygons  # (N, H, W) uint8, or the outlines until they are rasterised
    keypoints: tv_tensors.KeyPoints  # (N, K, 2) float32
    visibility: Tensor  # (N, K) uint8: 0 not labelled, 1 hidden, 2 visible
    crop: Tensor  # (2, 3) float32: from key points in the original image to those in ``image``, cut out of it
    box_scores: Tensor  # (N,) float32 in 0..1, of boxes that a detector found
    proposals: tv_tensors.BoundingBoxes  # (P, 4): boxes from another detector, for Fast R-CNN
    ignored_boxes: tv_tensors.BoundingBoxes  # (M, 4): crowds and difficult objects, neither right nor wrong
    semantic: tv_tensors.Mask  # (H, W) uint8: class of each pixel, IGNORED where it doesn't count
    meta: Meta
    views: list[Sample]  # of the same image, which it is predicted on beside this one


IGNORED = 255
"""Class of pixels in semantic maps that are neither right nor wrong."""
INPUT_KEYS = ("image", "video", "volume", "skeleton")
"""Keys of a sample of which it has one: what a network looks at."""
INSTANCE_KEYS = ("boxes", "labels", "masks", "keypoints", "visibility", "box_scores")
"""Keys of a sample whose first axis runs over its instances."""


class Target(TypedDict, total=False):
    """The ground truth of one image in original pixels, as the annotation file has it; metrics read it."""

    index: int
    id: int | str
    path: str
    height: int
    width: int
    boxes: Tensor  # (N, 4) float32, xyxy
    labels: Tensor  # (N,) int64
    crowd: Tensor  # (N,) bool: a region of many objects (COCO iscrowd) or a difficult one (VOC)
    area: Tensor  # (N,) float32, pixels; of the mask where there is one
    semantic: Tensor  # (H, W) uint8: class of each pixel, IGNORED where it doesn't count
    absent: Tensor  # (K,) int64 labels that were looked for in vain, where not all are annotated everywhere
    partial: Tensor  # (K,) int64 labels of which there may be more objects than are annotated, likewise
    segmentations: Sequence[Any]  # (N) COCO form: list of polygons [x, y, ...] or {"size", "counts"} RLE
    keypoints: Tensor  # (N, K, 2) float32
    visibility: Tensor  # (N, K) uint8: 0 not labelled, 1 hidden, 2 visible
    instance: int  # which of the N a sample shows, where it shows one
    crowd_index: float  # in 0..1, how much the objects of the image hide each other, where that is known
    head_sizes: Tensor  # (N,) float32, pixels: what PCKh measures by, where it is known
    boxes_of: str  # the file of the detector whose boxes the samples show, where it isn't the annotated ones


class Prediction(TypedDict, total=False):
    """What a model says about one image, in original pixels; instances are sorted by falling score."""

    boxes: Tensor  # (N, 4) float32, xyxy
    scores: Tensor  # (N,) float32 in 0..1
    labels: Tensor  # (N,) int64
    masks: Tensor  # (N, H, W) bool
    semantic: Tensor  # (H, W) uint8: class of each pixel
    keypoints: Tensor  # (N, K, 2) float32
    keypoint_scores: Tensor  # (N, K) float32, about 0..1
    class_scores: Tensor  # (C,) float32, 0..1: of a whole clip
    areas: Tensor  # (N,) float32, original pixels that were looked at for the key points of each
    tracks: Tensor  # (N,) int64, the same number for the same object in all frames of a video


@dataclass
class Batch:
    """Samples on their way into a model: images not yet padded to a common size."""

    images: list[Tensor]
    """uint8, (3, H_i, W_i) each; the model's preprocessor normalises, pads and stacks them. Of clips it is
    the video, volume or skeleton that each sample has in place of an image."""
    samples: list[Sample] = field(default_factory=list)
    """The rest of each sample; boxes etc. in pixels of the image beside it."""

    def __len__(self) -> int:
        return len(self.images)

    @property
    def metas(self) -> list[Meta]:
        """Source of each image."""
        return [sample["meta"] for sample in self.samples]

    @property
    def sizes(self) -> list[tuple[int, int]]:
        """(H, W) of each image before padding."""
        return [(image.shape[-2], image.shape[-1]) for image in self.images]

    def to(self, device: Any, non_blocking: bool = False) -> Batch:
        """The same batch with every tensor on ``device``."""
        return self._moved(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> Batch:
        """The same batch in page-locked memory, so that copies to the GPU run beside the compute."""
        return self._moved(Tensor.pin_memory)

    def _moved(self, move: Callable[[Tensor], Tensor]) -> Batch:
        samples: list[Any] = [
            {key: move(value) if isinstance(value, Tensor) else value for key, value in sample.items()}
            for sample in self.samples
        ]
        return Batch([move(image) for image in self.images], samples)
