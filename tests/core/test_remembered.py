"""Findings about files: made once, forgotten when a file changes, made anew when they can't be read."""

from __future__ import annotations

import os

import pytest
import torch

from omma.data.remembered import remembered


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("OMMA_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "mask.png"
    path.write_text("one")
    return path


class Count:
    """Makes findings, and knows how often."""

    def __init__(self):
        self.calls = 0

    def __call__(self):
        self.calls += 1
        return {"numbers": torch.tensor([self.calls])}


def test_what_was_found_out_is_found_out_once(cache, file):
    count = Count()
    for _ in range(3):
        assert remembered("numbers", [file], count)["numbers"].tolist() == [1]
    assert count.calls == 1
    assert [path.name[:8] for path in cache.iterdir()] == ["numbers-"]


@pytest.mark.parametrize("change", ["size", "time", "gone", "more"])
def test_a_change_of_the_files_makes_it_out_of_date(cache, file, change):
    count, files = Count(), [file]
    remembered("numbers", files, count)
    if change == "size":
        file.write_text("three")
    elif change == "time":
        os.utime(file, ns=(1, 1))
    elif change == "gone":
        file.unlink()
    else:
        files = [file, file]
    assert remembered("numbers", files, count)["numbers"].tolist() == [2]


def test_kinds_of_findings_are_kept_apart(cache, file):
    count = Count()
    remembered("numbers", [file], count)
    assert remembered("colours", [file], count)["numbers"].tolist() == [2]


def test_findings_that_are_damaged_are_made_anew(cache, file):
    count = Count()
    remembered("numbers", [file], count)
    (found,) = cache.iterdir()
    found.write_bytes(found.read_bytes()[:20])
    assert remembered("numbers", [file], count)["numbers"].tolist() == [2]
    assert remembered("numbers", [file], count)["numbers"].tolist() == [2]


def test_where_nothing_can_be_kept_it_is_found_out_each_time(cache, file):
    cache.write_text("in the way")
    count = Count()
    for wanted in (1, 2):
        assert remembered("numbers", [file], count)["numbers"].tolist() == [wanted]
