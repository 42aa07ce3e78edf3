"""Transforms of samples; torchvision's v2 transforms work beside them."""

from omma.data.transforms.base import AnyTransform, Compose, Transform, keep_instances
from omma.data.transforms.choice import RandomChoice
from omma.data.transforms.crop import FilterBoxes, RandomCrop
from omma.data.transforms.flip import RandomFlip
from omma.data.transforms.masks import RasteriseMasks
from omma.data.transforms.pad import Pad
from omma.data.transforms.photometric import PhotometricDistortion
from omma.data.transforms.resize import RandomResize, Resize

__all__ = [
    "AnyTransform",
    "Compose",
    "FilterBoxes",
    "Pad",
    "PhotometricDistortion",
    "RandomChoice",
    "RandomCrop",
    "RandomFlip",
    "RandomResize",
    "RasteriseMasks",
    "Resize",
    "Transform",
    "keep_instances",
]
