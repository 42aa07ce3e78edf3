"""Configs of strangers: composed and checked, or refused with a ConfigError, whatever stands there."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from omma.config import Config, ConfigError, Mark, check
from omma.config.locate import find_config
from omma.experiment import Experiment

bounded = settings(
    deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
NAMES = ["fcos_r18_shapes", "fcos_r18_bccd", "rtmdet_s_8xb32-300e_coco", "faster-rcnn_r50_fpn_1x_coco"]
_WORD = re.compile(r"[^\s,{}\[\]]+")
SIGNS = [
    "${", "${model}", "${data.num_classes}", "&a ", "*a", "!!python/name:os.system ", "\0", "\ud800",
    "\ufeff", "\u2028", "9" * 5000, "0x" + "f" * 500, "1e999", ".nan", "-", "- ", "? ", ": ", "[", "]", "{",
    "}", "|\n", ">\n", '"', "'", "#", "\t", "\n", "\n---\n", "<<: ", "!: ", "null", "base: ", "base: [",
    "type: ",
]  # fmt: skip


def whole(name: str) -> str:
    """The text of a config, with its bases by absolute path so that it can stand anywhere."""
    file = find_config(name)
    return re.sub(r"(\.\./)+base", str(file.parents[2] / "base"), file.read_text())


TEXTS = [whole(name) for name in NAMES]
WORDS = sorted({word for text in TEXTS for word in text.split()})


@st.composite
def changed(draw: st.DrawFn) -> str:
    """A config that works, with a few signs, words or lines of it put in, taken out or moved."""
    text = draw(st.sampled_from(TEXTS))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        how = draw(st.sampled_from(["sign", "word", "line", "cut", "end"]))
        if how == "sign":
            text = text[:start] + draw(st.sampled_from(SIGNS) | st.text(max_size=4)) + text[start:]
        elif how == "word":
            new = draw(st.sampled_from(WORDS) | st.sampled_from(SIGNS))
            text = text[:start] + _WORD.sub(lambda _, new=new: new, text[start:], count=1)
        elif how == "line":
            lines = text.splitlines(keepends=True)
            lines.insert(draw(st.integers(0, len(lines))), draw(st.sampled_from(lines or ["\n"])))
            text = "".join(lines)
        else:
            text = text[:start] + (text[start + draw(st.integers(1, 30)) :] if how == "cut" else "")
    return text


def use(file: Path) -> bool:
    """Whether the config in ``file`` stands the check."""
    try:
        config = Config.load(file, keep_problems=True)
        check(config, Experiment)
        Config.from_text(config.to_yaml(), file="again")
    except ConfigError as error:
        str(error).encode("utf-8", "backslashreplace")
        return False
    return True


def test_the_configs_that_are_changed_work(tmp_path: Path):
    for text in TEXTS:
        (tmp_path / "c.yaml").write_text(text)
        assert use(tmp_path / "c.yaml")


@settings(bounded, max_examples=200)
@given(text=changed())
def test_a_config_that_was_changed_anywhere(text, tmp_path: Path):
    (tmp_path / "c.yaml").write_bytes(text.encode("utf-8", "surrogatepass"))
    use(tmp_path / "c.yaml")


@settings(bounded, max_examples=100)
@given(text=st.sampled_from(TEXTS), noise=st.binary(min_size=1, max_size=8), at=st.floats(0, 1))
def test_a_config_with_bytes_changed(text, noise, at, tmp_path: Path):
    data, start = text.encode(), int(at * len(text))
    (tmp_path / "c.yaml").write_bytes(data[:start] + noise + data[start + len(noise) :])
    use(tmp_path / "c.yaml")


PATHS = st.lists(st.sampled_from(["a", "b", "c", "x", "0", ""]), min_size=1, max_size=3).map(".".join)
TIED = st.recursive(
    st.lists(PATHS.map(lambda path: f"${{{path}}}") | st.sampled_from(["1", "t", "${", "}"]), max_size=3).map(
        "".join
    ),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "x"]), inner, max_size=3)
    ),
    max_leaves=6,
)


@settings(bounded, max_examples=60)
@given(st.dictionaries(st.sampled_from(["a", "b", "c"]), TIED, min_size=1, max_size=3))
def test_references_among_values_of_any_kind_and_in_any_circle(data):
    try:
        Config.from_text(Config("x", data, {}).to_yaml(), file="x")
    except ConfigError as error:
        str(error).encode("utf-8", "backslashreplace")


@settings(bounded, max_examples=200)
@given(
    st.lists(st.sampled_from(["a", "b", "0", "type", "!", "", "base", "ü"]), max_size=4).map(".".join),
    st.sampled_from(["=", "", "=="]),
    st.text(max_size=10) | st.sampled_from(SIGNS),
)
def test_overrides_of_any_text(key, sign, value):
    try:
        Config.from_text("a: {b: [1, {type: x}]}\n", file="x", overrides=[f"{key}{sign}{value}"])
    except ConfigError as error:
        str(error).encode("utf-8", "backslashreplace")


MANY = 300_000


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: &a [x, x]\n" + "".join(f"a{i}: &a{i} [*a, *a]\n" for i in range(2000)), "anchors and aliases"),
        ("a0: [x]\n" + "".join(f"a{i}: ['${{a{i - 1}}}', '${{a{i - 1}}}']\n" for i in range(1, 60)), "grow"),
        ("a0: xxxx\n" + "".join(f"a{i}: '${{a{i - 1}}}${{a{i - 1}}}'\n" for i in range(1, 60)), "grows"),
        ("".join(f"a{i}: '${{a{(i + 1) % 9}}}'\n" for i in range(9)), "goes in a circle"),
        ("a: {b: '${a}'}", "goes in a circle|grow"),
        ("a: " + "[" * MANY, "nested deeper"),
        ("- " * MANY, "nested deeper"),
        ("a: " + "? " * MANY, "not valid YAML"),
        ('"' + "\\n" * MANY, "not valid YAML"),
        ("a: " + "9" * MANY, "a number of 300000 digits"),
        ("# " * 2**19 + "\na: 1", "larger than 1 MiB"),
    ],
    ids=["aliases", "lists", "text", "circle", "itself", "flow", "block", "keys", "quoted", "digits", "size"],
)  # fmt: skip
def test_a_config_that_blows_up_is_refused(text, message):
    with pytest.raises(ConfigError, match=message):
        Config.from_text(text, file="x")


def test_the_time_grows_as_the_text_does(tmp_path: Path):
    """Marks were once searched through for each list and each value that replaces another."""

    def seconds(count: int) -> float:
        body = "a:\n" + "".join(f"  k{i}: {{k!: [1]}}\n" for i in range(count))
        (tmp_path / "base.yaml").write_text(body)
        (tmp_path / "c.yaml").write_text("base: base.yaml\n" + body)
        begin = time.process_time()
        config = Config.load(tmp_path / "c.yaml")
        end = time.process_time()
        assert config.marks[("a", "k9", "k", 0)] == Mark(str(tmp_path / "c.yaml"), 12)
        return end - begin

    few = min(seconds(400) for _ in range(3))
    assert seconds(3200) < 20 * few
