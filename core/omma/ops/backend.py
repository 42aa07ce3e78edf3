"""Which kernel an operator runs, and the one check of its arguments.

Every operator has a plain-PyTorch reference, and where they exist a kernel of torchvision, one in Triton, one
that calls numpy, scipy or OpenCV for tensors on the CPU, and one in PyTorch that is less plain than the
reference but faster on the CPU. The first in the operator's order of preference that fits the tensor's device
is taken. The environment variable ``OMMA_OPS``, read when ``omma.ops`` is imported, forces a choice::

    OMMA_OPS=reference                       every operator
    OMMA_OPS=triton                          every operator that has a Triton kernel; the others choose
    OMMA_OPS=nms=reference,soft_nms=triton   these two

A forced kernel that can't run on the tensors given is an error, never silently another one.

A Triton kernel lies in ``omma.ops.kernels``, which is imported when it is first called. It is registered as
a ``torch.library.custom_op`` named ``omma::NAME`` with ``register_fake`` and ``register_autograd``, its
backward being an op as well, so that ``torch.compile`` and ``torch.export`` see one opaque node with known
shapes. Coordinates are float32 or better when they reach it, under autocast too.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from omma.errors import SetupError

Backend = Literal["torchvision", "triton", "numpy", "pytorch", "reference"]
BACKENDS: tuple[str, ...] = get_args(Backend)
DEVICES = {"torchvision": ("cpu", "cuda"), "triton": ("cuda",), "numpy": ("cpu",), "pytorch": ("cpu",)}
"""Types of devices that a backend's kernels run on; the reference runs on every one."""
_LEAST_CAPABILITY = 7
"""Triton compiles for NVIDIA GPUs from Volta on."""

# Looked up once, without importing Triton: tracing must meet plain constants here.
TRITON_INSTALLED = importlib.util.find_spec("triton") is not None
TRITON_INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"

OPERATORS: dict[str, Operator] = {}
"""All operators by name, filled as their modules are imported."""
_forced: dict[str, str] = {}
"""Backend by operator, or under ``*`` for all."""


class Operator:
    """An operator's kernels, in order of preference.

    Args:
        name: of the operator, as exported by ``omma.ops``.
        kernels: function by backend, best first; all take the same arguments and give the same results.
            ``reference`` must be among them. A Triton kernel's function imports its module when it is called.
    """

    def __init__(self, name: str, /, **kernels: Callable[..., Any]) -> None:
        if unknown := set(kernels) - set(BACKENDS):
            raise ValueError(f"{name}: unknown backend {sorted(unknown)[0]}; there are {', '.join(BACKENDS)}")
        if "reference" not in kernels:
            raise ValueError(f"{name}: an operator needs a reference in plain PyTorch")
        if name in OPERATORS:
            raise ValueError(f"there are two operators named {name}")
        self.name = name
        self.kernels = kernels
        OPERATORS[name] = self

    def choose(self, x: Tensor) -> str:
        """The backend for arguments on the device of ``x``.

        Raises:
            SetupError: a backend is forced that can't run there.
        """
        forced = _forced.get(self.name)
        if forced is None and _forced.get("*") in self.kernels:
            forced = _forced["*"]
        if forced is not None:
            if why := _obstacle(forced, x.device, forced=True):
                raise SetupError(f"{self.name}: OMMA_OPS asks for {forced}, which {why}")
            return forced
        for backend in self.kernels:
            if _obstacle(backend, x.device) is None:
                return backend
        raise AssertionError("the reference runs everywhere")

    def kernel(self, x: Tensor) -> Callable[..., Any]:
        """The function of the chosen backend."""
        return self.kernels[self.choose(x)]


def _obstacle(backend: str, device: torch.device, *, forced: bool = False) -> str | None:
    """Why a backend's kernels can't run on a device, or None."""
    if backend == "reference":
        return None
    if backend == "triton" and not TRITON_INSTALLED:
        return "isn't installed; `pip install triton`, or use another backend"
    # The interpreter is thousands of times slower than anything else: only for tests, and only on demand.
    if backend == "triton" and device.type == "cpu" and forced and TRITON_INTERPRETED:
        return None
    if device.type not in DEVICES[backend]:
        hint = " unless TRITON_INTERPRET=1 is set" if (backend, device.type) == ("triton", "cpu") else ""
        return f"runs on {' or '.join(DEVICES[backend])}, not on {device.type}{hint}"
    if backend == "triton" and torch.version.hip is None and not _triton_compiles_for(device.index or 0):
        return f"needs a GPU of compute capability {_LEAST_CAPABILITY}.0 or more"
    return None


@torch.compiler.assume_constant_result
def _triton_compiles_for(index: int) -> bool:
    return torch.cuda.get_device_capability(index)[0] >= _LEAST_CAPABILITY


def parse_choice(text: str) -> dict[str, str]:
    """The value of ``OMMA_OPS`` as backend by operator, ``*`` for all.

    Raises:
        SetupError: a word names no backend. Names of operators are checked by ``check_choice``, once all
            operators are known.
    """
    chosen: dict[str, str] = {}
    for word in filter(None, (part.strip() for part in text.split(","))):
        name, _, backend = word.rpartition("=")
        if backend not in (*BACKENDS, "auto"):
            raise SetupError(
                f"OMMA_OPS: unknown backend {backend!r} in {text!r}; give one of {', '.join(BACKENDS)}, "
                "auto, or pairs like nms=reference,soft_nms=triton"
            )
        if backend == "auto":
            chosen.pop(name or "*", None)
        else:
            chosen[name or "*"] = backend
    return chosen


def check_choice(chosen: dict[str, str]) -> None:
    """Hold a parsed choice against the operators there are.

    Raises:
        SetupError: an operator is unknown or lacks the backend.
    """
    for name, backend in chosen.items():
        if name == "*":
            continue
        if name not in OPERATORS:
            raise SetupError(f"OMMA_OPS: no operator {name!r}; there are {', '.join(sorted(OPERATORS))}")
        if backend not in OPERATORS[name].kernels:
            has = ", ".join(OPERATORS[name].kernels)
            raise SetupError(f"OMMA_OPS: {name} has no backend {backend}; it has {has}")


def check_environment() -> None:
    """Hold ``OMMA_OPS`` against the operators there are, once all are imported.

    Raises:
        SetupError: see ``check_choice``.
    """
    check_choice(_forced)


@contextmanager
def force_backend(choice: str) -> Iterator[None]:
    """Within the context the choice is as if ``OMMA_OPS`` had this value.

    Raises:
        SetupError: see ``parse_choice`` and ``check_choice``.
    """
    global _forced
    chosen = parse_choice(choice)
    check_choice(chosen)
    before, _forced = _forced, chosen
    try:
        yield
    finally:
        _forced = before


def operator_table() -> dict[str, dict[str, Any]]:
    """Of each operator the backend ``taken`` on this machine's best device, and all there ``are``.

    The best device is the first GPU, or else the CPU. A forced backend that can't run there is told instead
    of a name.
    """
    device = torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
    table = {}
    for name, operator in sorted(OPERATORS.items()):
        try:
            taken = operator.choose(torch.empty(0, device=device))
        except SetupError as error:
            taken = str(error)
        table[name] = {"taken": taken, "are": list(operator.kernels)}
    return table


_forced = parse_choice(os.environ.get("OMMA_OPS", ""))
