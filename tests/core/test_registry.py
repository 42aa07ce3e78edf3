"""The table of names: found by reading sources, imported when looked up."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from omma.registry import Place, RegistryError, _scan, _table, lookup, names, places, register, source_of


@pytest.fixture
def table():
    before = dict(_table)
    yield
    _table.clear()
    _table.update(before)


def scan(tmp_path: Path, text: str) -> list[tuple[str, int]]:
    (tmp_path / "m.py").write_text(text)
    return [(name, place.line) for place, name in _scan(tmp_path, "pack")]


def test_register_gives_the_class_back_unchanged(table):
    class Unlikely:
        pass

    assert register(Unlikely) is Unlikely
    assert lookup("Unlikely") is Unlikely
    assert register(Unlikely) is Unlikely


def test_a_second_class_of_the_same_name_is_refused_with_both_places(table):
    def one():
        class Twice:
            pass

        return Twice

    def two():
        class Twice:
            pass

        return Twice

    register(one())
    with pytest.raises(
        RegistryError, match=r"'Twice' is registered twice: at .*test_registry.py:\d+ and at .*:\d+"
    ):
        register(two())


def test_a_module_loaded_anew_replaces_its_classes(table):
    made = []
    for _ in range(2):

        class Again:
            pass

        made.append(register(Again))
    assert lookup("Again") is made[1]


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(RegistryError, match="nothing is registered as 'ResNte'; did you mean 'ResNet'"):
        lookup("ResNte")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("@register\nclass A(B):\n", [("A", 2)]),
        ("x = 1\n\n@register\n@dataclass(frozen=True)\nclass A:\n", [("A", 5)]),
        ("@register\ndef Make(*, a: int) -> A:\n", [("Make", 2)]),
        ("register(torch.optim.Lion)\n", [("Lion", 1)]),
        ("class A:\n    @register\n    def a(self): ...\n", []),
        ("# @register\nclass A: ...\n", []),
        ("def f():\n    register(A)\n", []),
    ],
)
def test_sources_are_read_for_registered_names(tmp_path: Path, text: str, found: list[tuple[str, int]]):
    assert scan(tmp_path, text) == found


def test_a_package_is_named_by_its_folder(tmp_path: Path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "__init__.py").write_text("@register\nclass A: ...\n")
    (tmp_path / "sub" / "b.py").write_text("@register\nclass B: ...\n")
    assert [(name, place.module) for place, name in _scan(tmp_path, "pack")] == [
        ("A", "pack.sub"),
        ("B", "pack.sub.b"),
    ]


def test_a_source_in_an_odd_encoding_does_not_stop_the_search(tmp_path: Path):
    (tmp_path / "old.py").write_bytes(b"# -*- coding: latin-1 -*-\n# \xe9\n@register\nclass A: ...\n")
    assert [name for _, name in _scan(tmp_path, "pack")] == ["A"]


def test_every_name_leads_to_the_class_at_its_place():
    for name, place in places().items():
        target = lookup(name)
        assert target.__name__ == name
        if target.__module__ == place.module:
            assert source_of(target).rpartition(":")[0] == str(place.file)
    assert set(places()) <= set(names())


def test_finding_names_imports_none_of_their_modules():
    modules = "[name for name in ('torch', 'omma.necks', 'omma_detection') if name in sys.modules]"
    code = f"import sys, omma.registry; omma.registry.names(); print({modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_place_prints_as_file_and_line():
    assert str(Place("m", Path("a.py"), 3)) == "a.py:3"


def test_what_has_no_source_is_built_in():
    assert source_of(len) == "built in"
