"""Backbone, neck and head on one object at a time: the frame of top-down models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from omma.backbones import Backbone
from omma.model import Model, Preprocessor, Sees
from omma.necks import Neck, channels_behind
from omma.registry import register
from omma.structures import Batch, Prediction, Skeleton
from omma_pose.datasets.skeletons import skeleton_of
from omma_pose.models.heads.pose_head import PoseHead
from omma_pose.transforms.crop import Crop, crop_matrix


@register
class TopDown(Model):
    """The key points of the object that an image shows; ``TopDownCrop`` makes such images.

    Args:
        backbone: image to feature maps.
        neck: feature maps to other ones; null: the head takes the backbone's.
        head: maps to key points.
        skeleton: what the key points are called, and which change places in a mirror; null: unknown.
        flip_test: predict on the mirrored image as well, and take the mean.
        weighted: key points count in the losses by the skeleton's weights.
        preprocessor: images to network input.

    Raises:
        ValueError: the parts don't fit each other, or ``flip_test`` or ``weighted`` lack what they need of a
            skeleton.
    """

    task: ClassVar[str] = "pose"
    sees: Sees = "object"
    keypoint_weights: Tensor | None

    def __init__(
        self,
        *,
        backbone: Backbone,
        neck: Neck | None = None,
        head: PoseHead,
        skeleton: Skeleton | str | None = None,
        flip_test: bool = True,
        weighted: bool = False,
        preprocessor: Preprocessor,
    ) -> None:
        super().__init__()
        self.preprocessor, self.backbone, self.neck, self.head = preprocessor, backbone, neck, head
        self.skeleton = skeleton_of(skeleton)
        self.flip_test = flip_test
        head.check_maps(channels_behind(neck, backbone.out_channels))
        if self.skeleton is None and flip_test:
            raise ValueError("flip_test needs a skeleton: name one, or set flip_test to false")
        if self.skeleton is not None and len(self.skeleton) != head.num_keypoints:
            raise ValueError(
                f"head.num_keypoints is {head.num_keypoints}, but the skeleton has {len(self.skeleton)}"
            )
        weights = self.skeleton.weights if weighted and self.skeleton is not None else None
        if weighted and weights is None:
            raise ValueError("weighted needs a skeleton with weights, or set weighted to false")
        numbers = None if weights is None else torch.tensor(weights, dtype=torch.float32)
        self.register_buffer("keypoint_weights", numbers, persistent=False)

    def features(self, images: Tensor | Sequence[Tensor]) -> Sequence[Tensor]:
        """The maps of uint8 RGB images that the head takes."""
        return self.maps(self.preprocessor(images))

    def maps(self, x: Tensor) -> Sequence[Tensor]:
        """The maps of network input (N, 3, H, W)."""
        maps = self.backbone(x)
        return maps if self.neck is None else self.neck(maps)

    def forward(self, images: Tensor | Sequence[Tensor]) -> Any:
        """Raw outputs of the head for uint8 RGB images."""
        return self.head(self.features(images))

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """The losses of the head; batches without a labelled key point have such of 0."""
        keypoints = torch.cat([sample["keypoints"] for sample in batch.samples])
        weights = (torch.cat([sample["visibility"] for sample in batch.samples]) > 0).float()
        if self.keypoint_weights is not None:
            weights = weights * self.keypoint_weights
        return self.head.loss(self(batch.images), keypoints, weights)

    def predict(self, batch: Batch) -> list[Prediction]:
        """The key points of the object in each image, in pixels of the original one."""
        x = self.preprocessor(batch.images)
        outputs = self.head(self.maps(x))
        if self.flip_test and self.skeleton is not None:
            order = torch.tensor(self.skeleton.mirror, device=x.device)
            outputs = self.head.merge(outputs, self.head(self.maps(x.flip(-1))), order)
        keypoints, scores = self.head.decode(outputs)
        crops = self._crops(batch, keypoints)
        keypoints, boxes = to_original(keypoints, crops), self._boxes(batch, crops)
        areas = x.shape[-1] * x.shape[-2] / torch.linalg.det(crops[:, :, :2]).abs()
        return [
            {
                "keypoints": keypoints[i : i + 1],
                "keypoint_scores": scores[i : i + 1],
                "boxes": boxes[i : i + 1],
                "scores": sample.get("box_scores", scores.new_ones(1)),
                "labels": sample.get("labels", torch.zeros(1, dtype=torch.int64, device=x.device)),
                "areas": areas[i : i + 1],
            }
            for i, sample in enumerate(batch.samples)
        ]

    def nothing(self) -> Prediction:
        """No object, and no key points of it."""
        none = torch.zeros(0, self.head.num_keypoints)
        return {
            **super().nothing(),
            "keypoints": torch.zeros(0, self.head.num_keypoints, 2),
            "keypoint_scores": none,
            "areas": torch.zeros(0),
        }

    def _boxes(self, batch: Batch, crops: Tensor) -> Tensor:
        """(N, 4) boxes of the objects in their original images; without one, that of the whole crop."""
        boxes = [
            sample["boxes"] if "boxes" in sample else crops.new_tensor([[0, 0, width, height]])
            for sample, (height, width) in zip(batch.samples, batch.sizes, strict=True)
        ]
        corners = torch.cat(boxes).reshape(-1, 2, 2)
        # Sides of boxes lie between pixels, half of one beside the centres that the matrices count from.
        corners = to_original(corners - 0.5, crops) + 0.5
        return torch.cat([corners.amin(1), corners.amax(1)], dim=1)

    def _crops(self, batch: Batch, like: Tensor) -> Tensor:
        """(N, 2, 3) from each original image to the network's input; without one, that of its whole box."""
        matrices = []
        for sample, (height, width), meta in zip(batch.samples, batch.sizes, batch.metas, strict=True):
            if "crop" in sample:
                matrices.append(sample["crop"].to(like))
                continue
            whole = Crop((meta.width / 2, meta.height / 2), (meta.width, meta.height))
            matrix = crop_matrix(whole, height, width, unbiased=self.head.codec.unbiased)
            matrices.append(torch.from_numpy(matrix).to(like))
        return torch.stack(matrices)


def to_original(points: Tensor, crops: Tensor) -> Tensor:
    """Points (N, K, 2) of crops in the images that they were cut from by matrices (N, 2, 3)."""
    turns, moved = crops[:, :, :2].double(), (points - crops[:, None, :, 2]).double()
    a, b, c, d = turns.flatten(1).unbind(1)
    inverse = torch.stack([d, -b, -c, a], dim=1).view(-1, 2, 2) / (a * d - b * c)[:, None, None]
    return (moved @ inverse.mT).to(points.dtype)
