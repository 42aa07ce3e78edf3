"""The batches of a step that went wrong, in a file of plain tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from omma.structures import Batch, Meta, Polygons


def save_batches(path: Path, batches: Sequence[Batch], *, step: int, losses: Mapping[str, float]) -> None:
    """Write what ``torch.load(path, weights_only=True)`` reads: ``step``, ``losses`` and ``batches``.

    Each batch is a list of samples with the keys of ``Sample``; boxes and masks are plain tensors, outlines
    are COCO's lists, ``meta`` is a mapping, and ``image`` is the image as the model got it.

    Raises:
        OSError: it can't be written.
    """
    content = {
        "step": step,
        "losses": dict(losses),
        "batches": [
            [
                {key: _plain(value) for key, value in {**sample, "image": image}.items()}
                for image, sample in zip(batch.images, batch.samples)
            ]
            for batch in batches
        ],
    }
    with path.open("wb") as file:
        torch.save(content, file)


def _plain(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach().cpu().as_subclass(Tensor).clone()
    if isinstance(value, Meta):
        return asdict(value)
    return value.to_coco() if isinstance(value, Polygons) else value
