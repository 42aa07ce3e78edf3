"""COCO average precision of boxes and masks (Lin et al., Microsoft COCO, ECCV 2014)."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

from omma.metrics import Curves, Metric, MetricReport, Table
from omma.registry import register
from omma.structures import Prediction, Target
from omma_detection.metrics.coco_api import AREAS, RECALLS, Backend, Evaluation, Kind, evaluate
from omma_detection.metrics.findings import confusion, count_table, worst_images
from omma_detection.metrics.records import Record, check_labels, complaint, make_record


@register
class CocoMetric(Metric):
    """The twelve COCO numbers for each kind: ``box/AP``, ``box/AP50``, ..., ``mask/ARl``.

    AP is averaged over classes that occur, IoU .50:.05:.95 and 101 recall levels, with at most
    ``max_detections[-1]`` predictions per image. s, m and l are objects under 32 x 32 pixels, under 96 x 96,
    and above. Crowd regions are neither right nor wrong. Without any ground truth the numbers are NaN.

    Args:
        kinds: whether boxes, masks or both are judged.
        max_detections: rising limits of predictions per image, one AR each.
        backend: ``faster`` (faster-coco-eval) or its referee ``pycocotools``: the same numbers, slower.
        score_threshold: predictions from this score on count in the confusion matrix and the worst images.

    Raises:
        ValueError: no kind, or limits that don't rise.
    """

    records: dict[int, Record]

    def __init__(
        self,
        *,
        kinds: tuple[Kind, ...] = ("box",),
        max_detections: tuple[int, ...] = (1, 10, 100),
        backend: Backend = "faster",
        score_threshold: float = 0.3,
    ) -> None:
        super().__init__()
        if not kinds:
            raise ValueError("kinds: expected 'box', 'mask' or both, got none")
        if not max_detections or list(max_detections) != sorted(set(max_detections)) or max_detections[0] < 1:
            raise ValueError(f"max_detections: expected rising numbers from 1 on, got {max_detections}")
        self.kinds = kinds
        self.max_detections = max_detections
        self.backend: Backend = backend
        self.score_threshold = score_threshold
        self._found: dict[Kind, Evaluation] = {}

    def update(self, predictions: Sequence[Prediction], targets: Sequence[Target]) -> None:
        """Add a batch; what was computed before no longer holds."""
        self._found = {}
        super().update(predictions, targets)

    def record(self, prediction: Prediction, target: Target) -> Record:
        """Boxes, scores, labels and, where masks are judged, their encodings.

        Raises:
            DataError: masks are asked for and missing, or a number isn't finite.
        """
        # COCO limits per class, so more than the limit may count; nothing is cut here.
        return make_record(prediction, target, masks="mask" in self.kinds)

    def compute(self) -> dict[str, float]:
        """The numbers by name. Warns where they can't mean anything.

        Raises:
            DataError: a label that names no class.
        """
        check_labels(self.records, self.info.classes)
        if reason := complaint(self.records, self.info.classes):
            warnings.warn(reason, stacklevel=2)
        self._found = {kind: self._evaluate(kind) for kind in self.kinds}
        values: dict[str, float] = {}
        for kind, result in self._found.items():
            values |= self._numbers(kind, result)
        return values

    def report(self) -> MetricReport:
        """Per-class table and precision-recall curves of each kind, confusion matrix and worst images."""
        report = MetricReport()
        for kind in self.kinds:
            result = self._found.get(kind) or self._evaluate(kind)
            report.tables.append(self._class_table(kind, result))
            report.curves.append(self._curves(kind, result))
        report.matrices.append(confusion(self.records, self.info.classes, self.score_threshold))
        report.rankings.append(worst_images(self.records, self.info.classes, self.score_threshold))
        return report

    def _evaluate(self, kind: Kind) -> Evaluation:
        return evaluate(
            self.records.values(),
            self.info.classes,
            kind=kind,
            limits=self.max_detections,
            backend=self.backend,
        )

    def _numbers(self, kind: Kind, result: Evaluation) -> dict[str, float]:
        values = {"AP": result.ap(), "AP50": result.ap(iou=0), "AP75": result.ap(iou=5)}
        values |= {f"AP{AREAS[area]}": result.ap(area=area) for area in (1, 2, 3)}
        values |= {f"AR{limit}": result.ar(limit=i) for i, limit in enumerate(self.max_detections)}
        values |= {f"AR{AREAS[area]}": result.ar(area=area) for area in (1, 2, 3)}
        return {f"{kind}/{name}": value for name, value in values.items()}

    def _class_table(self, kind: Kind, result: Evaluation) -> Table:
        columns = {
            name: [float(score(label)) for label in range(len(self.info.classes))]
            for name, score in (
                ("AP", lambda label: result.ap(label=label)),
                ("AP50", lambda label: result.ap(iou=0, label=label)),
                ("AP75", lambda label: result.ap(iou=5, label=label)),
                (f"AR{self.max_detections[-1]}", lambda label: result.ar(label=label)),
            )
        }
        return count_table(f"Classes ({kind})", self.records, self.info.classes, columns)

    def _curves(self, kind: Kind, result: Evaluation) -> Curves:
        at_half = result.precision[0, :, :, 0, -1]  # (R, K)
        lines = {
            name: (RECALLS.tolist(), at_half[:, label].tolist())
            for label, name in enumerate(self.info.classes)
            if at_half[0, label] > -1
        }
        title = f"Precision over recall at IoU 0.5 ({kind})"
        return Curves(title, "recall", "precision", lines, x_range=(0.0, 1.0), y_range=(0.0, 1.0))
