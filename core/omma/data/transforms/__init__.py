"""Transforms of samples; torchvision's v2 transforms work beside them."""

from omma.data.transforms.affine import RandomAffine
from omma.data.transforms.base import AnyTransform, Compose, Transform, keep_instances
from omma.data.transforms.blur import RandomBlur
from omma.data.transforms.centre_crop import RandomCentreCrop, RandomShift
from omma.data.transforms.choice import RandomChoice
from omma.data.transforms.contrast import CLAHE, RandomGamma
from omma.data.transforms.copy_paste import CopyPaste
from omma.data.transforms.crop import FilterBoxes, RandomCrop
from omma.data.transforms.cut_out import CutOut
from omma.data.transforms.expand import Expand, MinIoUCrop
from omma.data.transforms.flip import RandomFlip
from omma.data.transforms.masks import BoxesOfMasks, RasteriseMasks
from omma.data.transforms.mix import Mix, MixUp, Mosaic
from omma.data.transforms.pad import Pad
from omma.data.transforms.photometric import HSVShift, PhotometricDistortion
from omma.data.transforms.resize import RandomResize, Resize
from omma.data.transforms.rotate import RandomRotate
from omma.data.transforms.scale_crop import RandomScaleCrop

__all__ = [
    "CLAHE",
    "AnyTransform",
    "BoxesOfMasks",
    "Compose",
    "CopyPaste",
    "CutOut",
    "Expand",
    "FilterBoxes",
    "HSVShift",
    "MinIoUCrop",
    "Mix",
    "MixUp",
    "Mosaic",
    "Pad",
    "PhotometricDistortion",
    "RandomAffine",
    "RandomBlur",
    "RandomCentreCrop",
    "RandomChoice",
    "RandomCrop",
    "RandomFlip",
    "RandomGamma",
    "RandomResize",
    "RandomRotate",
    "RandomScaleCrop",
    "RandomShift",
    "RasteriseMasks",
    "Resize",
    "Transform",
    "keep_instances",
]
