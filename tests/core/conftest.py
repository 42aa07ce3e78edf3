"""Fixtures of the runner's tests."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from omma.runner import Runner

from .small_run import make_run


@pytest.fixture
def new_run() -> Callable[..., Runner]:
    """Makes a small run: ``new_run(out, steps=7, ...)``, see ``make_run``."""
    return make_run
