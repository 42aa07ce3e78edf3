"""What the recognition of actions is judged by."""

from omma_action.metrics.accuracy import ClipAccuracy
from omma_action.metrics.average_precision import MultiLabelMAP

__all__ = ["ClipAccuracy", "MultiLabelMAP"]
