"""Reading YAML text: scalars, places, and what is refused."""

from __future__ import annotations

import math
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omma.config import Config, ConfigError, Mark


def read(text: str):
    return Config.from_text(text, file="c.yaml").data


def problems(text: str | bytes, tmp_path: Path) -> list[str]:
    file = tmp_path / "c.yaml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigError) as caught:
        Config.load(file)
    return [f"{p.mark.line}: {p.text}" for p in caught.value.problems]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("2E3", 2000.0),
        (".5", 0.5),
        ("1.", 1.0),
        ("368_750", 368750),
        ("-7", -7),
        ("+7", 7),
        ("007", 7),
        ("0o17", 15),
        ("0x1F", 31),
        (".inf", math.inf),
        ("-.inf", -math.inf),
        ("true", True),
        ("FALSE", False),
        ("~", None),
        ("null", None),
        ("", None),
    ],
)
def test_an_unquoted_scalar_follows_yaml_1_2(text: str, value):
    got = read(f"a: {text}")["a"]
    assert got == value
    assert type(got) is type(value)


@pytest.mark.parametrize(
    "text",
    [
        "on",
        "no",
        "yes",
        "off",
        "1_000.5",
        "1__0",
        "_1",
        "0b11",
        "12:30",
        "1:30:00",
        "2024-01-01",
        "nan",
        "1e",
        "e5",
        "٣",
    ],
)
def test_what_yaml_1_2_takes_for_text_stays_text(text: str):
    assert read(f"a: {text}") == {"a": text}


def test_not_a_number_is_a_float():
    assert math.isnan(read("a: .nan")["a"])


def test_quoted_scalars_are_text():
    assert read("""{a: "1", b: 'true', c: ""}""") == {"a": "1", "b": "true", "c": ""}


def test_an_empty_file_is_an_empty_config():
    assert read("") == read("# nothing\n") == {}


def test_keys_are_text():
    assert read("{1: a, true: b, null: c}") == {"1": "a", "true": "b", "null": "c"}


def test_every_value_keeps_its_line():
    config = Config.from_text("a:\n  b: 1\n  c: [2,\n    3]\n", file="c.yaml")
    assert config.marks[("a", "b")] == Mark("c.yaml", 2)
    assert config.marks[("a", "c", 1)] == Mark("c.yaml", 4)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "a: !!python/object/apply:os.system [ls]",
            "1: the tag tag:yaml.org,2002:python/object/apply:os.system",
        ),
        ("a: 1\nb: !foo {c: 1}", "2: the tag !foo is not allowed"),
        ("a: !!int '3'", "1: the tag tag:yaml.org,2002:int is not allowed"),
        ("a: &x [1]\nb: *x", "2: anchors and aliases are not used here"),
        ("a: 1\na: 2", "2: written twice"),
        ("a: {b: 1}\n'a!': 2", "2: written twice"),
        ("[1]: 2", "1: a key must be plain text"),
        ("? {a: b}\n: 2", "1: a key must be plain text"),
        ("a: 1\n---\nb: 2", "2: a second document"),
        ("a: [1, 2", "not valid YAML"),
        ("a: 1\n\tb: 2", "not valid YAML"),
        ("- 1", "1: expected a mapping of keys, got a list"),
        ("hello", "1: expected a mapping of keys, got 'hello'"),
        ("a: " + "9" * 5000, "1: a number of 5000 digits is too large"),
        ("a: 0x" + "f" * 5000, "1: a number of 5002 digits is too large"),
        ("a: 1e999", "1: 1e999 is too large"),
        ('a: "\\ud800"', "1: half of a character"),
        ('a: "\\UFFFFFFFF"', "not valid YAML"),
        ("a: \x00", "not valid YAML"),
        (b"a: \xff\xfe", "not a text file in UTF-8"),
        ("a: " + "[" * 65 + "]" * 65, "1: nested deeper than 64 levels"),
        ("a: " + "{b: " * 20_000 + "1" + "}" * 20_000, "1: nested deeper than 64 levels"),
    ],
)
def test_what_a_config_must_not_hold_is_refused_at_its_line(text, expected: str, tmp_path: Path):
    found = problems(text, tmp_path)
    assert len(found) == 1
    assert expected in found[0]


def test_sixty_four_levels_are_read():
    value = read("a: " + "[" * 63 + "]" * 63)["a"]
    for _ in range(62):
        value = value[0]
    assert value == []


def test_problems_of_one_file_are_reported_together_by_line(tmp_path: Path):
    found = problems("b: !x 1\na: *y\na: &y 2\nc: 1e999", tmp_path)
    assert [text.split(":")[0] for text in found] == ["1", "2", "3", "4"]


def test_a_folder_is_not_a_config(tmp_path: Path):
    with pytest.raises(ConfigError, match="is a folder"):
        Config.load(tmp_path)


@pytest.mark.parametrize("name", ["", "x" * 5000, "no\0name", "/dev/null", "a/b/c"])
def test_an_impossible_name_is_no_config(name: str):
    with pytest.raises(ConfigError, match="no such file"):
        Config.load(name)


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="permissions do not bind this user")
def test_an_unreadable_file_says_why(tmp_path: Path):
    file = tmp_path / "c.yaml"
    file.write_text("a: 1")
    file.chmod(0)
    with pytest.raises(ConfigError, match="can't be read"):
        Config.load(file)


def test_a_stored_config_can_have_no_base():
    with pytest.raises(ConfigError, match="has no base"):
        read("base: /etc/passwd")


KEYS = st.text(st.characters(codec="utf-8", exclude_characters="$"), min_size=1, max_size=20)
PLAIN = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**30), 10**30),
    st.floats(allow_nan=False),
    st.text(st.characters(codec="utf-8"), max_size=30).filter(lambda text: "${" not in text),
    st.sampled_from(
        ["1", "1e-4", "true", "null", "~", "", "-", "a: b", "# c", " x", "x ", "0x1F", "[", "on", "a\nb", "'"]
    ),
)
NESTED = st.recursive(
    PLAIN, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=20
)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(KEYS.filter(lambda key: key.removesuffix("!") != "base"), NESTED, max_size=5))
def test_what_is_written_reads_back_the_same(data: dict):
    # Two keys that differ in a final "!" are one key to the reader.
    config = Config("x", data, {})
    text = config.to_yaml()
    try:
        again = Config.from_text(text, file="x")
    except ConfigError as error:
        assert "written twice" in str(error)  # noqa: PT017
        return
    assert repr(again.data) == repr(data)


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=60) | st.text("[]{}:,-?!&*#|>'\"%@`~ \n\t$.ab01<", max_size=60))
def test_no_text_raises_anything_but_a_config_error(text: str):
    try:
        config = Config.from_text(text, file="x")
    except ConfigError:
        return
    assert repr(Config.from_text(config.to_yaml(), file="x").data) == repr(config.data)
