"""Which prior is to find which object."""

from omma_detection.models.assigners.atss import ATSSAssigner
from omma_detection.models.assigners.max_iou import Assignment, MaxIoUAssigner

__all__ = ["ATSSAssigner", "Assignment", "MaxIoUAssigner"]
