"""Bad numbers: what is told of them, and what is kept."""

from __future__ import annotations

import math

import pytest
import torch

from omma.runner import NonFiniteLossError
from omma.runner.watch import LossWatch


def losses(value: float) -> dict[str, torch.Tensor]:
    return {"loss_a": torch.tensor(value), "loss_b": torch.tensor(1.0)}


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_is_told(bad):
    with pytest.raises(
        NonFiniteLossError, match=r"(?s)^loss_a became non-finite at step 7.*loss_b=1.*a\.jpg"
    ):
        LossWatch().add(7, losses(bad), ["a.jpg"])


def test_gradients_that_are_not_finite_are_told_where_the_losses_are():
    with pytest.raises(
        NonFiniteLossError, match="the norm of the gradients became non-finite at step 7: loss_a=2"
    ):
        LossWatch().add(7, losses(2.0), ["a.jpg"], torch.tensor(math.nan))


def test_a_loss_out_of_proportion_is_noted_with_its_images(caplog):
    watch = LossWatch()
    for step in range(1, 31):
        watch.add(step, losses(0.5 + 0.1 * math.sin(step)), ["usual.jpg"])
    assert caplog.text == ""
    watch.add(31, losses(14.0), ["odd.jpg"])
    assert "loss 15 at step 31 is 10 times the usual 1.507; its images: odd.jpg" in caplog.text


def test_the_first_steps_are_no_measure(caplog):
    watch = LossWatch()
    for step in range(1, 15):
        watch.add(step, losses(10.0**step), [])
    assert caplog.text == ""


@pytest.mark.parametrize("accumulate", [1, 2])
def test_the_batch_of_a_bad_step_is_kept_as_it_was(accumulate, new_run, tmp_path):
    run = new_run(tmp_path, steps=9, accumulate=accumulate, workers=0)
    run.model.poison_at = 4 * accumulate
    seen = []
    forward = run.model.loss

    def watched(batch):
        seen.append(torch.stack([image.as_subclass(torch.Tensor) for image in batch.images]))
        return forward(batch)

    run.model.loss = watched
    with pytest.raises(
        NonFiniteLossError, match=r"its batch is in .*nonfinite-step_000004-process_0\.pt"
    ) as caught:
        run.train()
    kept = torch.load(tmp_path / "nonfinite-step_000004-process_0.pt", weights_only=True)
    assert kept["step"] == 4
    assert math.isnan(kept["losses"]["loss_square"])
    assert len(kept["batches"]) == accumulate
    images = [torch.stack([sample["image"] for sample in batch]) for batch in kept["batches"]]
    assert torch.equal(torch.stack(images), torch.stack(seen[-accumulate:]))
    for sample in kept["batches"][0]:
        assert sample["meta"]["path"] in str(caught.value)


def test_deterministic_gives_the_same_bits_twice(new_run, tmp_path):
    try:
        weights = []
        for name in ("a", "b"):
            run = new_run(tmp_path / name, steps=6, deterministic=True, workers=2)
            assert torch.are_deterministic_algorithms_enabled()
            run.train()
            weights.append(run.model.state_dict())
    finally:
        torch.use_deterministic_algorithms(False)
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
