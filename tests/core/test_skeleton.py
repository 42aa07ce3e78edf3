"""Skeletons: what is derived from names, and what is refused."""

from __future__ import annotations

import pytest

from omma.structures import Skeleton


def test_left_and_right_change_places_by_name():
    skeleton = Skeleton(names=("nose", "left_eye", "right_eye", "Left ear", "Right ear", "l_hip", "r_hip"))
    assert skeleton.mirror == (0, 2, 1, 4, 3, 6, 5)


def test_letters_within_words_are_no_sides():
    assert Skeleton(names=("tail", "tair", "collar", "corrar")).mirror == (0, 1, 2, 3)


def test_given_pairs_go_before_names():
    skeleton = Skeleton(names=("left_a", "right_a", "b", "c"), swaps=(("b", "c"),))
    assert skeleton.mirror == (0, 1, 3, 2)


def test_a_mirror_of_a_mirror_changes_nothing():
    order = Skeleton(names=("left_a", "b", "right_a")).mirror
    assert [order[i] for i in order] == [0, 1, 2]


def test_bones_and_halves_go_by_position():
    skeleton = Skeleton(names=("a", "b", "c"), bones=(("c", "a"),), upper=("b",))
    assert skeleton.lines == ((2, 0),)
    assert skeleton.halves == ((1,), (0, 2))


def test_sigmas_have_a_default():
    assert Skeleton(names=("a", "b")).spreads == (0.067, 0.067)


def test_parts_are_known_by_the_positions_of_their_key_points():
    skeleton = Skeleton(names=("a", "b", "c"), parts={"ends": ("c", "a"), "middle": ("b",)})
    assert skeleton.places == {"ends": (2, 0), "middle": (1,)}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"names": ()}, "at least one key point"),
        ({"names": ("a", "a")}, "each name once, got a"),
        ({"names": ("a",), "bones": (("a", "b"),)}, "no key point is called b"),
        ({"names": ("a", "b", "c"), "swaps": (("a", "b"), ("b", "c"))}, "each name in one pair, got b"),
        ({"names": ("a",), "sigmas": (0.1, 0.2)}, "expected 1, one per name, got 2"),
        ({"names": ("a",), "sigmas": (0.0,)}, "above 0"),
        ({"names": ("a",), "weights": (1.0, 2.0)}, "weights: expected 1, one per name, got 2"),
        ({"names": ("a",), "weights": (-1.0,)}, "weights: expected numbers above 0"),
        ({"names": ("a",), "parts": {"b": ("c",)}}, "no key point is called c"),
        ({"names": ("a",), "parts": {"b": ()}}, "at least one key point in b"),
    ],
)
def test_contradictions_are_told(fields, message):
    with pytest.raises(ValueError, match=message):
        Skeleton(**fields)
