"""Every operator and backend: values, gradients, precision, tracing."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from omma.ops.backend import OPERATORS, TRITON_INSTALLED, TRITON_INTERPRETED, force_backend

from . import (
    attention_cases,
    box_cases,
    convolution_cases,
    loss_cases,
    mask_cases,
    region_cases,
    rotated_cases,
    suppression_cases,
)
from .cases import Case, Inputs

CASES: tuple[Case, ...] = (
    *box_cases.CASES,
    *suppression_cases.CASES,
    *rotated_cases.CASES,
    *region_cases.CASES,
    *mask_cases.CASES,
    *loss_cases.CASES,
    *convolution_cases.CASES,
    *attention_cases.CASES,
)

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
RUNNABLE = {
    "reference": True,
    "torchvision": True,
    "numpy": DEVICE == "cpu",
    "pytorch": DEVICE == "cpu",
    "triton": TRITON_INSTALLED and (DEVICE == "cuda" or TRITON_INTERPRETED),
}
PAIRS = [
    (case, backend)
    for case in CASES
    for backend in (OPERATORS[case.op].kernels if case.op in OPERATORS else ("reference",))
    if RUNNABLE[backend]
]


def every_pair(where: Callable[[Case, str], object] = lambda case, backend: True) -> pytest.MarkDecorator:
    """Run the test on every case and backend, or those that it makes sense for."""
    chosen = [pytest.param(c, b, id=f"{c.name}-{b}") for c, b in PAIRS if where(c, b)]
    return pytest.mark.parametrize(("case", "backend"), chosen)


def problem(case: Case, size: int, seed: int = 0) -> Inputs:
    return case.make(size, torch.Generator().manual_seed(seed))


def cast(inputs: Inputs, dtype: torch.dtype) -> Inputs:
    """Tensors on the device, those of floating point in ``dtype``."""
    return {
        name: (x.to(DEVICE, dtype) if x.is_floating_point() else x.to(DEVICE)) if isinstance(x, Tensor) else x
        for name, x in inputs.items()
    }


def forced(case: Case, backend: str) -> AbstractContextManager[None]:
    """Operators that are nothing but plain PyTorch aren't in the table of choices."""
    return force_backend(f"{case.op}={backend}") if case.op in OPERATORS else nullcontext()


def run(case: Case, backend: str, inputs: Inputs) -> Any:
    with forced(case, backend):
        return case.function(**inputs, **case.settings)


def assert_same(actual: Any, expected: Any, tolerance: float) -> None:
    if isinstance(expected, Tensor):
        actual, expected = actual.detach().cpu(), expected.detach().cpu()
        if expected.is_floating_point():
            actual = actual.to(expected.dtype)
        torch.testing.assert_close(actual, expected, atol=tolerance, rtol=tolerance, equal_nan=True)
        return
    assert len(actual) == len(expected)
    for one, other in zip(actual, expected):
        assert_same(one, other, tolerance)


def outputs(result: Any) -> list[Tensor]:
    return [result] if isinstance(result, Tensor) else [x for part in result for x in outputs(part)]


@every_pair()
def test_agrees_with_float64(case: Case, backend: str):
    problems = [problem(case, size) for size in (case.size, *case.sizes)]
    problems += case.extremes() if case.extremes else []
    for inputs in problems:
        # The truth sees the numbers that float32 holds.
        rounded = cast(inputs, torch.float32)
        expected = case.truth(**{k: _exact(v) for k, v in rounded.items()}, **case.settings)
        assert_same(run(case, backend, rounded), expected, case.tolerance)


def _exact(x: Any) -> Any:
    return (
        x.cpu().double()
        if isinstance(x, Tensor) and x.is_floating_point()
        else x.cpu()
        if isinstance(x, Tensor)
        else x
    )


def _tensors() -> list[Any]:
    """Each tensor that each case gives to its operator, after the first of it."""
    chosen = {}
    for case in CASES:
        names = [name for name, x in problem(case, case.size).items() if isinstance(x, Tensor)]
        for name in names:
            chosen.setdefault(
                (case.op, name), pytest.param(case, name, name == names[0], id=f"{case.op}-{name}")
            )
    return list(chosen.values())


@pytest.mark.parametrize(("case", "name", "first"), _tensors())
def test_a_tensor_that_does_not_fit_is_named(case: Case, name: str, first: bool):
    inputs = cast(problem(case, case.size), torch.float32)

    def check(x: Tensor, told: str) -> None:
        with pytest.raises(ValueError, match=rf"^\w+: {name} must {told}"):
            case.function(**inputs | {name: x}, **case.settings)

    x = inputs[name]
    check(x.new_zeros(()), r"have shape \(")
    check(x.to(torch.complex64), "be (floating point|integers|bool|real numbers), got complex64")
    if not first:
        check(x.to("meta"), f"be on {DEVICE}")


@every_pair()
def test_takes_strided_tensors(case: Case, backend: str):
    inputs = cast(problem(case, case.size), torch.float32)
    strided = {
        k: torch.stack([x, x], dim=-1)[..., 0] if isinstance(x, Tensor) and x.ndim else x
        for k, x in inputs.items()
    }
    assert_same(run(case, backend, strided), run(case, backend, inputs), case.tolerance)


@every_pair(lambda case, backend: case.differentiable and backend in case.float64)
def test_gradients_are_those_of_finite_differences(case: Case, backend: str):
    inputs = cast(problem(case, min(case.size, 4)), torch.float64)
    leaves = [inputs[name].requires_grad_() for name in case.differentiable]

    def call(*leaves: Tensor) -> tuple[Tensor, ...]:
        result = run(case, backend, inputs | dict(zip(case.differentiable, leaves)))
        return tuple(x for x in outputs(result) if x.is_floating_point())

    assert torch.autograd.gradcheck(call, leaves, fast_mode=True)


@every_pair(lambda case, backend: case.differentiable and 0 in case.sizes)
def test_empty_inputs_keep_the_graph(case: Case, backend: str):
    inputs = cast(problem(case, 0), torch.float32)
    leaves = [inputs[name].requires_grad_() for name in case.differentiable]
    total = torch.stack([x.sum() for x in outputs(run(case, backend, inputs)) if x.is_floating_point()]).sum()
    for gradient, leaf in zip(torch.autograd.grad(total, leaves), leaves):
        assert gradient.shape == leaf.shape
        assert (gradient == 0).all()


@every_pair(lambda case, backend: case.half)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=["bf16", "fp16"])
def test_half_precision_is_only_rounded(case: Case, backend: str, dtype: torch.dtype):
    tolerance = case.half_tolerance / (8 if dtype == torch.float16 else 1)
    inputs = cast(problem(case, case.size), torch.float32)
    inputs |= {name: inputs[name].to(dtype) for name in case.half}
    expected = case.truth(**{k: _exact(v) for k, v in inputs.items()}, **case.settings)
    assert_same(run(case, backend, inputs), expected, tolerance)
    with torch.autocast(DEVICE, dtype):
        assert_same(run(case, backend, inputs), expected, tolerance)


@every_pair(lambda case, backend: backend not in case.untraced)
def test_compiles_into_one_graph(case: Case, backend: str):
    inputs = cast(problem(case, case.size), torch.float32)
    for name in case.differentiable:
        inputs[name].requires_grad_()
    expected = run(case, backend, inputs)
    # The graph must follow values into shapes, where the operator does.
    allow = {"capture_dynamic_output_shape_ops": case.dynamic, "capture_scalar_outputs": case.dynamic}
    torch._dynamo.reset()
    with torch._dynamo.config.patch(allow), forced(case, backend):
        compiled = torch.compile(
            lambda x: case.function(**x, **case.settings), fullgraph=True, backend="aot_eager"
        )
        actual = compiled(inputs)
    assert_same(actual, expected, case.tolerance)
    if case.differentiable:
        leaves = [inputs[name] for name in case.differentiable]
        for one, other in zip(_gradients(actual, leaves), _gradients(expected, leaves)):
            assert_same(one, other, 10 * case.tolerance)


def _gradients(result: Any, leaves: list[Tensor]) -> tuple[Tensor, ...]:
    total = torch.stack([x.square().sum() for x in outputs(result) if x.is_floating_point()]).sum()
    return torch.autograd.grad(total, leaves)


class _Wrapped(nn.Module):
    def __init__(self, case: Case, others: dict[str, Any]) -> None:
        super().__init__()
        self.case, self.others = case, others

    def forward(self, **inputs: Tensor) -> Any:
        return self.case.function(**inputs, **self.others, **self.case.settings)


@every_pair(lambda case, backend: backend not in case.untraced)
def test_exports(case: Case, backend: str):
    inputs = cast(problem(case, case.size), torch.float32)
    tensors = {k: x for k, x in inputs.items() if isinstance(x, Tensor)}
    module = _Wrapped(case, {k: x for k, x in inputs.items() if k not in tensors})
    with forced(case, backend):
        program = torch.export.export(module, (), tensors)
        assert_same(program.module()(**tensors), module(**tensors), case.tolerance)


class _Recorder(TorchDispatchMode):
    """Calls of Omma's own operators, in the order in which they are made."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: dict[Any, tuple[tuple[Any, ...], dict[str, Any]]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.namespace == "omma":
            self.calls.setdefault(func, (args, kwargs or {}))
        return func(*args, **(kwargs or {}))


@every_pair()
def test_library_registration_is_sound(case: Case, backend: str):
    inputs = cast(problem(case, case.size), torch.float32)
    leaves = [inputs[name].requires_grad_() for name in case.differentiable]
    with _Recorder() as recorder:
        result = run(case, backend, inputs)
        if leaves:
            _gradients(result, leaves)
    for op, (args, kwargs) in recorder.calls.items():
        # What a backward pass calls isn't differentiated again.
        again = bool(leaves) and "backward" not in op.name()
        fresh = [
            x.detach().clone().requires_grad_(again and x.is_floating_point()) if isinstance(x, Tensor) else x
            for x in args
        ]
        torch.library.opcheck(op, tuple(fresh), kwargs)
