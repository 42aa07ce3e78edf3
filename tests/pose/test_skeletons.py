"""Known skeletons: published facts, and how a file says one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from omma.config import ConfigError
from omma.errors import DataError
from omma_pose.datasets import KNOWN, skeleton_of

# Number of key points and their order at a few places, as the sets' annotation files have them.
ORDER = {
    "coco": (17, {0: "nose", 5: "left_shoulder", 16: "right_ankle"}),
    "coco_wholebody": (133, {17: "left_big_toe", 22: "right_heel", 23: "face-0", 91: "left_hand_root"}),
    "halpe": (136, {17: "head", 19: "hip", 21: "right_big_toe", 26: "face-0", 115: "right_hand_root"}),
    "halpe26": (26, {18: "neck", 20: "left_big_toe", 25: "right_heel"}),
    "mpii": (16, {0: "right_ankle", 9: "head_top", 15: "left_wrist"}),
    "crowdpose": (14, {0: "left_shoulder", 11: "right_ankle", 13: "neck"}),
    "aic": (14, {0: "right_shoulder", 8: "right_ankle", 12: "head_top"}),
    "jhmdb": (15, {1: "belly", 4: "left_shoulder", 14: "left_ankle"}),
    "lsp": (14, {0: "right_ankle", 6: "right_wrist", 13: "head_top"}),
    "ap10k": (17, {2: "nose", 4: "root_of_tail", 7: "left_front_paw", 16: "right_back_paw"}),
}


@pytest.mark.parametrize("name", KNOWN)
def test_key_points_are_in_the_order_of_the_annotations(name):
    count, places = ORDER[name]
    skeleton = KNOWN[name]
    assert len(skeleton) == count
    assert {i: skeleton.names[i] for i in places} == places


@pytest.mark.parametrize("name", KNOWN)
def test_a_mirror_changes_left_and_right_and_nothing_else(name):
    skeleton = KNOWN[name]
    for place, other in enumerate(skeleton.mirror):
        own, twin = skeleton.names[place], skeleton.names[other]
        assert skeleton.mirror[other] == place
        if not own.startswith("face-"):
            exchanged = {"left": "right", "right": "left"}
            assert twin == "_".join(exchanged.get(word, word) for word in own.split("_"))


@pytest.mark.parametrize("name", KNOWN)
def test_halves_part_the_body(name):
    upper, lower = KNOWN[name].halves
    assert upper
    assert lower
    assert not set(upper) & set(lower)


@pytest.mark.parametrize("name", ["coco_wholebody", "halpe"])
def test_parts_cover_the_whole_body(name):
    places = KNOWN[name].places
    assert sorted(place for part in places.values() for place in part) == list(range(len(KNOWN[name])))
    assert {len(places[part]) for part in ("left_hand", "right_hand")} == {21}
    assert len(places["face"]) == 68


def test_ten_lines_of_yaml_say_all_of_a_skeleton(tmp_path: Path):
    file = tmp_path / "fish.yaml"
    file.write_text(
        "names: [mouth, port_fin, starboard_fin, tail]\n"
        "bones: [[mouth, tail], [port_fin, starboard_fin]]\n"
        "swaps: [[port_fin, starboard_fin]]\n"
        "sigmas: [0.03, 0.05, 0.05, 0.09]\n"
        "upper: [mouth, port_fin]\n"
        "lower: [tail]\n"
        "weights: [1, 1, 1, 1.5]\n"
        "parts: {fins: [port_fin, starboard_fin]}\n"
    )
    skeleton = skeleton_of(str(file))
    assert skeleton is not None
    assert skeleton.lines == ((0, 3), (1, 2))
    assert skeleton.mirror == (0, 2, 1, 3)
    assert skeleton.spreads == (0.03, 0.05, 0.05, 0.09)
    assert skeleton.halves == ((0, 1), (3,))
    assert skeleton.weights == (1, 1, 1, 1.5)
    assert skeleton.places == {"fins": (1, 2)}


def test_mistakes_in_a_skeleton_s_file_are_told_with_their_line(tmp_path: Path):
    file = tmp_path / "fish.yaml"
    file.write_text("names: [a, b]\nsigma: [0.1, 0.2]\n")
    with pytest.raises(ConfigError, match=r"fish.yaml:2.*sigma"):
        skeleton_of(str(file))


def test_a_file_that_is_not_there_is_told_with_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=rf"no file 'horse\.yaml', seen from {re.escape(str(tmp_path))}"):
        skeleton_of("horse.yaml")
