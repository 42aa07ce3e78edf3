"""Several processes: stopped and resumed runs, changes of their number, and what they make together."""

from __future__ import annotations

import pytest

from omma.optim import Adam, AdamW, EMASettings

from .resume_cases import resumed_differences

MATRIX = {
    "ddp": {"parallel": "ddp"},
    "ddp bf16, accumulation, average, two workers": {
        "parallel": "ddp",
        "precision": "bf16",
        "accumulate": 2,
        "workers": 2,
        "recipe": AdamW(lr=0.01),
        "ema": EMASettings(decay=0.9, warmup=3),
    },
    "ddp fp16, synchronised norms, clipping": {
        "parallel": "ddp",
        "precision": "fp16",
        "sync_bn": True,
        "clip_norm": 0.5,
        "recipe": Adam(lr=0.01),
    },
    "fsdp": {"parallel": "fsdp"},
    "fsdp bf16, accumulation, average, two workers": {
        "parallel": "fsdp",
        "precision": "bf16",
        "accumulate": 2,
        "workers": 2,
        "recipe": AdamW(lr=0.01),
        "ema": EMASettings(decay=0.9, warmup=3),
    },
    "fsdp fp16, synchronised norms, clipping": {
        "parallel": "fsdp",
        "precision": "fp16",
        "sync_bn": True,
        "clip_norm": 0.5,
        "recipe": Adam(lr=0.01),
    },
}


@pytest.mark.parametrize("name", MATRIX)
def test_interrupted_and_resumed_equals_straight(name, two_processes, tmp_path):
    assert two_processes.run(resumed_differences, tmp_path, batch=2, **MATRIX[name]) == [[], []]
