"""Checkpoints are written while training goes on."""

from __future__ import annotations

import threading

import pytest
import torch

from omma.checkpoint.store import read_checkpoint
from omma.errors import SetupError
from omma.hooks import Hook


class Steps(Hook):
    """Lets the writing go on only after step 6, and notes the weights of step 5."""

    def __init__(self) -> None:
        self.may_write = threading.Event()
        self.weights: dict[str, torch.Tensor] = {}
        self.saved: list[tuple[int, str]] = []
        self.ended = False

    def after_step(self, run, losses, scalars) -> None:
        if run.step == 5:
            self.weights = {name: value.clone() for name, value in run.model.state_dict().items()}
        if run.step == 6:
            self.may_write.set()

    def after_save(self, run, path) -> None:
        self.saved.append((run.step, path.name))

    def on_end(self, run, error) -> None:
        self.ended = True


def held_run(new_run, tmp_path, hook, **words):
    """A run that can't write before step 6 is made."""
    run = new_run(tmp_path, hooks=(hook,), val=False, **({"steps": 7, "save_every": 5} | words))
    save = run.store.save

    def held(checkpoint, *, best=False):
        assert hook.may_write.wait(20)
        return save(checkpoint, best=best)

    run.store.save = held
    return run


def test_training_goes_on_and_the_checkpoint_is_of_its_step(new_run, tmp_path):
    hook = Steps()
    held_run(new_run, tmp_path, hook, save_every=5, keep=9).train()
    step, name = hook.saved[0]
    assert (name, step >= 6) == ("step_000005", True)
    saved = read_checkpoint(tmp_path / "checkpoints" / "step_000005")
    assert all(torch.equal(saved.model[key], value) for key, value in hook.weights.items())
    assert [name for _, name in hook.saved] == [f"step_{n:06d}" for n in (5, 7)]


def test_an_error_elsewhere_lets_the_write_end(new_run, tmp_path):
    hook = Steps()
    run = held_run(new_run, tmp_path, hook, save_every=3)
    hook.may_write.set()
    run.model.poison_at = 4
    with pytest.raises(Exception, match="non-finite at step 4"):
        run.train()
    assert hook.ended
    assert read_checkpoint(tmp_path / "checkpoints" / "step_000003").step == 3


def test_a_write_that_fails_ends_the_run(new_run, tmp_path):
    run = new_run(tmp_path, steps=50, save_every=2, val=False)

    def full(checkpoint, *, best=False):
        raise SetupError("can't write the checkpoint: no space left")

    run.store.save = full
    with pytest.raises(SetupError, match="no space left"):
        run.train()
    assert run.step <= 4
