"""What the demo of each task trains and predicts on."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from omma.cli import demo
from omma.errors import SetupError
from omma.task import Task


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """The commands of a task's demo; none is run."""
    ran: list[list[str]] = []
    monkeypatch.setattr("omma.data.shapes.make_shapes", lambda *_, **__: None)
    monkeypatch.setattr("omma.cli.main.main", lambda words: ran.append(words) or 0)

    def run(task: str) -> list[list[str]]:
        assert demo.run(argparse.Namespace(task=task, out=tmp_path, overrides=["train.epochs=1"])) == 0
        return ran

    return run


def test_the_demo_of_pose_predicts_on_the_boxes_of_figures(commands, tmp_path):
    _, predict = commands("pose")
    boxes = predict[predict.index("--boxes-file") + 1]
    assert boxes == str(tmp_path / "shapes-pose" / "annotations" / "keypoints_val.json")


def test_a_demo_predicts_with_the_config_that_it_trained(commands):
    train, predict = commands("detection")
    assert train[:2] == ["train", predict[1]]
    assert {word for word in train if "=" in word} == {word for word in predict if "=" in word}
    assert "--boxes-file" not in predict


def test_the_demo_of_action_trains_a_network_on_single_frames_beside_its_own(commands, tmp_path):
    train, baseline, predict = commands("action")
    assert baseline[1] != train[1] == predict[1]
    # A training wants its folder empty: the one inside of the other's comes second.
    assert Path(baseline[-1]).parent == Path(train[-1]) == tmp_path / "action-1"
    assert predict[3] == str(tmp_path / "shapes-action" / "clips" / "val" / "0000?.mp4")


def test_a_task_without_a_demo_says_so(commands, monkeypatch):
    bare = Task(name="bare", draw=lambda *_: None, draw_sample=lambda *_: None, to_json=lambda *_: None)
    monkeypatch.setattr("omma.task.find_task", lambda name: bare)
    with pytest.raises(SetupError, match="bare has no demo"):
        commands("bare")
