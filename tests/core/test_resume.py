"""A run that was stopped and resumed equals the straight run, bit for bit."""

from __future__ import annotations

import pytest
import torch

from omma.errors import SetupError, WeightsError
from omma.optim import Adam, AdamW, EMASettings

from .resume_cases import LENGTH, differences, outcome, resumed_differences, spoil_generators

MATRIX = {
    "plain": {},
    "two workers": {"workers": 2},
    "average": {"ema": EMASettings(decay=0.9, warmup=3)},
    "accumulation, average, clipping, two workers": {
        "accumulate": 2,
        "workers": 2,
        "ema": EMASettings(decay=0.9),
        "clip_norm": 0.5,
    },
    "adamw bf16": {"recipe": AdamW(lr=0.01), "precision": "bf16"},
    "adam fp16": {"recipe": Adam(lr=0.01), "precision": "fp16"},
    "uneven accumulation": {"accumulate": 3},
    "channels last": {"channels_last": True, "recipe": AdamW(lr=0.01), "ema": EMASettings(decay=0.9)},
}


@pytest.mark.parametrize("name", MATRIX)
def test_interrupted_and_resumed_equals_straight(name, tmp_path):
    assert resumed_differences(tmp_path, **MATRIX[name]) == []


@pytest.mark.parametrize("step", [1, 4, 5, 12])
def test_any_step_is_good_for_stopping(step, new_run, tmp_path):
    words = {"steps": LENGTH, "ema": EMASettings(decay=0.9), "save_every": 1, "eval_every": 5, "keep": 99}
    new_run(tmp_path / "a", **words).train()
    again = new_run(tmp_path / "b", **words)
    again.resume(tmp_path / "a" / "checkpoints" / f"step_{step:06d}")
    again.train()
    assert differences(outcome(tmp_path / "a"), outcome(tmp_path / "b")) == []


def test_workers_do_not_change_the_numbers(new_run, tmp_path):
    for workers in (0, 2):
        new_run(tmp_path / str(workers), steps=LENGTH, workers=workers).train()
    assert differences(outcome(tmp_path / "0"), outcome(tmp_path / "2")) == []


def test_evaluating_more_often_does_not_change_the_weights(new_run, tmp_path):
    for every in (1, 13):
        new_run(tmp_path / str(every), steps=LENGTH, eval_every=every).train()
    a, b = (outcome(tmp_path / str(every))["model"] for every in (1, 13))
    assert differences(a, b) == []


def test_a_deterministic_run_gives_the_same_bits_twice(new_run, tmp_path):
    words = {"steps": LENGTH, "deterministic": True, "workers": 2, "ema": EMASettings(decay=0.9)}
    try:
        for name in "ab":
            new_run(tmp_path / name, **words).train()
            assert torch.are_deterministic_algorithms_enabled()
            spoil_generators()
    finally:
        torch.use_deterministic_algorithms(False)
    assert differences(outcome(tmp_path / "a"), outcome(tmp_path / "b")) == []


def test_a_fresh_seed_changes_the_weights(new_run, tmp_path):
    for seed in (0, 1):
        new_run(tmp_path / str(seed), steps=LENGTH, seed=seed).train()
    assert differences(outcome(tmp_path / "0")["model"], outcome(tmp_path / "1")["model"])


def test_resume_without_a_checkpoint_says_so(new_run, tmp_path):
    assert new_run(tmp_path, steps=3).resume() is None


def test_another_batch_size_goes_on_from_the_samples_seen(new_run, tmp_path):
    new_run(tmp_path, steps=6).train()
    wider = new_run(tmp_path, steps=6, batch=8)
    wider.resume()
    assert wider.step == 3


def test_a_batch_size_that_does_not_divide_the_samples_is_refused(new_run, tmp_path):
    new_run(tmp_path, steps=4).train()
    with pytest.raises(SetupError, match="16 samples, which is no whole number of steps of 3 samples"):
        new_run(tmp_path, steps=6, batch=3).resume()


def test_a_checkpoint_of_another_model_is_refused(new_run, tmp_path):
    new_run(tmp_path, steps=2).train()
    other = new_run(tmp_path, steps=2)
    other.model.head = torch.nn.Linear(5, 1)
    with pytest.raises(WeightsError, match="does not fit this config"):
        other.resume()
