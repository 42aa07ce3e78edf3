"""What a run was made with, so that it can be made again."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import torch

from omma.hooks.base import Hook
from omma.ops.backend import operator_table
from omma.registry import register

if TYPE_CHECKING:
    from omma.runner.runner import Runner

_PACKAGES = [
    "omma",
    "torch",
    "torchvision",
    "numpy",
    "scipy",
    "opencv-python",
    "pycocotools",
    "faster-coco-eval",
    "safetensors",
    "pyyaml",
    "timm",
]


@register
class Environment(Hook):
    """Writes ``environment.json`` and the composed ``config.yaml`` into the run folder.

    A resumed run leaves those of its start and adds ``environment-STEP.json`` and ``config-STEP.yaml``.
    """

    def on_start(self, run: Runner) -> None:
        """See ``Hook``."""
        run.out.mkdir(parents=True, exist_ok=True)
        suffix = f"-{run.step:06d}" if run.step else ""
        report = environment() | {
            "command": sys.argv,
            "seed": run.settings.seed,
            "device": str(run.device),
            "parallel": run.mode,
            "batch_size": run.batch_size,
            "git": git_state(),
        }
        text = json.dumps(report, indent=2) + "\n"
        (run.out / f"environment{suffix}.json").write_text(text, encoding="utf-8")
        if run.config is not None:
            (run.out / f"config{suffix}.yaml").write_text(run.config.to_yaml(), encoding="utf-8")


def environment() -> dict[str, Any]:
    """Versions of the packages and the machine's devices, as plain JSON values."""
    return {
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in _PACKAGES}},
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version() if torch.backends.cudnn.is_available() else None,
        "gpus": [_gpu(index) for index in range(torch.cuda.device_count())],
        "ops": operator_table(),
    }


def git_state() -> dict[str, Any] | None:
    """Commit and changed files of the repository around the working folder; null outside one."""
    commit = _git("rev-parse", "HEAD")
    changed = _git("status", "--porcelain")
    return None if commit is None else {"commit": commit, "changed": (changed or "").splitlines()}


def _git(*words: str) -> str | None:
    try:
        done = subprocess.run(["git", *words], capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip("\n")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _gpu(index: int) -> str:
    properties = torch.cuda.get_device_properties(index)
    return f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB"
