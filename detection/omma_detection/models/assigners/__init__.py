"""Which prior is to find which object."""

from omma_detection.models.assigners.atss import ATSSAssigner
from omma_detection.models.assigners.center_cells import CellAssignment, CenterCellAssigner
from omma_detection.models.assigners.center_region import CenterRegionAssigner
from omma_detection.models.assigners.dynamic_soft_label import DynamicSoftLabelAssigner
from omma_detection.models.assigners.grid import GridAssigner
from omma_detection.models.assigners.max_iou import Assignment, MaxIoUAssigner
from omma_detection.models.assigners.nearest_point import NearestPointAssigner
from omma_detection.models.assigners.paa import PAASeparation
from omma_detection.models.assigners.region import RegionAssigner
from omma_detection.models.assigners.sim_ota import SimOTAAssigner
from omma_detection.models.assigners.task_aligned import TaskAlignedAssigner
from omma_detection.models.assigners.uniform import Pairs, UniformAssigner

__all__ = [
    "ATSSAssigner",
    "Assignment",
    "CellAssignment",
    "CenterCellAssigner",
    "CenterRegionAssigner",
    "DynamicSoftLabelAssigner",
    "GridAssigner",
    "MaxIoUAssigner",
    "NearestPointAssigner",
    "PAASeparation",
    "Pairs",
    "RegionAssigner",
    "SimOTAAssigner",
    "TaskAlignedAssigner",
    "UniformAssigner",
]
