"""omma show, diff, explain and schema, as a user calls them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from omma.cli.main import main
from omma.config import Config, in_line

PARENT = """\
model: {type: FCOS, name: "a: b", widths: [1, 2, 3]}
steps:
  - {type: Flip, p: 0.5}
  - {type: Crop, size: [3, 4]}
"""
CHILD = "base: parent.yaml\nmodel:\n  depth: 50\ntrain: {}\n"


@pytest.fixture
def child(tmp_path: Path, monkeypatch) -> str:
    (tmp_path / "parent.yaml").write_text(PARENT)
    (tmp_path / "child.yaml").write_text(CHILD)
    monkeypatch.chdir(tmp_path)
    return "child.yaml"


def test_show_prints_each_value_with_its_origin(child: str, capsys):
    assert main(["show", child, "steps.0.p=1"]) == 0
    lines = [line.split("  # ") for line in capsys.readouterr().out.splitlines()]
    assert [[part.strip() for part in line] for line in lines] == [
        ["model:"],
        ["type: FCOS", "parent.yaml:1"],
        ['name: "a: b"', "parent.yaml:1"],
        ["widths: [1, 2, 3]", "parent.yaml:1"],
        ["depth: 50", "child.yaml:3"],
        ["steps:"],
        ["- type: Flip", "parent.yaml:3"],
        ["p: 1", "command line"],
        ["- type: Crop", "parent.yaml:4"],
        ["size: [3, 4]", "parent.yaml:4"],
        ["train: {}", "child.yaml:4"],
    ]


def test_the_origins_stand_in_one_column(child: str, capsys):
    main(["show", child])
    columns = {line.index("#") for line in capsys.readouterr().out.splitlines() if "#" in line}
    assert len(columns) == 1


@pytest.mark.parametrize("flags", [[], ["--plain"]])
def test_what_show_prints_is_the_same_config(child: str, capsys, flags: list[str]):
    main(["show", child, *flags])
    assert Config.from_text(capsys.readouterr().out, file="x").data == Config.load(child).data


def test_show_imports_no_torch(child: str):
    code = (
        "import sys; from omma.cli.main import main; code = main(['show', 'child.yaml']); "
        "sys.exit(code or 'torch' in sys.modules or 'numpy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_help_imports_no_torch():
    code = "import sys; from omma.cli.main import main; main(['--help']); sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "show" in done.stdout


def test_show_check_tells_what_is_wrong_everywhere_with_exit_code_2(child: str, capsys):
    assert main(["show", child, "--check", "optimizer=!x 1"]) == 2
    error = capsys.readouterr().err
    assert "command line 'optimizer=!x 1': optimizer: the tag !x is not allowed" in error
    assert "steps: Experiment has no argument 'steps'" in error


def test_an_unknown_config_is_an_error_without_traceback(capsys):
    assert main(["show", "no_such_config_anywhere"]) == 2
    assert capsys.readouterr().err.startswith("error: a problem in the config\n\nno_such_config_anywhere: ")


def test_a_reader_that_stops_early_is_no_error(child: str):
    (Path("parent.yaml")).write_text("\n".join(f"k{i}: {i}" for i in range(20_000)))
    command = [sys.executable, "-m", "omma", "show", "parent.yaml"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""


def test_diff_tells_values_by_dotted_path(child: str, capsys):
    Path("other.yaml").write_text(
        "base: parent.yaml\nmodel: {widths: [1, 2]}\nsteps: [{type: Flip, p: 0.5}]\nnew: x\n"
    )
    assert main(["diff", "child", "other"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "a: child",
        "b: other",
        "",
        "~  model.widths: [1, 2, 3] -> [1, 2]",
        "a  model.depth: 50",
        "a  steps.1.type: Crop",
        "a  steps.1.size: [3, 4]",
        "a  train: {}",
        "b  new: x",
    ]


def test_diff_of_a_config_with_itself_is_empty(child: str, capsys):
    assert main(["diff", child, child]) == 0
    assert capsys.readouterr().out.endswith("no differences\n")


def test_diff_tells_an_int_from_a_float_and_a_bool(tmp_path: Path, capsys):
    for name, text in {"a": "x: 1\ny: 1\nz: .nan", "b": "x: 1.0\ny: true\nz: .nan"}.items():
        (tmp_path / f"{name}.yaml").write_text(text)
    main(["diff", str(tmp_path / "a"), str(tmp_path / "b")])
    assert capsys.readouterr().out.splitlines()[3:] == ["~  x: 1 -> 1.0", "~  y: 1 -> true"]


def test_explain_tells_kind_place_arguments_and_docstring(capsys):
    assert main(["explain", "FPN"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("FPN is a Neck\n")
    assert "necks/fpn.py:" in out
    assert "    in_channels: tuple[int, ...],\n" in out
    assert "    out_channels: int = 256,\n" in out
    assert "lateral connections" in out


def test_explain_of_a_function_tells_what_it_makes(capsys):
    assert main(["explain", "OctaveAnchorGenerator"]) == 0
    assert capsys.readouterr().out.startswith(
        "OctaveAnchorGenerator is a function that makes an AnchorGenerator"
    )


def test_explain_of_an_unknown_name_gives_the_nearest(capsys):
    assert main(["explain", "FNP"]) == 2
    assert "did you mean 'FPN'" in capsys.readouterr().err


def test_explain_without_a_name_lists_all(capsys):
    assert main(["explain"]) == 0
    assert ["FPN", "omma.necks.fpn"] in [line.split() for line in capsys.readouterr().out.splitlines()]


def test_schema_is_written_and_printed(tmp_path: Path, capsys):
    out = tmp_path / "new" / "schema.json"
    assert main(["schema", "--out", str(out)]) == 0
    capsys.readouterr()
    assert main(["schema"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(out.read_text())


def test_a_schema_that_can_not_be_written_is_an_error(tmp_path: Path, capsys):
    assert main(["schema", "--out", str(tmp_path)]) == 2
    assert "can't be written" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"a": [1, None, True]}, "{a: [1, null, true]}"),
        ([], "[]"),
        ({}, "{}"),
        (1e-5, "1e-05"),
        ("x y", "x y"),
        ("1", '"1"'),
    ],
)
def test_values_in_one_line(value, text: str):
    assert in_line(value) == text


@pytest.mark.parametrize("name", ["Train", "Data", "Loader", "EMASettings", "Views"])
def test_sections_of_a_config_are_explained_too(name, capsys):
    assert main(["explain", name]) == 0
    assert f"{name}(" in capsys.readouterr().out
