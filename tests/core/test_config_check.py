"""Checking a config against signatures, and building from the plan."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import pytest

from omma.config import Config, ConfigError, check, list_configs
from omma.errors import DataError, OmmaError
from omma.registry import _table, register


class Shape(ABC):
    @abstractmethod
    def area(self) -> float: ...


class Pen:
    pass


class Paint(Protocol):
    color: str


class Square(Shape):
    """A square."""

    def __init__(self, *, side: float, unit: Literal["mm", "cm"] = "mm", tags: tuple[str, ...] = ()) -> None:
        if side <= 0:
            raise ValueError(f"side must be positive, got {side}")
        self.side, self.unit, self.tags = side, unit, tags

    def area(self) -> float:
        return self.side**2


class Quill(Pen):
    def __init__(self, *, broken: bool = False) -> None:
        if broken:
            raise DataError("the quill is broken")


class Oil(Paint):
    def __init__(self, *, color: str = "red") -> None:
        self.color = color


def UnitSquare(*, unit: Literal["mm", "cm"]) -> Square:
    return Square(side=1, unit=unit)


class Unreadable(Pen):
    def __init__(self, *, a: Nowhere) -> None:  # noqa: F821
        pass


@dataclass(kw_only=True)
class Paper:
    width: int
    height: int | None = None
    margins: tuple[float, float] = (0.0, 0.0)


@dataclass(kw_only=True)
class Drawing:
    shape: Shape | None = None
    pen: Pen | None = None
    either: Shape | Pen | None = None
    paint: Paint | None = None
    paper: Paper | None = None
    shapes: list[Shape] = field(default_factory=list)
    pair: tuple[Shape, Pen] | None = None
    named: dict[str, Shape | None] = field(default_factory=dict)
    one_or_more: Shape | tuple[Shape, ...] = ()
    size: int | tuple[int, int] = 1
    limit: float | str | None = None
    by_label: dict[int, str] = field(default_factory=dict)
    by_axis: dict[Literal["x", "y"], float] = field(default_factory=dict)
    numbers: Sequence[int] = ()
    file: Path | None = None
    title: str = ""
    dashed: bool = False
    anything: Any = None


@pytest.fixture(autouse=True)
def parts():
    mine = [Square, Quill, Oil, UnitSquare, Unreadable]
    for part in mine:
        register(part)
    yield
    for part in mine:
        del _table[part.__name__]


def plan(text: str):
    return check(Config.from_text(text, file="c.yaml"), Drawing)


def build(text: str) -> Drawing:
    return plan(text).build()


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        plan(text)
    return [str(problem) for problem in caught.value.problems]


def test_parts_are_built_inside_out():
    drawing = build("shape: {type: Square, side: 2, tags: [a, b]}")
    assert isinstance(drawing.shape, Square)
    assert (drawing.shape.side, drawing.shape.tags) == (2.0, ("a", "b"))
    assert type(drawing.shape.side) is float


def test_a_mapping_without_type_is_a_dataclass():
    assert build("paper: {width: 3, margins: [1, 2.5]}").paper == Paper(width=3, margins=(1.0, 2.5))


def test_a_function_is_judged_by_what_it_returns():
    assert build("shape: {type: UnitSquare, unit: cm}").shape.unit == "cm"
    assert "expected a Pen, but UnitSquare is a Shape" in problems("pen: {type: UnitSquare, unit: cm}")[0]


@pytest.mark.parametrize(
    "text",
    [
        "shapes: [{type: Square, side: 1}]",
        "pair: [{type: Square, side: 1}, {type: Quill}]",
        "named: {a: {type: Square, side: 1}, b: null}",
        "one_or_more: {type: Square, side: 1}",
        "one_or_more: [{type: Square, side: 1}]",
        "either: {type: Square, side: 1}",
        "either: {type: Quill}",
        "paint: {type: Oil}",
    ],
)
def test_parts_stand_in_lists_tuples_mappings_and_unions(text: str):
    assert "{'type'" not in repr(build(text))


def test_parts_below_an_untyped_slot_are_built():
    assert isinstance(build("anything: {deep: [1, {type: Quill}]}").anything["deep"][1], Quill)


def test_a_mapping_entry_of_null_stays():
    assert build("named: {a: null}").named == {"a": None}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("size: 3", 3),
        ("size: [3, 4]", (3, 4)),
        ("limit: 1", 1.0),
        ("limit: 1h", "1h"),
        ("by_label: {7: a}", {7: "a"}),
        ("by_axis: {x: 1}", {"x": 1.0}),
        ("numbers: [1, 2]", [1, 2]),
        ("file: a/b", Path("a/b")),
    ],
)
def test_plain_values_fit_their_annotation(text: str, value):
    got = getattr(build(text), text.partition(":")[0])
    assert repr(got) == repr(value)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("title: 3", "title: expected str, got 3\n    put it into quotes to make it text"),
        ("dashed: 1", "dashed: expected bool, got 1"),
        ("paper: {width: true}", "paper.width: expected int, got True"),
        ("paper: {width: 2.0}", "paper.width: expected int, got 2.0"),
        ("paper: {width: null}", "paper.width: expected int, got null"),
        ("paper: {width: 1, margins: [1]}", "paper.margins: expected 2 values, got [1]"),
        ("paper: {width: 1, margins: [1, x]}", "paper.margins.1: expected float, got 'x'"),
        ("paper: 3", "paper: expected a Paper (a mapping with its arguments), got 3"),
        ("shape: 3", "shape: expected a Shape (a mapping with 'type'), got 3"),
        ("shape: {side: 3}", "shape: expected a Shape, got a mapping without 'type'"),
        ("shape: {type: 3}", "shape.type: expected the name of a Shape, got 3"),
        ("shape: {type: Quill}", "shape.type: expected a Shape, but Quill is a Pen"),
        ("shapes: [{type: Quill}]", "shapes.0.type: expected a Shape, but Quill is a Pen"),
        ("either: {type: Oil}", "either.type: expected a Shape or a Pen, but Oil is a Paint"),
        ("paint: {type: Quill}", "paint.type: expected a Paint, but Quill is a Pen"),
        (
            "shape: {type: Sqare, side: 1}",
            "shape.type: nothing is registered as 'Sqare'\n    did you mean 'Square' or",
        ),
        (
            "shape: {type: Square, side: 1, unit: m}",
            "shape.unit: expected one of 'mm', 'cm' (did you mean 'mm'?)",
        ),
        ("shape: {type: Square}", "shape: Square also needs 'side'"),
        (
            "shape: {type: Square, sied: 1}",
            "shape.sied: Square has no argument 'sied'\n    did you mean 'side'?",
        ),
        ("shapes: {a: 1}", "shapes: expected a list, got a mapping"),
        ("named: [1]", "named: expected a mapping, got [1]"),
        ("size: [1, a]", "size.1: expected int, got 'a'"),
        ("size: a", "size: expected int, got 'a'"),
        ("limit: [1]", "limit: expected float or str or null, got [1]"),
        ("by_label: {a: b}", "by_label.a: expected int, got 'a'"),
        ("by_axis: {z: 1}", "by_axis.z: expected one of 'x', 'y'"),
        ("shape: {type: Square, side: 1" + "0" * 399 + "}", "shape.side: expected float"),
        (
            "tilte: x",
            "tilte: Drawing has no argument 'tilte'\n    did you mean 'title'? It takes: shape, pen, either",
        ),
        ("anything: {type: Unreadable}", "the signature of Unreadable can't be read: name 'Nowhere'"),
    ],
)
def test_a_mistake_is_told_with_its_place_and_the_way_out(text: str, problem: str):
    (found,) = problems(text)
    assert found.startswith("c.yaml:1: ")
    assert problem in found


def test_the_source_of_a_class_is_told():
    assert "test_config_check.py:" in problems("shape: {type: Square, nonsense: 1, side: 1}")[0]


def test_all_mistakes_are_told_at_once_by_line():
    found = problems("title: 3\nshape:\n  type: Square\n  unit: m\nnone: 1\npaper: {width: a, hight: 2}")
    assert [text.split(" ")[0] for text in found] == [
        "c.yaml:1:",
        "c.yaml:2:",
        "c.yaml:4:",
        "c.yaml:5:",
        "c.yaml:6:",
        "c.yaml:6:",
    ]


def test_mistakes_of_reading_references_and_checking_are_told_at_once(tmp_path: Path):
    file = tmp_path / "c.yaml"
    file.write_text('title: !x 3\nsize: "${nope}"\ndashed: 7')
    with pytest.raises(ConfigError) as caught:
        check(Config.load(file, ["file", "tilte=1"], keep_problems=True), Drawing)
    assert [problem.path for problem in caught.value.problems] == [
        ("title",),
        ("size",),
        ("dashed",),
        (),
        ("tilte",),
    ]


def test_a_mistake_from_the_command_line_cites_it():
    config = Config.from_text("paper: {width: 1}", file="c.yaml", overrides=["paper.width=x"])
    with pytest.raises(
        ConfigError, match=r"command line 'paper.width=x': paper.width: expected int, got 'x'"
    ):
        check(config, Drawing)


def test_checking_builds_nothing():
    assert plan("shape: {type: Square, side: -1}")


@pytest.mark.parametrize(
    ("text", "line"),
    [("size: 1\nshape: {type: Square, side: -1}", 2), ("shapes:\n - {type: Square,\n    side: -1}", 2)],
)
def test_a_constructor_that_refuses_is_told_at_the_line_of_its_part(text: str, line: int):
    with pytest.raises(
        ConfigError, match=r"Square refuses its arguments: side must be positive, got -1.0"
    ) as caught:
        build(text)
    assert caught.value.problems[0].mark.line == line


def test_an_error_of_ours_passes_through_a_build():
    with pytest.raises(OmmaError) as caught:
        build("either: {type: Quill, broken: true}")
    assert type(caught.value) is DataError


def test_one_part_can_be_built_alone():
    whole = plan(
        "shape: {type: Square, side: 2}\n"
        "either: {type: Quill, broken: true}\n"
        "shapes: [{type: Square, side: 3}]"
    )
    assert whole["shape"].build().side == 2
    assert whole["shapes"][0].build().side == 3
    assert "shape" in whole
    assert "paper" not in whole


@pytest.mark.parametrize("name", list_configs())
def test_every_shipped_config_checks_and_reads_back(name: str):
    from omma.experiment import Experiment

    config = Config.load(name)
    check(config, Experiment)
    assert Config.from_text(config.to_yaml(), file=name).data == config.data


class Frame:
    """Holds a shape, as a data set that repeats another one holds it."""

    def __init__(self, *, shape: Shape, times: int = 1) -> None:
        self.shape, self.times = shape, times


def test_an_argument_of_the_part_inside_a_wrapper_is_told_where_it_belongs():
    register(Frame)
    try:
        text = "x: {type: Frame, unit: mm, shape: {type: Square, side: 2}}"
        with pytest.raises(
            ConfigError, match=r"'shape', the Square inside, takes it: write shape: \{unit: ...\}"
        ):
            check(Config.from_text(text, file="a.yaml"), Holder)
    finally:
        _table.pop("Frame")


@dataclass(kw_only=True)
class Holder:
    x: Frame
