"""Two processes with two images each make the gradients of one process with all four."""

from __future__ import annotations

import pytest
import torch

from . import detectors
from .loss_shares import losses_and_gradients


@pytest.mark.parametrize("name", detectors.DETECTORS)
def test_two_times_two_images_are_four(name, two_processes):
    losses, gradients = losses_and_gradients(name)
    parts = two_processes.run(losses_and_gradients, name)
    for loss, value in losses.items():
        mean = sum(part[0][loss] for part in parts) / len(parts)
        assert mean == pytest.approx(value, rel=1e-4), loss
    for _, shared in parts:
        assert shared.keys() == gradients.keys()
        for parameter, values in gradients.items():
            wanted, found = torch.tensor(values), torch.tensor(shared[parameter])
            scale = float(wanted.abs().max())
            torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-4 * scale + 1e-8, msg=parameter)
