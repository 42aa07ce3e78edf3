"""Triton's compiler takes less than its interpreter: kernels are compiled too."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from omma.ops.backend import TRITON_INSTALLED


@pytest.mark.skipif(not TRITON_INSTALLED, reason="needs Triton's compiler")
def test_every_kernel_compiles_to_machine_code():
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment["PYTHONPATH"] = ":".join(filter(None, sys.path))
    script = Path(__file__).with_name("compile_kernels.py")
    done = subprocess.run([sys.executable, script], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    sizes = [int(line.split()[-1]) for line in done.stdout.splitlines()]
    assert sizes
    assert all(sizes)
