"""``omma train`` before and around the loop: folders, classes, hooks."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import pytest

from omma.cli import train as command
from omma.cli.main import main
from omma.errors import SetupError
from omma.experiment import Data, Loader
from omma.hooks import Hook, JsonLog
from omma.runner import Train


def parsed(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    command.arguments(parser)
    return parser.parse_args(["some-config", *words])


@pytest.fixture
def loader(new_run, tmp_path) -> Any:
    return new_run(tmp_path, steps=1).train_loader


def data(loader: Loader, count: int) -> Data:
    return Data(num_classes=count, train=loader, val=loader)


def test_the_default_folder_is_named_after_the_config(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    out = command._make_run_folder(parsed())
    assert out.parent == Path("runs/some-config")
    assert list(out.iterdir()) == []


def test_a_folder_with_something_in_it_is_left_alone(tmp_path):
    (tmp_path / "precious").touch()
    with pytest.raises(SetupError, match="is not empty; go on with --resume"):
        command._make_run_folder(parsed("--out", str(tmp_path)))
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]


def test_a_trial_run_goes_into_a_folder_of_its_own(tmp_path):
    (tmp_path / "precious").touch()
    out = command._make_run_folder(parsed("--out", str(tmp_path), "--fast-dev-run"))
    assert out.parent == tmp_path


def test_without_out_a_trial_run_lies_beside_the_runs_of_its_config(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    out = command._make_run_folder(parsed("--fast-dev-run"))
    assert out.parent == Path("runs/some-config")
    assert out.name.startswith("fast-dev-run-")


def test_resume_does_not_take_a_trial_run_for_a_run(new_run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("first", "fast-dev-run-later"):
        new_run(Path("runs/some-config") / name, steps=1).train()
    assert command._make_run_folder(parsed("--resume")) == Path("runs/some-config/first")


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(SetupError, match="can't write into the run folder"):
        command._make_run_folder(parsed("--out", str(tmp_path / "file" / "run")))


def test_resume_finds_the_newest_run_of_the_config(new_run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("first", "second"):
        new_run(Path("runs/some-config") / name, steps=1).train()
    Path("runs/some-config/empty").mkdir()
    assert command._make_run_folder(parsed("--resume")) == Path("runs/some-config/second")


def test_resume_by_path_goes_on_in_that_run(new_run, tmp_path):
    new_run(tmp_path, steps=1).train()
    path = tmp_path / "checkpoints" / "step_000001"
    assert command._make_run_folder(parsed("--resume", str(path))) == tmp_path


@pytest.fixture
def taken(monkeypatch) -> dict[str, Any]:
    """What ``omma train`` makes of its words, just before it would check the config and train."""
    seen: dict[str, Any] = {}

    def load(name: str, overrides: list[str]) -> None:
        seen["overrides"] = overrides
        raise SetupError("seen")

    run = command.run
    monkeypatch.setattr("omma.config.Config.load", load)
    monkeypatch.setattr(command, "run", lambda args: seen.update(args=args) or run(args))
    return seen


@pytest.mark.parametrize(
    ("words", "overrides"),
    [
        (["--resume"], []),
        (["--resume", "a.b=1"], ["a.b=1"]),
        (["--resume", "a.b=1", "c=2"], ["a.b=1", "c=2"]),
        (["--resume", "--out", "runs/x", "a.b=1", "c=2"], ["a.b=1", "c=2"]),
        (["--resume", f"data.classes=[{'x' * 5000}]"], [f"data.classes=[{'x' * 5000}]"]),
        (["--resume", "root=/some/folder"], ["root=/some/folder"]),
    ],
)
def test_resume_leaves_changes_to_the_config_what_they_are(words, overrides, taken):
    main(["train", "some-config", *words])
    assert taken["overrides"] == overrides
    assert taken["args"].resume == command._LATEST


@pytest.mark.parametrize("name", ["run/checkpoints/step_000001", "sweep/lr=0.1/checkpoints/step_000001"])
def test_resume_takes_paths_that_are_not_there_for_paths(name, taken):
    main(["train", "some-config", "--resume", name, "b=2"])
    assert (taken["args"].resume, taken["overrides"]) == (Path(name), ["b=2"])


def test_resume_takes_a_folder_that_is_there_for_a_path(taken, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("lr=0.1").mkdir()
    main(["train", "some-config", "--resume", "lr=0.1"])
    assert (taken["args"].resume, taken["overrides"]) == (Path("lr=0.1"), [])


def test_resume_without_any_run_is_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SetupError, match="--resume finds no"):
        command._make_run_folder(parsed("--resume"))


def test_as_many_classes_as_the_heads_have_are_wanted(loader):
    command.check_classes(data(loader, 1))
    with pytest.raises(SetupError, match=r"data.num_classes is 80, but data.train has 1 classes: patch"):
        command.check_classes(data(loader, 80))


def test_default_hooks_can_be_taken_away_and_added_to():
    class Mine(Hook):
        pass

    kinds = [type(hook) for hook in command.all_hooks({"tensorboard": None, "mine": Mine()})]
    assert Mine in kinds
    assert JsonLog in kinds
    assert "TensorBoard" not in [kind.__name__ for kind in kinds]


def test_a_trial_run_is_two_steps_with_one_evaluation():
    short = command.shortened(Train(epochs=300, eval_every=10, eval_each_epoch_from=281))
    assert (short.steps, short.epochs, short.eval_every, short.save_every) == (2, None, 2, 2)


def test_overfitting_trains_and_judges_the_same_few(loader):
    train, val = command.overfitted(loader, loader, 3)
    assert len(train.dataset) == len(val.dataset) == 3
    assert train.batch_size == 3
    assert train.dataset.target(2) == val.dataset.target(2)


def test_an_unknown_module_to_import_is_told():
    with pytest.raises(SetupError, match="--import no_such_module_anywhere"):
        command._import(["no_such_module_anywhere"])


def test_env_prints_versions(capsys):
    assert main(["env", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["versions"]["torch"]
