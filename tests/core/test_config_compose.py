"""Bases, overrides, references, and finding configs by name."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omma.config import Config, ConfigError, find_config, list_configs, mark_of


@pytest.fixture
def write(tmp_path: Path):
    def write(**files: str) -> Path:
        for name, text in files.items():
            (tmp_path / f"{name}.yaml").write_text(text)
        return tmp_path / f"{next(iter(files))}.yaml"

    return write


def load(text: str, *overrides: str):
    return Config.from_text(text, file="c.yaml", overrides=overrides).data


def texts(caught) -> list[str]:
    return [problem.text for problem in caught.value.problems]


def test_mappings_merge_and_everything_else_replaces(write):
    file = write(child="base: parent.yaml\na: {x: 2}\nl: [9]", parent="a: {x: 1, y: 1}\nl: [1, 2, 3]\nk: 5")
    assert Config.load(file).data == {"a": {"x": 2, "y": 1}, "l": [9], "k": 5}


def test_another_type_drops_the_old_arguments(write):
    file = write(
        child="base: p.yaml\nm: {neck: {type: B, b: 2}, head: {a: 2}}",
        p="m: {neck: {type: A, a: 1}, head: {type: A, a: 1, k: 1}}",
    )
    assert Config.load(file).data["m"] == {
        "neck": {"type": "B", "b": 2},
        "head": {"type": "A", "a": 2, "k": 1},
    }


def test_a_fragment_without_a_type_keeps_its_arguments_when_it_is_given_one(write):
    file = write(
        child="base: [p.yaml, q.yaml]\nmodel: {type: B}",
        p="model: {neck: {type: N, a: 1}}",
        q="model: {head: {type: H}}",
    )
    assert Config.load(file).data["model"] == {
        "neck": {"type": "N", "a": 1},
        "head": {"type": "H"},
        "type": "B",
    }


def test_a_key_with_an_exclamation_mark_replaces(write):
    file = write(child="base: p.yaml\nm: {'w!': {c: 3}, v!: {d: {e: 1}}}", p="m: {w: {a: 1}, v: {d: {f: 1}}}")
    config = Config.load(file)
    assert config.data == {"m": {"w": {"c": 3}, "v": {"d": {"e": 1}}}}
    assert config.marks[("m", "v", "d", "e")].line == 2


def test_null_stands_as_a_value(write):
    file = write(child="base: p.yaml\nhooks: {ema: null}", p="hooks: {ema: {type: EMA}, log: {type: Log}}")
    assert Config.load(file).data["hooks"] == {"ema": None, "log": {"type": "Log"}}


def test_later_bases_lie_on_top_of_earlier_ones(write):
    file = write(child="base: [p.yaml, q.yaml]\nc: 3", p="a: 1\nb: 1", q="b: 2\nc: 2")
    assert Config.load(file).data == {"a": 1, "b": 2, "c": 3}


def test_a_shared_base_does_not_undo_what_another_base_changed(write):
    file = write(
        child="base: [p.yaml, q.yaml]",
        p="base: root.yaml\na: 2",
        q="base: root.yaml\nb: 2",
        root="a: 1\nb: 1",
    )
    assert Config.load(file).data == {"a": 2, "b": 2}


def test_a_value_keeps_the_place_where_it_was_written(write):
    file = write(child="base: p.yaml\nm:\n  a: 2", p="m: {a: 1,\n  b: 1, l: [1,\n  {c: 1}]}")
    marks = Config.load(file).marks
    assert {path: (Path(mark.file).stem, mark.line) for path, mark in marks.items() if len(path) > 1} == {
        ("m", "a"): ("child", 3),
        ("m", "b"): ("p", 2),
        ("m", "l"): ("p", 2),
        ("m", "l", 0): ("p", 2),
        ("m", "l", 1): ("p", 3),
        ("m", "l", 1, "c"): ("p", 3),
    }


def test_a_circle_of_bases_shows_the_way(write):
    file = write(a="base: b.yaml", b="x: 1\nbase: [c.yaml]", c="base: a.yaml")
    with pytest.raises(
        ConfigError, match=r"inherits from itself: a.yaml -> b.yaml -> c.yaml -> a.yaml"
    ) as caught:
        Config.load(file)
    assert str(caught.value.problems[0].mark).endswith("c.yaml:1")


def test_missing_bases_are_all_reported_with_their_line_and_the_nearest_name(write):
    file = write(child="a: 1\nbase: [scedule.yaml,\n  other.yaml, 5]", schedule="x: 1")
    with pytest.raises(ConfigError) as caught:
        Config.load(file)
    assert [(p.mark.line, p.text) for p in caught.value.problems] == [
        (2, "no such config: scedule.yaml"),
        (3, "no such config: other.yaml"),
        (3, "expected the path of a config, got 5"),
    ]
    assert "did you mean 'schedule.yaml'?" in caught.value.problems[0].hint


@pytest.mark.parametrize("base", ["'no\\0name'", '"no\\0name"', "x" * 5000, "''", "."])
def test_a_base_that_can_be_no_file_is_refused(write, base: str):
    with pytest.raises(ConfigError):
        Config.load(write(child=f"base: {base}"))


@pytest.mark.parametrize("base", ["retinanet_r50_fpn_1x_coco", "retinanet_r50_fpn_1x_coco.yaml"])
def test_a_base_may_be_the_name_of_a_shipped_config(write, base: str):
    assert Config.load(write(child=f"base: {base}")).get("model.type") == "RetinaNet"


def test_a_long_chain_of_bases_ends(write):
    file = write(**{f"c{i}": f"base: c{i + 1}.yaml" for i in range(80)}, c80="a: 1")
    with pytest.raises(ConfigError, match="more than 64 files"):
        Config.load(file)


def test_many_paths_to_one_base_read_it_once(write):
    files = {f"c{i}": f"base: [c{i + 1}.yaml, c{i + 1}.yaml]" for i in range(40)}
    assert Config.load(write(**files, c40="a: 1")).data == {"a": 1}


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("m.a=2", {"a": 2, "l": [1, {"b": 1}]}),
        ("m.l.1.b=1e-3", {"a": 1, "l": [1, {"b": 0.001}]}),
        ("m.l=[x, null]", {"a": 1, "l": ["x", None]}),
        ("m.new.deep=on", {"a": 1, "l": [1, {"b": 1}], "new": {"deep": "on"}}),
        ("m.a=", {"a": None, "l": [1, {"b": 1}]}),
        ("m.a=a=b", {"a": "a=b", "l": [1, {"b": 1}]}),
        ("m={c: 1}", {"c": 1}),
        ("m!={c: 1}", {"c": 1}),
    ],
)
def test_an_override_sets_a_yaml_value(override: str, value):
    assert load("m: {a: 1, l: [1, {b: 1}]}", override)["m"] == value


@pytest.mark.parametrize(
    ("override", "text"),
    [
        ("epochs", "an override is written key.path=value"),
        ("=3", "an override is written key.path=value"),
        ("m..a=3", "an override is written key.path=value"),
        ("m.l.2=3", "this list has no entry '2'"),
        ("m.l.²=3", "this list has no entry '²'"),
        ("m.l.-1=3", "this list has no entry '-1'"),
        ("m.l." + "9" * 5000 + "=3", "this list has no entry"),
        ("m.a.b=3", "is 1, which holds no 'b'"),
        ("m.a=[1", "not valid YAML"),
        ("m.a=!x 1", "the tag !x is not allowed"),
        ("base=x.yaml", "a config's base can't be changed"),
        (".".join("a" * 100) + "=1", "nested deeper than 64 levels"),
    ],
)
def test_a_wrong_override_is_refused_and_cited(override: str, text: str):
    with pytest.raises(ConfigError) as caught:
        load("m: {a: 1, l: [1, 2]}", override)
    (problem,) = caught.value.problems
    assert text in problem.text
    assert str(problem.mark) == f"command line '{override}'"


def test_overriding_the_type_drops_the_arguments_of_the_file_only():
    text = "o: {type: SGD, lr: 0.1, momentum: 0.9}"
    for overrides in (["o.type=AdamW", "o.lr=1"], ["o.lr=1", "o.type=AdamW"]):
        assert load(text, *overrides) == {"o": {"type": "AdamW", "lr": 1}}
    assert load(text, "o.type=SGD")["o"]["momentum"] == 0.9


def test_a_whole_reference_keeps_the_type_and_text_is_written_out():
    data = load(
        'a: {n: 80, f: 0.5, t: true, z: null}\nb: "${a.n}"\nc: "x-${a.n}/${a.f}-${a.t}-${a.z}"\nd: "${a}"'
    )
    assert data["b"] == 80
    assert data["c"] == "x-80/0.5-true-null"
    assert data["d"] == data["a"]


def test_references_follow_references_and_overrides():
    assert load('a: "${b.0}"\nb: ["${c.d}"]\nc: "${e}"\ne: {d: 1}', "e.d=7")["a"] == 7


def test_all_references_to_nothing_are_reported_with_what_is_there():
    with pytest.raises(ConfigError) as caught:
        load('data: {classes: 3}\nx: "${data.clases}"\ny: "a${nothing}"\nz: "${data.classes.0}"')
    assert texts(caught) == [
        "${data.clases} points at nothing",
        "${nothing} points at nothing",
        "${data.classes.0} points at nothing",
    ]
    assert caught.value.problems[0].hint == "did you mean 'classes'? data has: classes"


@pytest.mark.parametrize(
    "text", ['a: "${a}"', 'a: "${b}"\nb: "x${a}"', 'a: {b: "${a}"}', 'a: "${b.c}"\nb: "${a}"']
)
def test_circular_references_are_refused(text: str):
    with pytest.raises(ConfigError, match="circle"):
        load(text)


@pytest.mark.parametrize("text", ['"${a.b"', '"x${"', '"$${b}{b}"'])
def test_a_reference_without_an_end_is_refused(text: str):
    with pytest.raises(ConfigError, match="without an end"):
        load(f"a: {text}\nb: $")


@pytest.mark.parametrize("kind", ["[REF, REF, REF, REF]", "{x: REF, y: REF, z: REF, w: REF}"])
def test_references_can_not_blow_a_config_up(kind: str):
    lines = ["a0: [1, 2]", *(f"a{i + 1}: " + kind.replace("REF", f'"${{a{i}}}"') for i in range(20))]
    with pytest.raises(ConfigError, match="without end"):
        load("\n".join(lines))


def test_references_can_not_blow_text_up():
    lines = ["a0: x", *(f'a{i + 1}: "${{a{i}}}${{a{i}}}${{a{i}}}${{a{i}}}"' for i in range(20))]
    with pytest.raises(ConfigError, match=r"grows beyond|without end"):
        load("\n".join(lines))


def test_a_long_chain_of_references_ends():
    lines = [f'a{i}: {{x: {{x: {{x: "${{a{i + 1}}}"}}}}}}' for i in range(1000)]
    with pytest.raises(ConfigError):
        load("\n".join([*lines, "a1000: 1"]))


def test_problems_of_reading_overriding_and_references_come_together(write):
    file = write(child='base: p.yaml\na: !x 1\nb: "${nope}"', p="c: 1\nc: 2")
    with pytest.raises(ConfigError) as caught:
        Config.load(file, ["d"])
    assert [(Path(p.mark.file).stem, p.mark.line) for p in caught.value.problems] == [
        ("child", 2),
        ("child", 3),
        ("p", 2),
        ("command line 'd'", 0),
    ]


def test_get_reads_dotted_paths():
    config = Config.from_text("a: {b: [1, {c: 2}]}", file="c.yaml")
    assert config.get("a.b.1.c") == 2
    assert config.get("a.x.y") is None
    assert config.get("a.b.5", "none") == "none"


def test_the_mark_of_a_value_without_one_is_that_of_what_holds_it():
    config = Config.from_text('a: {b: {c: 1}}\nd: "${a}"', file="c.yaml")
    assert mark_of(config.marks, ("d", "b", "c")).line == 2


def test_a_config_is_found_by_path_with_and_without_its_ending(tmp_path: Path):
    (tmp_path / "mine.yaml").write_text("a: 1")
    assert find_config(tmp_path / "mine.yaml") == find_config(tmp_path / "mine") == tmp_path / "mine.yaml"
    assert Config.load(tmp_path / "mine").name == "mine"


def test_shipped_configs_are_found_by_bare_name():
    for name, path in list_configs().items():
        assert find_config(name) == path


def test_base_folder_holds_no_configs_to_run(tmp_path: Path):
    for place in ("base/schedules/1x", "detection/fcos/fcos_a"):
        (tmp_path / place).parent.mkdir(parents=True)
        (tmp_path / f"{place}.yaml").write_text("")
    assert list(list_configs(tmp_path)) == ["fcos_a"]


def test_two_configs_of_one_name_are_an_error_that_names_both(tmp_path: Path):
    for task in ("detection", "pose"):
        (tmp_path / task).mkdir()
        (tmp_path / task / "x.yaml").write_text("")
    with pytest.raises(ConfigError, match=r"pose.x\.yaml(.|\n)*detection.x\.yaml"):
        list_configs(tmp_path)


def test_an_unknown_name_is_answered_with_the_nearest(monkeypatch):
    monkeypatch.setattr(
        "omma.config.locate.list_configs", lambda: {"fcos_r50": Path("x"), "retinanet_r50": Path("y")}
    )
    with pytest.raises(ConfigError, match="did you mean fcos_r50"):
        find_config("fcos_r5")


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=30) | st.text("ab.=!0123[]{}$ ", max_size=30))
def test_no_override_raises_anything_but_a_config_error(override: str):
    with contextlib.suppress(ConfigError):
        Config.from_text("a: {b: [1, {c: 2}]}\nb: 3", file="x", overrides=[override])
