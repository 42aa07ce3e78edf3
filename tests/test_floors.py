"""The house's rules that a tool can check."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = [
    "core/omma",
    "detection/omma_detection",
    "segmentation/omma_segmentation",
    "pose/omma_pose",
    "action/omma_action",
]
SOURCES = sorted(file for package in PACKAGES for file in (ROOT / package).rglob("*.py"))


def test_imports_never_go_up():
    command = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    done = subprocess.run([sys.executable, "-c", command], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("package", PACKAGES[1:])
def test_a_task_package_imports_no_other(package: str):
    others = {Path(other).name for other in PACKAGES[1:]} - {Path(package).name}
    for file in (ROOT / package).rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not {name.split(".")[0] for name in names} & others, file


@pytest.mark.parametrize("statement", ["import omma", "import omma.registry, omma.config, omma.cli.main"])
def test_the_light_floors_import_no_torch(statement: str):
    code = f"{statement}; import sys; print([m for m in ('torch', 'numpy', 'cv2') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_no_source_runs_text_or_pickles():
    """Configs, weights and annotations of strangers are read by these files."""
    forbidden = {"eval", "exec", "pickle.load", "pickle.loads", "yaml.load", "yaml.unsafe_load", "os.system"}
    for file in SOURCES:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call):
                name = ast.unparse(node.func)
                assert name not in forbidden, f"{file}:{node.lineno} calls {name}"
                shell = [k.value for k in node.keywords if k.arg == "shell"]
                assert not any(getattr(value, "value", None) for value in shell), (
                    f"{file}:{node.lineno} uses a shell"
                )
                safe = [k.value for k in node.keywords if k.arg == "weights_only"]
                if name == "torch.load":
                    assert safe, f"{file}:{node.lineno} loads without weights_only"
                    assert getattr(safe[0], "value", False) is True, f"{file}:{node.lineno} loads unsafely"
