"""The choice of kernels, and the check of arguments."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch

from omma.cli.main import main
from omma.errors import SetupError
from omma.ops import backend
from omma.ops.arguments import check_tensors
from omma.ops.backend import OPERATORS, Operator, force_backend, operator_table


@pytest.fixture
def operator(monkeypatch: pytest.MonkeyPatch) -> Operator:
    """With every kind of kernel; gone after the test."""
    monkeypatch.setattr(backend, "OPERATORS", {})
    return Operator("sum", torchvision=torch.sum, triton=torch.sum, numpy=torch.sum, reference=torch.sum)


def test_the_first_kernel_that_fits_the_device_is_taken(operator: Operator):
    assert operator.choose(torch.zeros(1)) == "torchvision"
    assert operator.choose(torch.zeros(1, device="meta")) == "reference"


def test_interpreted_triton_is_never_taken_unasked(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(backend, "OPERATORS", {})
    monkeypatch.setattr(backend, "TRITON_INTERPRETED", True)
    operator = Operator("sum", triton=torch.sum, reference=torch.sum)
    assert operator.choose(torch.zeros(1)) == "reference"


def test_all_operators_can_be_forced_and_one_of_them_otherwise(operator: Operator):
    with force_backend("reference, sum=numpy"):
        assert operator.choose(torch.zeros(1)) == "numpy"
    with force_backend("reference,sum=auto"):
        assert operator.choose(torch.zeros(1)) == "reference"
    assert operator.choose(torch.zeros(1)) == "torchvision"


def test_forcing_all_leaves_operators_without_that_kernel_to_choose(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(backend, "OPERATORS", {})
    operator = Operator("sum", numpy=torch.sum, reference=torch.sum)
    with force_backend("torchvision"):
        assert operator.choose(torch.zeros(1)) == "numpy"


def test_a_forced_kernel_that_cannot_run_is_an_error(operator: Operator, monkeypatch: pytest.MonkeyPatch):
    with (
        force_backend("numpy"),
        pytest.raises(SetupError, match="sum: OMMA_OPS asks for numpy, which runs on cpu"),
    ):
        operator.choose(torch.zeros(1, device="meta"))
    monkeypatch.setattr(backend, "TRITON_INSTALLED", True)
    monkeypatch.setattr(backend, "TRITON_INTERPRETED", False)
    with (
        force_backend("triton"),
        pytest.raises(SetupError, match="not on cpu unless TRITON_INTERPRET=1 is set"),
    ):
        operator.choose(torch.zeros(1))
    monkeypatch.setattr(backend, "TRITON_INSTALLED", False)
    with force_backend("triton"), pytest.raises(SetupError, match="triton, which isn't installed"):
        operator.choose(torch.zeros(1))


@pytest.mark.parametrize(
    ("choice", "told"),
    [
        (
            "cuda",
            "OMMA_OPS: unknown backend 'cuda' in 'cuda'; give one of torchvision, triton, numpy, pytorch, "
            "reference",
        ),
        ("nms=fast", "unknown backend 'fast'"),
        ("nmss=reference", "no operator 'nmss'; there are .*nms"),
        ("nms=triton", "nms has no backend triton; it has torchvision, reference"),
    ],
)
def test_an_unknown_choice_is_an_error(choice: str, told: str):
    with pytest.raises(SetupError, match=told), force_backend(choice):
        pass


def test_env_shows_every_operator(capsys: pytest.CaptureFixture[str]):
    assert main(["env"]) == 0
    shown = capsys.readouterr().out.splitlines()
    for name, kernels in operator_table().items():
        assert [name, kernels["taken"], *", ".join(kernels["are"]).split()] in [
            line.split() for line in shown
        ]


def test_every_operator_has_a_reference_and_is_exported():
    import omma.ops

    for name, operator in OPERATORS.items():
        assert "reference" in operator.kernels
        assert name in omma.ops.__all__


def test_the_environment_variable_chooses_and_nothing_needs_triton():
    code = (
        "import json, sys; sys.modules['triton'] = None\n"
        "import torch, omma.ops\n"
        "from omma.ops.backend import operator_table\n"
        "kept = omma.ops.nms(torch.zeros(1, 4), torch.ones(1), iou_threshold=0.5).tolist()\n"
        "kernels = [name for name in sys.modules if name.startswith('omma.ops.kernels.')]\n"
        "print(json.dumps([kept, kernels, operator_table()['nms']]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"OMMA_OPS": "nms=reference", "PYTHONPATH": ":".join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout) == [[0], [], {"taken": "reference", "are": ["torchvision", "reference"]}]


def test_arguments_share_the_lengths_of_named_axes():
    good = ("a", torch.zeros(2, 3), ("N", 3), "float")
    check_tensors("op", good, ("b", torch.zeros(7, 2, dtype=torch.int32), (..., "N"), "int"))
    with pytest.raises(ValueError, match=r"^op: b must have shape \(2,\), got \(5,\)$"):
        check_tensors("op", good, ("b", torch.zeros(5), ("N",), "any"))
    with pytest.raises(ValueError, match=r"^op: b must have shape \(\.\.\., 4\), got \(\)$"):
        check_tensors("op", good, ("b", torch.zeros(()), (..., 4), "any"))


def test_arguments_of_a_wrong_dtype_or_device_are_named():
    with pytest.raises(ValueError, match=r"^op: a must be integers, got bool$"):
        check_tensors("op", ("a", torch.zeros(2, dtype=torch.bool), ("N",), "int"))
    with pytest.raises(ValueError, match=r"^op: b must be on cpu as a is, got meta$"):
        check_tensors(
            "op", ("a", torch.zeros(2), ("N",), "any"), ("b", torch.zeros(2, device="meta"), ("N",), "any")
        )
