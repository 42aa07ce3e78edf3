"""Initial weights of backbones, by file or by the name of their publisher."""

from __future__ import annotations

import os
import re
from pathlib import Path

import torch
from torch import nn

from omma.checkpoint.weights import LoadReport, load_backbone
from omma.errors import WeightsError

_ENDING = re.compile(r"(_\d{8})?(-.+)?\.(pth|pt|safetensors)")
"""Date and checksum behind a published name: ``resnet50`` must not find resnet50_caffe or resnet50d."""


def load_pretrained(backbone: nn.Module, weights: str) -> LoadReport:
    """Fill a backbone from ``weights``.

    Args:
        backbone: filled in place.
        weights: path of a file, or ``publisher://name`` (``torchvision://resnet50``), which stands for a file
            whose name begins with the name's last part, in the folder ``OMMA_WEIGHTS`` or torch hub's cache.

    Raises:
        WeightsError: the file isn't there or isn't of this backbone.
    """
    return load_backbone(backbone, _find(weights) if "://" in weights else weights)


def _find(weights: str) -> Path:
    name = weights.partition("://")[2].rsplit("/", 1)[-1]
    folders = [Path(torch.hub.get_dir()) / "checkpoints"]
    if "OMMA_WEIGHTS" in os.environ:
        folders.insert(0, Path(os.environ["OMMA_WEIGHTS"]))
    for folder in folders:
        for file in sorted(folder.glob(f"{name}*")):
            if _ENDING.fullmatch(file.name.removeprefix(name)):
                return file
    looked = " and ".join(str(folder) for folder in folders)
    raise WeightsError(
        f"{weights}: no file {name}-*.pth or {name}.safetensors in {looked}; put it there, set OMMA_WEIGHTS "
        "to its folder, or train from scratch with model.backbone.weights=null"
    )
