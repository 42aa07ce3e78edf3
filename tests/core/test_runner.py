"""The loop: lengths, what is due when, stopping, and what it does with bad numbers."""

from __future__ import annotations

import json
import os
import signal

import pytest
import torch

from omma.errors import SetupError
from omma.hooks import Hook
from omma.optim import SGD, EMASettings
from omma.runner import EarlyStop, NonFiniteLossError, Train, evaluate
from omma.runner.length import Length
from omma.runner.settings import seconds

from ..processes import loader_workers


class Spy(Hook):
    """Notes every call."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, int]] = []
        self.error: BaseException | None = None

    def on_start(self, run) -> None:
        self.calls.append(("start", run.step))

    def after_eval(self, run, result) -> None:
        self.calls.append(("eval", run.step))

    def after_save(self, run, path) -> None:
        self.calls.append(("save", int(path.name.removeprefix("step_"))))

    def on_end(self, run, error) -> None:
        self.calls.append(("end", run.step))
        self.error = error


class At(Hook):
    """Does something after a step."""

    def __init__(self, step: int, action) -> None:
        self.step, self.action = step, action

    def after_step(self, run, losses, scalars) -> None:
        if run.step == self.step:
            self.action()


def test_an_epoch_is_all_full_batches(new_run, tmp_path):
    run = new_run(tmp_path, epochs=2)
    assert (run.length.batches_per_epoch, run.total_steps) == (5, 10)


def test_training_lowers_the_loss(new_run, tmp_path):
    run = new_run(tmp_path, steps=60, recipe=SGD(lr=0.2))
    before = run.evaluate().values["closeness"]
    run.train()
    assert run.evaluate().values["closeness"] > before


def test_evaluation_and_saving_come_when_due(new_run, tmp_path):
    spy = Spy()
    new_run(tmp_path, steps=7, eval_every=3, save_every=2, hooks=(spy,), metrics=()).train()
    assert spy.calls == [
        ("start", 0), ("save", 2), ("eval", 3), ("save", 4), ("eval", 6), ("save", 6), ("eval", 7),
        ("save", 7),
        ("end", 7),
    ]  # fmt: skip


def test_the_last_epochs_can_all_be_evaluated(new_run, tmp_path):
    spy = Spy()
    settings = {"epochs": 6, "eval_every": 3, "eval_each_epoch_from": 5}
    new_run(tmp_path, hooks=(spy,), metrics=(), **settings).train()
    assert [call for call in spy.calls if call[0] != "start"] == [
        ("eval", 15), ("save", 15), ("eval", 25), ("eval", 30), ("save", 30), ("end", 30),
    ]  # fmt: skip


def test_steps_have_no_last_epochs_to_evaluate():
    with pytest.raises(ValueError, match="eval_each_epoch_from needs a run"):
        Train(steps=10, eval_each_epoch_from=5)


@pytest.mark.parametrize("accumulate", [1, 2, 3, 7])
def test_evaluations_follow_epochs_whatever_is_accumulated(accumulate):
    length = Length.of(Train(epochs=4, accumulate=accumulate), 10)
    due = [step for step in range(1, length.total_steps + 1) if length.due(1, step)]
    assert due == [-(-10 * epoch // accumulate) for epoch in range(1, 5)]


def test_accumulated_batches_equal_one_large_batch(new_run, tmp_path):
    # Running statistics and dropout would see each batch alone.
    plain = {"plain": True, "steps": 1, "recipe": SGD(lr=0.1), "val": False}
    runs = [
        new_run(tmp_path / "a", batch=8, **plain),
        new_run(tmp_path / "b", batch=4, accumulate=2, **plain),
    ]
    for run in runs:
        run.train()
    for a, b in zip(runs[0].model.parameters(), runs[1].model.parameters()):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-7)


def test_the_layout_in_memory_does_not_change_what_is_learnt(new_run, tmp_path):
    plain = {"plain": True, "steps": 3, "recipe": SGD(lr=0.1), "val": False}
    runs = [new_run(tmp_path / str(last), channels_last=last, **plain) for last in (False, True)]
    for run in runs:
        run.train()
    assert runs[1].model.backbone[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert not runs[1].model.backbone[0].weight.is_contiguous()
    for a, b in zip(runs[0].model.parameters(), runs[1].model.parameters()):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-7)


def test_gradients_are_clipped_to_the_norm(new_run, tmp_path):
    run = new_run(tmp_path, steps=1, clip_norm=1e-3, recipe=SGD(lr=1.0, momentum=0.0))
    before = [p.detach().clone() for p in run.model.parameters()]
    run.train()
    moved = torch.stack([(p.detach() - q).norm() for p, q in zip(run.model.parameters(), before)]).norm()
    assert float(moved) == pytest.approx(1e-3, rel=1e-2)


def test_the_average_is_what_is_evaluated(new_run, tmp_path):
    run = new_run(tmp_path, steps=5, ema=EMASettings(decay=0.9))
    run.train()
    judged = run.evaluate().values
    for name, value in run.model.state_dict().items():
        value.copy_(run.ema.shadow[name])
    direct = evaluate(run.model, run.val_loader, run.metrics, run.device).values
    assert judged == direct


def test_the_learning_rate_in_use_is_scaled_and_scheduled(new_run, tmp_path):
    run = new_run(tmp_path, steps=10, recipe=SGD(lr=1e-3, reference_batch=16))
    assert run.lr == pytest.approx(1e-3 * 4 / 16)
    run.train()
    assert run.optimizer.param_groups[0]["lr"] == pytest.approx(1e-3 / 4 * run.schedule.factor(9, 10, 5))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_finishes_the_step_and_saves(number, new_run, tmp_path):
    spy = Spy()
    result = new_run(tmp_path, steps=50, hooks=(At(3, lambda: os.kill(os.getpid(), number)), spy)).train()
    assert (result.reason, result.signal, result.step) == ("signal", number, 3)
    assert spy.calls[-2:] == [("save", 3), ("end", 3)]


def test_workers_outlive_a_signal_to_the_whole_group(new_run, tmp_path):
    def terminate_all() -> None:
        workers = loader_workers()
        assert len(workers) == 2
        for pid in [*(worker.pid for worker in workers), os.getpid()]:
            os.kill(pid, signal.SIGTERM)

    hooks = (At(5, terminate_all),)
    result = new_run(tmp_path, steps=50, accumulate=3, workers=2, val=False, hooks=hooks).train()
    assert (result.reason, result.step) == ("signal", 5)


def test_workers_terminated_alone_go_on(new_run, tmp_path):
    def terminate_workers() -> None:
        for worker in loader_workers():
            os.kill(worker.pid, signal.SIGTERM)

    hooks = (At(2, terminate_workers),)
    result = new_run(tmp_path, steps=20, workers=2, val=False, hooks=hooks).train()
    assert (result.reason, result.step) == ("finished", 20)


def test_signal_handlers_are_put_back(new_run, tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    new_run(tmp_path, steps=1).train()
    assert signal.getsignal(signal.SIGTERM) is before


def test_an_evaluation_lost_to_a_signal_is_made_up_on_resume(new_run, tmp_path):
    new_run(
        tmp_path, steps=9, eval_every=3, hooks=(At(3, lambda: os.kill(os.getpid(), signal.SIGTERM)),)
    ).train()
    spy = Spy()
    again = new_run(tmp_path, steps=9, eval_every=3, hooks=(spy,))
    again.resume()
    again.train()
    assert [step for name, step in spy.calls if name == "eval"] == [3, 6, 9]


def test_the_time_limit_stops_and_saves(new_run, tmp_path):
    result = new_run(tmp_path, steps=1000, max_time=0.0).train()
    assert (result.reason, result.step) == ("time", 1)
    assert (tmp_path / "checkpoints" / "step_000001").is_dir()


def test_no_progress_stops_early(new_run, tmp_path):
    result = new_run(
        tmp_path,
        steps=100,
        eval_every=1,
        best="images",
        early_stop=EarlyStop(patience=3),
        recipe=SGD(lr=1e-3),
    ).train()
    assert (result.reason, result.step) == ("early", 4)


def test_best_is_the_checkpoint_of_the_best_evaluation(new_run, tmp_path):
    run = new_run(tmp_path, steps=12, eval_every=1, keep=1)
    result = run.train()
    meta = json.loads((tmp_path / "checkpoints" / "best" / "meta.json").read_text())
    assert meta["metrics"]["closeness"] == result.best


def test_an_unknown_best_metric_lists_the_known_ones(new_run, tmp_path):
    with pytest.raises(SetupError, match=r"train.best is 'AP', but the metrics give closeness, images"):
        new_run(tmp_path, steps=1, best="AP").train()


def test_a_nan_loss_names_loss_step_and_images(new_run, tmp_path):
    spy = Spy()
    run = new_run(tmp_path, steps=9, hooks=(spy,))
    run.model.poison_at = 4
    with pytest.raises(
        NonFiniteLossError, match=r"(?s)loss_square, loss_abs became non-finite at step 4.*patch-"
    ):
        run.train()
    assert isinstance(spy.error, NonFiniteLossError)
    assert all(bool(p.isfinite().all()) for p in run.model.parameters())


def test_evaluation_counts_each_image_once_and_restores_the_mode(new_run, tmp_path):
    run = new_run(tmp_path, steps=1)
    run.model.train()
    assert run.evaluate().values["images"] == 7
    assert run.model.training


def test_evaluation_can_be_cut_short(new_run, tmp_path):
    run = new_run(tmp_path, steps=1)
    assert evaluate(run.model, run.val_loader, run.metrics, run.device, max_batches=1).values["images"] == 4


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_missing_gpu_is_told(new_run, tmp_path):
    with pytest.raises(SetupError, match="device 'cuda' is asked for"):
        new_run(tmp_path, steps=1, device="cuda")


def test_ddp_without_torchrun_is_told(new_run, tmp_path):
    with pytest.raises(SetupError, match="torchrun"):
        new_run(tmp_path, steps=1, parallel="ddp")


def test_channels_last_is_refused_where_weights_are_sharded():
    with pytest.raises(ValueError, match="channels_last can't be had under fsdp"):
        Train(steps=1, channels_last=True, parallel="fsdp")


@pytest.mark.parametrize("words", [{}, {"epochs": 1, "steps": 5}])
def test_settings_want_exactly_one_length(words):
    with pytest.raises(ValueError, match="either epochs or steps"):
        Train(**words)


@pytest.mark.parametrize(("text", "expected"), [("1h30m", 5400), ("90s", 90), ("2d", 172800), ("12", 12)])
def test_times_are_read(text, expected):
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "1x", "1h 30m", "h", "-5"])
def test_other_times_are_refused(text):
    with pytest.raises(ValueError, match="expected a time"):
        seconds(text)
