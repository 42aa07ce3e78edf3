"""The metric protocol; the metrics themselves live in the task packages."""

from omma.metrics.base import Metric, mean_of_known
from omma.metrics.report import Curves, Matrix, MetricReport, Ranking, Table

__all__ = ["Curves", "Matrix", "Metric", "MetricReport", "Ranking", "Table", "mean_of_known"]
