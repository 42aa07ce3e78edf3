"""Which process this is among how many, and the few things that processes tell each other.

``torchrun`` starts them and sets the environment; with one process everything here is a no-op.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any, Literal, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from omma.errors import SetupError
from omma.parallel.whereabouts import collective

T = TypeVar("T")


def pick_device(name: Literal["auto", "cpu", "cuda"]) -> torch.device:
    """This process's device.

    Raises:
        SetupError: ``cuda`` is asked for and absent.
    """
    if name == "cpu" or (name == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    local = int(os.environ.get("LOCAL_RANK", "0"))
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if local >= count:
        raise SetupError(
            f"device 'cuda' is asked for by local process {local}, but PyTorch sees {count} here; "
            "set train.device=auto or cpu (omma test and predict: --device), or start fewer processes"
        )
    return torch.device("cuda", local)


def start_processes(device: torch.device, timeout: float | None = 1800.0) -> None:
    """Join the process group that ``torchrun`` describes; nothing to do without it or a second time.

    ``timeout`` is the watchdog's, in seconds; what waits for another process gives up a little later.
    """
    if device.type == "cuda":
        torch.cuda.set_device(device)
    if not dist.is_initialized() and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        # Both: tensors of the CPU travel by gloo also where the model is on GPUs.
        backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
        patience = timedelta(days=365) if timeout is None else timedelta(seconds=1.5 * timeout + 5)
        dist.init_process_group(backend, timeout=patience)


def end_processes() -> None:
    """Leave the process group, if there is one."""
    if dist.is_initialized():
        dist.destroy_process_group()


def rank() -> int:
    """Number of this process, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def world() -> int:
    """How many processes there are."""
    return dist.get_world_size() if dist.is_initialized() else 1


def is_main() -> bool:
    """Whether this is process 0, which writes and prints."""
    return rank() == 0


def gather(value: T) -> list[T]:
    """The ``value`` of every process, on process 0; an empty list on the others."""
    if world() == 1:
        return [value]
    values: list[Any] = [None] * world()
    with collective("gather (records, states)"):
        dist.gather_object(value, values if is_main() else None)
    return values if is_main() else []


def from_main(make: Callable[[], T]) -> T:
    """What ``make`` returns on process 0, on every process. An error there is raised everywhere."""
    if world() == 1:
        return make()
    outcome: list[Any] = [None, None]
    error: Exception | None = None
    if is_main():
        try:
            outcome[0] = make()
        except Exception as caught:  # told to the others first, who would wait for ever
            error = caught
            outcome[1] = f"{type(caught).__name__}: {caught}"
    with collective("broadcast (what process 0 made)"):
        dist.broadcast_object_list(outcome)
    if error is not None:
        raise error
    if outcome[1] is not None:
        raise SetupError(f"process 0 failed: {outcome[1]}")
    return outcome[0]


def largest(value: int) -> int:
    """The largest ``value`` over all processes."""
    if world() == 1:
        return value
    tensor = torch.tensor(value)
    with collective("all_reduce (requests to stop)"):
        dist.all_reduce(tensor, dist.ReduceOp.MAX)
    return int(tensor)


def mean(tensor: Tensor) -> Tensor:
    """``tensor`` averaged over all processes."""
    if world() == 1:
        return tensor
    total = tensor.clone()
    with collective("all_reduce (logged losses)"):
        dist.all_reduce(total)
    return total / world()


def normalizer(count: Tensor | float, *, least: float = 1.0) -> Tensor | float:
    """What each process divides its summed loss by, so that all samples of all processes count alike.

    Gradients are averaged over processes. A process that divided by its own ``count`` (of positives, of
    regions) would make much of its few; with the mean over all processes, N processes with a share of the
    batch each give the gradients of one process with all of it. Every process must ask, in the same order.

    Args:
        count: of this process.
        least: the total over all processes is taken to be no less.
    """
    if world() == 1:
        return count.clamp(min=least) if isinstance(count, Tensor) else max(count, least)
    # A number travels on the CPU: the device need not be waited for.
    total = count.detach().float().clone() if isinstance(count, Tensor) else torch.tensor(float(count))
    with collective("all_reduce (counts of the losses)"):
        dist.all_reduce(total)
    share = total.clamp(min=least) / world()
    return share if isinstance(count, Tensor) else float(share)


def share_tensors(tensors: Iterable[Tensor]) -> None:
    """Overwrite ``tensors`` with those of process 0."""
    if world() == 1:
        return
    kinds: dict[tuple[torch.dtype, torch.device], list[Tensor]] = {}
    for tensor in tensors:
        kinds.setdefault((tensor.dtype, tensor.device), []).append(tensor.detach())
    for same in kinds.values():
        # In one message: a model has hundreds of small ones.
        flat = torch.cat([tensor.reshape(-1) for tensor in same])
        with collective("broadcast (weights or buffers)"):
            dist.broadcast(flat, src=0)
        for tensor, values in zip(same, flat.split([tensor.numel() for tensor in same])):
            tensor.copy_(values.view_as(tensor))


def share_buffers(model: nn.Module) -> None:
    """Give every process the buffers (running statistics) of process 0.

    Each process updates its own from its own batches. Shared after every step, they and their averages are
    the same everywhere, as a checkpoint has them.
    """
    share_tensors(model.buffers())
