"""Processes, and one model over many of them."""

from omma.parallel.processes import (
    end_processes,
    from_main,
    gather,
    is_main,
    largest,
    mean,
    normalizer,
    pick_device,
    rank,
    share_buffers,
    start_processes,
    world,
)
from omma.parallel.watchdog import Watchdog, watched
from omma.parallel.whereabouts import here
from omma.parallel.whole import load_whole_optimizer, load_whole_weights, sharded_state, whole_state
from omma.parallel.wrap import (
    LossModule,
    backward,
    gradient_exchange,
    gradient_norm,
    pick_mode,
    wrap,
    writers_group,
)

__all__ = [
    "LossModule",
    "Watchdog",
    "backward",
    "end_processes",
    "from_main",
    "gather",
    "gradient_exchange",
    "gradient_norm",
    "here",
    "is_main",
    "largest",
    "load_whole_optimizer",
    "load_whole_weights",
    "mean",
    "normalizer",
    "pick_device",
    "pick_mode",
    "rank",
    "sharded_state",
    "share_buffers",
    "start_processes",
    "watched",
    "whole_state",
    "world",
    "wrap",
    "writers_group",
]
