"""What the demo of each task trains and predicts on."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from omma.cli import demo
from omma.errors import SetupError


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


def test_a_task_without_a_demo_says_so(commands):
    with pytest.raises(SetupError, match="action has no demo"):
        commands("action")
