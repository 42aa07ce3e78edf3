"""The training loop and evaluation."""

from omma.runner.evaluate import EvalResult, evaluate
from omma.runner.runner import Runner, TrainResult
from omma.runner.settings import EarlyStop, Train
from omma.runner.watch import NonFiniteLossError

__all__ = ["EarlyStop", "EvalResult", "NonFiniteLossError", "Runner", "Train", "TrainResult", "evaluate"]
