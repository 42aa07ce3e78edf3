"""Which prior is to find which object."""

from omma_detection.models.assigners.atss import ATSSAssigner
from omma_detection.models.assigners.max_iou import Assignment, MaxIoUAssigner
from omma_detection.models.assigners.paa import PAASeparation
from omma_detection.models.assigners.task_aligned import TaskAlignedAssigner

__all__ = ["ATSSAssigner", "Assignment", "MaxIoUAssigner", "PAASeparation", "TaskAlignedAssigner"]
