"""What every recogniser must do."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from omma_action.models.recognizer import Recognizer

from .networks import CLASSES, NETWORKS, batch


@pytest.fixture(params=sorted(NETWORKS), scope="module")
def model(request: pytest.FixtureRequest) -> Recognizer:
    torch.manual_seed(0)
    return NETWORKS[request.param]()


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def total(losses: dict[str, Tensor]) -> Tensor:
    assert all(loss.ndim == 0 and loss.isfinite() for loss in losses.values()), losses
    return torch.stack(list(losses.values())).sum()


def test_every_parameter_learns(model: Recognizer):
    model.train()
    model.zero_grad()
    total(model.loss(batch())).backward()
    trained = {name: p.grad for name, p in model.named_parameters() if p.requires_grad}
    assert [name for name, grad in trained.items() if grad is None] == []
    assert [name for name, grad in trained.items() if grad is not None and not grad.isfinite().all()] == []


def test_losses_are_finite_float32_under_bfloat16_autocast(model: Recognizer):
    model.train()
    with torch.autocast("cpu", torch.bfloat16):
        losses = model.loss(batch())
    assert {loss.dtype for loss in losses.values()} == {torch.float32}
    total(losses).backward()


@torch.no_grad()
def test_predictions_are_probabilities_of_each_clip(model: Recognizer):
    model.eval()
    predictions = model.predict(batch(views=2))
    assert len(predictions) == 3
    for prediction in predictions:
        assert prediction["class_scores"].shape == (CLASSES,)
        assert float(prediction["class_scores"].sum()) == pytest.approx(1)


@torch.no_grad()
def test_clips_of_a_batch_dont_see_each_other(model: Recognizer):
    model.eval()
    clips = batch().images
    one = torch.cat([model([clip]) for clip in clips])
    torch.testing.assert_close(model(clips), one, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_its_state_restores_it_and_its_operations_are_counted(model: Recognizer):
    model.eval()
    images = batch(count=1).images
    state = {name: value.clone() for name, value in model.state_dict().items()}
    with FlopCounterMode(display=False) as counter:
        before = model(images)
    assert counter.get_total_flops() > 0
    for parameter in model.parameters():
        parameter.mul_(0.5)
    model.load_state_dict(state)
    torch.testing.assert_close(before, model(images), rtol=0, atol=0)
