"""Which of the boxes that were found in an image a model looks at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchvision import tv_tensors

from omma.data.classes import listed, nearest
from omma.errors import DataError, SetupError
from omma.ops import nms
from omma.structures import Prediction
from omma.structures.select import chosen


@dataclass(frozen=True, kw_only=True)
class BoxFeed:
    """How a model that sees one object at a time is fed with the boxes of the stage before it.

    Raises:
        ValueError: a number is out of its range, or ``of`` is empty.
    """

    of: tuple[str, ...] | None = None
    """Classes of the stage before whose boxes are looked at, by name; None: those of the model itself."""
    nms: float | None = None
    """Of two boxes with a larger IoU only the better one is looked at, whatever their classes; None: both."""
    at_once: int = 32
    """Objects per forward pass, at most."""

    def __post_init__(self) -> None:
        if self.of is not None and (isinstance(self.of, str) or not self.of):
            raise ValueError(f"of: expected names of classes, got {self.of!r}")
        if self.at_once < 1 or (self.nms is not None and not 0 < self.nms <= 1):
            raise ValueError(f"expected at_once from 1 on and nms in 0..1, got {self.at_once} and {self.nms}")

    def labels(self, found: Sequence[str], own: Sequence[str]) -> dict[int, int]:
        """Labels of the stage before that are looked at, and what the model calls each.

        A model of one class takes everything for it; one of several goes by the names.

        Args:
            found: class names of the stage before.
            own: those of the model.

        Raises:
            SetupError: a class isn't found, or isn't one that the model knows.
        """
        wanted = tuple(self.of or own)
        missing = [name for name in wanted if name not in found]
        if len(missing) == len(wanted) or (self.of and missing):
            raise SetupError(_unknown(missing, found))
        strange = [name for name in wanted if name not in own]
        if strange and len(own) > 1:
            raise SetupError(
                f"boxes of {listed(strange, quote=True)} can't be looked at: "
                f"the model tells apart {listed(own)}"
            )
        return {found.index(name): own.index(name) if name in own else 0 for name in wanted if name in found}

    def choose(self, found: Prediction, labels: Mapping[int, int]) -> Prediction:
        """The boxes that are looked at by falling score, with labels of the model.

        Raises:
            SetupError: there are predictions, but no boxes.
        """
        if "boxes" not in found:
            raise SetupError("the model looks at boxes, but the stage before predicts none")
        own = torch.tensor([labels.get(label, -1) for label in found["labels"].tolist()], dtype=torch.int64)
        best = found["scores"].argsort(descending=True, stable=True)
        best = best[own[best] >= 0]
        kept = chosen({"boxes": found["boxes"], "scores": found["scores"], "labels": own}, best)
        if self.nms is None:
            return kept
        return chosen(kept, nms(kept["boxes"], kept["scores"], iou_threshold=self.nms))


def given_boxes(boxes: Any, where: str) -> Prediction:
    """Boxes as a caller gives them: (N, 4) xyxy in pixels, or (N, 5) with the score of each; label 0.

    Raises:
        DataError: the shape is another, or a number isn't finite; the message says ``where``.
    """
    rows = torch.as_tensor(boxes, dtype=torch.float32).cpu()
    rows = rows.reshape(0, 4) if rows.numel() == 0 else rows
    if rows.ndim != 2 or rows.shape[1] not in (4, 5) or not rows.isfinite().all():
        raise DataError(
            f"{where}: expected finite boxes of shape (N, 4), or (N, 5) with scores, got {tuple(rows.shape)}"
        )
    scores = rows[:, 4] if rows.shape[1] == 5 else rows.new_ones(len(rows))
    return {"boxes": rows[:, :4], "scores": scores, "labels": torch.zeros(len(rows), dtype=torch.int64)}


def object_of(found: Prediction, number: int, image: np.ndarray) -> dict[str, Tensor]:
    """What a sample has that shows one of the boxes in an image (H, W, 3)."""
    box, score, label = (found[key][number : number + 1].clone() for key in ("boxes", "scores", "labels"))
    size = (image.shape[0], image.shape[1])
    boxes = tv_tensors.BoundingBoxes(box, format="XYXY", canvas_size=size)  # pyright: ignore[reportCallIssue]
    return {"boxes": boxes, "box_scores": score, "labels": label}


def _unknown(missing: Sequence[str], found: Sequence[str]) -> str:
    near = [(name, close) for name in missing if (close := nearest(name, found))]
    asked = ", ".join(f"'{close}' for '{name}'" for name, close in near)
    hint = f"; did you mean {asked}?" if asked else "; name the classes whose boxes are to be looked at"
    return f"the stage before finds no {listed(missing, quote=True)}, but {listed(found)}{hint}"
