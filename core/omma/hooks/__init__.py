"""What looks on: progress, logs, reports."""

from omma.hooks.base import Hook
from omma.hooks.environment import Environment
from omma.hooks.evaluation import EvaluationArtifacts
from omma.hooks.logs import JsonLog, TensorBoard
from omma.hooks.progress import Progress

__all__ = ["Environment", "EvaluationArtifacts", "Hook", "JsonLog", "Progress", "TensorBoard"]
