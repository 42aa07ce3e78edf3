"""Class and box of a region (Girshick, Fast R-CNN, 2015; Lin et al., FPN, 2016)."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from omma.layers import NormKind, init_conv
from omma.losses import Loss, SeesawLoss
from omma.parallel import normalizer
from omma.registry import register
from omma.structures.class_rows import ClassRows
from omma_detection.models.coders.delta import DeltaCoder
from omma_detection.models.heads.dense import conv_tower
from omma_detection.models.heads.detections import SoftNMS
from omma_detection.models.heads.region_box_head import BoxOutputs, RegionBoxHead, clip_to_images


class DeltaBoxHead(RegionBoxHead):
    """What box heads that regress deltas have in common: their losses and boxes.

    Args:
        in_channels: channels of a region's features.
        roi_size: their height and width.
        num_classes: C, without background.
        coder: box coder.
        cls_loss: softmax loss over C + 1 classes.
        box_loss: on the deltas of the object's class, or on its box.
        decoded_loss: whether ``box_loss`` compares boxes.
        class_agnostic: one box for all classes.
        score_threshold: lowest score of a prediction.
        nms_iou: threshold of NMS within a class.
        soft_nms: lower the scores of overlapping boxes instead of dropping the boxes.
        max_per_image: predictions per image.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        roi_size: int,
        num_classes: int,
        coder: DeltaCoder,
        cls_loss: Loss,
        box_loss: Loss,
        decoded_loss: bool,
        class_agnostic: bool,
        score_threshold: float,
        nms_iou: float,
        soft_nms: SoftNMS | None,
        max_per_image: int,
    ) -> None:
        super().__init__(
            in_channels=in_channels,
            roi_size=roi_size,
            num_classes=num_classes,
            score_threshold=score_threshold,
            nms_iou=nms_iou,
            soft_nms=soft_nms,
            max_per_image=max_per_image,
        )
        # Of a loss that counts samples the counts are in checkpoints, under this name.
        self.coder, self.loss_cls, self.box_loss = coder, cls_loss, box_loss
        self.decoded_loss, self.class_agnostic = decoded_loss, class_agnostic

    def add_predictors(self, cls_channels: int, reg_channels: int | None) -> None:
        """The last layers: ``fc_cls``, and ``fc_reg`` unless nothing is regressed."""
        self.fc_cls = nn.Linear(cls_channels, self.num_classes + self._extra_rows)
        init_conv(self.fc_cls, std=0.01)
        self.fc_reg = None
        if reg_channels is not None:
            self.fc_reg = nn.Linear(reg_channels, 4 if self.class_agnostic else 4 * self.num_classes)
            init_conv(self.fc_reg, std=0.001)

    @property
    def _extra_rows(self) -> int:
        """Class logits that belong to no class: background, or object and background."""
        return 2 if isinstance(self.loss_cls, SeesawLoss) else 1

    def scores(self, logits: Tensor) -> Tensor:
        """Class logits (R, ...) -> probabilities (R, C)."""
        return (
            self.loss_cls.scores(logits.float())
            if isinstance(self.loss_cls, SeesawLoss)
            else super().scores(logits)
        )

    def read(self, cls: Tensor, reg: Tensor) -> BoxOutputs:
        """Logits (R, C + 1) of (R, D) and, unless nothing is regressed, deltas of (R, E)."""
        return (self.fc_cls(cls),) if self.fc_reg is None else (self.fc_cls(cls), self.fc_reg(reg))

    def class_rows(self) -> dict[str, ClassRows]:
        """Parameters whose rows belong to classes."""
        rows = {f"fc_cls.{name}": ClassRows(background=self._extra_rows) for name in ("weight", "bias")}
        if self.fc_reg is not None and not self.class_agnostic:
            rows |= {f"fc_reg.{name}": ClassRows(per_class=4) for name in ("weight", "bias")}
        return rows

    def loss(self, outputs: BoxOutputs, rois: Tensor, boxes: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """``loss_cls`` and ``loss_bbox``, both averaged over all regions."""
        count = normalizer(len(labels))
        losses = {"loss_cls": self.loss_cls(outputs[0], labels, avg_factor=count)}
        if self.fc_reg is None:
            return losses
        deltas = outputs[1]
        positive = (labels < self.num_classes).nonzero()[:, 0]
        chosen = deltas.unflatten(1, (-1, 4))[positive, 0 if self.class_agnostic else labels[positive]]
        references, target = rois[positive, 1:], boxes[positive]
        if self.decoded_loss:
            chosen = self.coder.decode(references, chosen)
        else:
            target = self.coder.encode(references, target)
        return losses | {"loss_bbox": self.box_loss(chosen, target, avg_factor=count)}

    def boxes(self, outputs: BoxOutputs, rois: Tensor, sizes: Tensor) -> tuple[Tensor, Tensor | None]:
        """(R, C or 1, 4)."""
        if self.fc_reg is None:
            return clip_to_images(rois[:, None, 1:], rois, sizes), None
        decoded = self.coder.decode(rois[:, None, 1:], outputs[1].unflatten(1, (-1, 4)))
        return clip_to_images(decoded, rois, sizes), None


@register
class BBoxHead(DeltaBoxHead):
    """Shared fully connected layers, then class scores (background last) and box deltas per class.

    Args:
        in_channels: channels of a region's features.
        roi_size: their height and width.
        num_convs: shared 3x3 convolutions in front.
        conv_channels: their width.
        norm: kind of norm in them.
        pool: average the region before the layers.
        fc_channels: widths of the shared layers.
        num_classes: C, without background.
        coder: box coder.
        cls_loss: softmax loss over C + 1 classes.
        box_loss: on the deltas of the object's class, or on its box.
        decoded_loss: whether ``box_loss`` compares boxes.
        class_agnostic: one box for all classes.
        regress: false: only the class, boxes stay as they are.
        score_threshold: lowest score of a prediction.
        nms_iou: threshold of NMS within a class.
        soft_nms: lower the scores of overlapping boxes instead of dropping the boxes.
        max_per_image: predictions per image.
    """

    def __init__(
        self,
        *,
        in_channels: int = 256,
        roi_size: int = 7,
        num_convs: int = 0,
        conv_channels: int = 256,
        norm: NormKind | None = None,
        pool: bool = False,
        fc_channels: tuple[int, ...] = (1024, 1024),
        num_classes: int,
        coder: DeltaCoder,
        cls_loss: Loss,
        box_loss: Loss,
        decoded_loss: bool = False,
        class_agnostic: bool = False,
        regress: bool = True,
        score_threshold: float = 0.05,
        nms_iou: float = 0.5,
        soft_nms: SoftNMS | None = None,
        max_per_image: int = 100,
    ) -> None:
        super().__init__(
            in_channels=in_channels,
            roi_size=roi_size,
            num_classes=num_classes,
            coder=coder,
            cls_loss=cls_loss,
            box_loss=box_loss,
            decoded_loss=decoded_loss,
            class_agnostic=class_agnostic,
            score_threshold=score_threshold,
            nms_iou=nms_iou,
            soft_nms=soft_nms,
            max_per_image=max_per_image,
        )
        if not (fc_channels or pool):
            raise ValueError("need at least one layer or pool, got neither")
        self.pool = pool
        if num_convs:
            self.shared_convs = conv_tower(in_channels, conv_channels, num_convs, norm=norm)
        else:
            self.shared_convs = nn.ModuleList()
        seen = conv_channels if num_convs else in_channels
        widths = (seen if pool else seen * roi_size**2, *fc_channels)
        self.shared_fcs = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))
        self.add_predictors(widths[-1], widths[-1] if regress else None)
        init_conv(self.shared_convs, kind="kaiming")
        init_conv(self.shared_fcs, kind="xavier")

    def forward(self, features: Tensor) -> BoxOutputs:
        """Features (R, C_in, S, S) -> class logits (R, C + 1) and deltas (R, 4 C) or (R, 4)."""
        x = self.shared(features)
        return self.read(x, x)

    def shared(self, features: Tensor) -> Tensor:
        """Features (R, C_in, S, S) -> (R, D), what classes and deltas are read from."""
        for conv in self.shared_convs:
            features = conv(features)
        x = features.mean(dim=(2, 3)) if self.pool else features.flatten(1)
        for layer in self.shared_fcs:
            x = layer(x).relu()
        return x
