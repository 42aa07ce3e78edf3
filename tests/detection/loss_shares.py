"""The gradients of a detector over a share of four images."""

from __future__ import annotations

import torch
from torch import nn

from omma.parallel import gradient_exchange, rank, start_processes, world, wrap
from omma_detection.models.samplers import RandomBoxSampler

from . import detectors

OBJECTS = [
    detectors.TWO_OBJECTS,
    [[5.0, 5, 60, 80], [60, 10, 120, 90], [20, 40, 50, 70]],
    [],
    [[30.0, 20, 100, 90]],
]


def losses_and_gradients(name: str) -> tuple[dict[str, float], dict[str, list[float]]]:
    """Losses of this process's part of the images, and gradients exchanged between processes."""
    device = torch.device("cpu")
    start_processes(device)
    torch.manual_seed(0)
    model = detectors.DETECTORS[name]()
    take_every_box(model)
    net = wrap(model, "ddp" if world() > 1 else "none", device)
    whole = detectors.batch(*[detectors.sample(boxes, (96, 128)) for boxes in OBJECTS])
    share = len(OBJECTS) // world()
    own = slice(rank() * share, (rank() + 1) * share)
    part = type(whole)(whole.images[own], whole.samples[own])
    with gradient_exchange(net, model, last=True):
        losses = net(part)
        torch.stack(list(losses.values())).sum().backward()
    gradients = {n: p.grad.flatten().tolist() for n, p in model.named_parameters() if p.grad is not None}
    return {key: float(value.detach()) for key, value in losses.items()}, gradients


def take_every_box(model: nn.Module) -> None:
    """Samplers draw at random, and other boxes in another process."""
    for module in model.modules():
        for part in vars(module).values():
            if isinstance(part, RandomBoxSampler):
                part.num, part.positive_fraction = 10**6, 1.0
