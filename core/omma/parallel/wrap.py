"""One model over many processes: replicated (DDP) or sharded (FSDP2)."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterable, Iterator
from typing import Literal

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

from omma.errors import SetupError
from omma.model import Model
from omma.parallel.processes import share_tensors, world
from omma.parallel.whereabouts import collective
from omma.structures import Batch

Mode = Literal["none", "ddp", "fsdp"]


class LossModule(nn.Module):
    """``model.loss`` behind ``forward``, the only method that DDP exchanges gradients for."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Named scalar losses of ``batch``."""
        return self.model.loss(batch)


def pick_mode(asked: Literal["auto", "none", "ddp", "fsdp"]) -> Mode:
    """The mode for this number of processes.

    Raises:
        SetupError: ``none`` among several processes, or ``fsdp`` without a process group.
    """
    if asked == "auto":
        return "ddp" if world() > 1 else "none"
    if asked == "none" and world() > 1:
        raise SetupError(
            f"train.parallel is none, but {world()} processes were started; use ddp, fsdp or auto"
        )
    if asked != "none" and world() == 1:
        raise SetupError(
            f"train.parallel is {asked}, but there is one process; start several with "
            "'torchrun --nproc-per-node N -m omma train ...', or use auto"
        )
    return asked


def wrap(model: Model, mode: Mode, device: torch.device, *, accumulate: int = 1) -> nn.Module:
    """A module whose call with a batch gives the losses; ``model`` itself keeps its parameter names.

    All processes start from the weights of process 0. Under ``fsdp`` the model is sharded in place.
    ``accumulate`` is how many batches a step has.
    """
    share_tensors([*model.parameters(), *model.buffers()])
    if mode == "fsdp":
        mesh = init_device_mesh(device.type, (world(),))
        for unit in model.compile_units():
            fully_shard(unit, mesh=mesh)
        fully_shard(model, mesh=mesh)
        for method in ("loss", "predict"):
            register_fsdp_forward_method(model, method)
    losses = LossModule(model)
    return _replicated(losses, model.static_graph and accumulate == 1) if mode == "ddp" else losses


def _replicated(losses: LossModule, static_graph: bool) -> DistributedDataParallel:
    # After its first step DDP regroups the gradients unless it looks for unused parameters, and a ring adds
    # up three or more numbers in an order that hangs on their place in the group. So a resumed run, which has
    # a first step of its own, would get other bits than a straight one; two numbers have but one sum.
    static_graph = static_graph and world() == 2
    warnings.filterwarnings("ignore", "find_unused_parameters=True was specified", UserWarning)
    warnings.filterwarnings("ignore", "`broadcast_buffers` is deprecated", FutureWarning)
    return DistributedDataParallel(
        losses,
        # Shared in the loop, in the same way as under fsdp.
        broadcast_buffers=False,
        find_unused_parameters=not static_graph,
        static_graph=static_graph,
    )


def writers_group(mode: Mode) -> dist.ProcessGroup:
    """A group of all processes for the threads that write shards, whose messages must not meet training's.

    Raises:
        SetupError: nothing is sharded in this mode.
    """
    if mode != "fsdp":
        raise SetupError(
            f"train.checkpoint is sharded, but the model is not (parallel: {mode}); use fsdp or whole"
        )
    group = dist.new_group(backend="gloo")
    assert isinstance(group, dist.ProcessGroup)
    return group


@contextlib.contextmanager
def gradient_exchange(net: nn.Module, model: nn.Module, last: bool) -> Iterator[None]:
    """Gradients travel between processes only after the last of the accumulated batches."""
    if isinstance(model, FSDPModule):
        model.set_requires_gradient_sync(last)
        yield
    elif isinstance(net, DistributedDataParallel) and not last:
        with net.no_sync():
            yield
    else:
        yield


def backward(total: Tensor, *, last: bool) -> None:
    """Gradients of ``total``, exchanged between processes after the last of the accumulated batches."""
    if last and world() > 1:
        with collective("all_reduce (gradients)"):
            total.backward()
    else:
        total.backward()


def gradient_norm(parameters: Iterable[Tensor], clip: float | None) -> Tensor:
    """L2 norm of all gradients together, which are first scaled down to ``clip`` if they exceed it."""
    with_grad = [parameter for parameter in parameters if parameter.grad is not None]
    if clip is not None:
        norm = torch.nn.utils.clip_grad_norm_(with_grad, clip)
    else:
        norm = torch.nn.utils.get_total_norm([p.grad for p in with_grad if p.grad is not None])
    return norm.full_tensor() if isinstance(norm, DTensor) else norm
