"""What hooks write and say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from omma.hooks import Environment, Hook, JsonLog, Progress, TensorBoard
from omma.hooks.progress import duration
from omma.optim import SGD


def lines(out: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


def test_json_log_has_every_event_in_order(new_run, tmp_path):
    new_run(tmp_path, steps=6, eval_every=6, hooks=(JsonLog(),)).train()
    found = lines(tmp_path)
    assert [(line["kind"], line["step"]) for line in found] == [
        ("start", 0), ("train", 1), ("train", 3), ("train", 6), ("eval", 6), ("save", 6), ("end", 6)
    ]  # fmt: skip
    named = {"loss", "loss_square", "loss_abs", "lr", "grad_norm", "time", "data_time", "memory_mb"}
    assert named <= found[1].keys()


def test_logged_losses_are_means_since_the_last_entry(new_run, tmp_path):
    class Each(Hook):
        def __init__(self) -> None:
            self.losses: list[float] = []

        def after_step(self, run, losses, scalars) -> None:
            self.losses.append(float(losses["loss_abs"]))

    each = Each()
    new_run(tmp_path, steps=6, hooks=(JsonLog(), each)).train()
    logged = {line["step"]: line["loss_abs"] for line in lines(tmp_path) if line["kind"] == "train"}
    assert logged[3] == pytest.approx(sum(each.losses[1:3]) / 2)
    assert logged[6] == pytest.approx(sum(each.losses[3:6]) / 3)


def test_json_log_goes_on_after_a_resume(new_run, tmp_path):
    new_run(tmp_path, steps=3, hooks=(JsonLog(),)).train()
    again = new_run(tmp_path, steps=6, hooks=(JsonLog(),))
    again.resume()
    again.train()
    assert [line["step"] for line in lines(tmp_path) if line["kind"] == "start"] == [0, 3]


def test_json_log_notes_what_ended_the_run(new_run, tmp_path):
    run = new_run(tmp_path, steps=6, hooks=(JsonLog(),))
    run.model.poison_at = 2
    with pytest.raises(Exception, match="non-finite"):
        run.train()
    assert "non-finite at step 2" in str(lines(tmp_path)[-1]["error"])


def test_environment_has_versions_seed_and_command(new_run, tmp_path):
    new_run(tmp_path, steps=1, seed=5, hooks=(Environment(),)).train()
    report = json.loads((tmp_path / "environment.json").read_text())
    assert report["seed"] == 5
    assert report["versions"]["torch"]
    assert report["command"]


def test_environment_of_a_resumed_run_stands_beside_the_first(new_run, tmp_path):
    new_run(tmp_path, steps=2, hooks=(Environment(),)).train()
    again = new_run(tmp_path, steps=3, hooks=(Environment(),))
    again.resume()
    again.train()
    assert sorted(path.name for path in tmp_path.glob("environment*")) == [
        "environment-000002.json", "environment.json"
    ]  # fmt: skip


def test_tensorboard_has_losses_and_metrics(new_run, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    new_run(tmp_path, steps=3, hooks=(TensorBoard(),)).train()
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert {"train/loss", "train/lr", "eval/closeness"} <= set(events.Tags()["scalars"])
    assert [event.step for event in events.Scalars("train/loss")] == [1, 3]


def test_progress_prints_plain_lines_without_a_terminal(new_run, tmp_path, capsys):
    new_run(tmp_path, steps=3, hooks=(Progress(),), recipe=SGD(lr=0.02, reference_batch=16)).train()
    said = capsys.readouterr().out
    assert "batch 4, learning rate 0.005 = 0.02 x 4/16 (reference batch 16)" in said
    assert "step 3/3" in said
    assert "closeness" in said
    assert "errors" in said
    assert "\x1b" not in said


def test_tables_without_a_terminal_have_whole_headings(new_run, tmp_path, capsys):
    progress = Progress()
    names = [f"box/AP of something long {i}" for i in range(6)]
    progress.on_start(new_run(tmp_path, steps=1))
    progress._evals = [(step, dict.fromkeys(names, 0.5)) for step in (1, 2)]
    progress.on_end(new_run(tmp_path, steps=1), None)
    said = capsys.readouterr().out
    assert all(name in said for name in names)


def test_durations_are_hours_minutes_seconds():
    assert duration(3723.4) == "1:02:03"
