"""What the model of every pose config must do on a plain backbone."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from omma.structures import Batch, Meta
from omma_pose.models.topdown import TopDown

from .reduced import model_configs, reduced_model


@pytest.fixture(params=model_configs(), scope="module")
def model(request: pytest.FixtureRequest) -> TopDown:
    made = reduced_model(request.param)
    assert isinstance(made, TopDown)
    return made


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def batch(model: TopDown, visible: bool = True, count: int = 2) -> Batch:
    """Images of noise, cut from twice as large ones, with key points anywhere in them."""
    width, height = model.head.codec.input_size
    images = list(torch.randint(0, 256, (count, 3, height, width), dtype=torch.uint8))
    keypoints = torch.rand(count, 1, model.head.num_keypoints, 2) * torch.tensor([width - 1, height - 1])
    samples = [
        {
            "keypoints": keypoints[i],
            "visibility": torch.full(keypoints[i].shape[:2], 2 if visible else 0, dtype=torch.uint8),
            "crop": torch.tensor([[0.5, 0.0, 0.0], [0.0, 0.5, 0.0]]),
            "boxes": torch.tensor([[0.0, 0.0, width, height]]),
            "box_scores": torch.tensor([0.5]),
            "labels": torch.zeros(1, dtype=torch.int64),
            "meta": Meta(index=i, id=i, path=f"{i}.jpg", height=2 * height, width=2 * width),
        }
        for i in range(count)
    ]
    return Batch(images, samples)


def total(losses: dict[str, Tensor]) -> Tensor:
    assert all(loss.ndim == 0 and loss.isfinite() for loss in losses.values()), losses
    return torch.stack(list(losses.values())).sum()


@pytest.mark.parametrize("visible", [True, False], ids=["labelled", "nothing labelled"])
def test_every_parameter_learns(model: TopDown, visible: bool):
    model.train()
    model.zero_grad()
    loss = total(model.loss(batch(model, visible)))
    loss.backward()
    trained = {name: p.grad for name, p in model.named_parameters() if p.requires_grad}
    assert [name for name, grad in trained.items() if grad is None] == []
    assert [name for name, grad in trained.items() if grad is not None and not grad.isfinite().all()] == []
    if not visible:
        assert float(loss.detach()) == 0


def test_losses_are_finite_float32_under_bfloat16_autocast(model: TopDown):
    model.train()
    with torch.autocast("cpu", torch.bfloat16):
        losses = model.loss(batch(model))
    assert {loss.dtype for loss in losses.values()} == {torch.float32}
    total(losses).backward()


@torch.no_grad()
@pytest.mark.parametrize("flip_test", [False, True])
def test_predictions_are_in_original_pixels(model: TopDown, flip_test: bool):
    model.eval()
    before, model.flip_test = model.flip_test, flip_test
    try:
        predictions = model.predict(batch(model))
    finally:
        model.flip_test = before
    width, height = model.head.codec.input_size
    for prediction in predictions:
        assert prediction["keypoints"].shape == (1, model.head.num_keypoints, 2)
        assert prediction["keypoint_scores"].shape == (1, model.head.num_keypoints)
        assert prediction["keypoints"].isfinite().all()
        assert prediction["boxes"][0].tolist() == pytest.approx(
            [-0.5, -0.5, 2 * width - 0.5, 2 * height - 0.5]
        )
        assert prediction["scores"].tolist() == [0.5]
        assert prediction["areas"].tolist() == pytest.approx([4 * width * height])


@torch.no_grad()
def test_its_state_restores_it_and_its_operations_are_counted(model: TopDown):
    model.eval()
    images = batch(model, count=1).images
    state = {name: value.clone() for name, value in model.state_dict().items()}
    with FlopCounterMode(display=False) as counter:
        before = model(images)
    assert counter.get_total_flops() > 0
    for parameter in model.parameters():
        parameter.mul_(0.5)
    model.load_state_dict(state)
    torch.testing.assert_close(before, model(images), rtol=0, atol=0)


@torch.no_grad()
def test_outputs_that_are_turned_back_twice_are_what_they_were(model: TopDown):
    """That they are turned to the right place is tested of each codec."""
    model.eval()
    outputs = model(batch(model).images)
    order = torch.tensor(model.skeleton.mirror)
    once = model.head.upright(outputs, order)
    twice = model.head.upright(once, order)
    places, _ = model.head.decode(twice)
    expected, _ = model.head.decode(outputs)
    # Maps that are moved by a pixel at each turn lose their first column.
    assert float((places - expected).abs().median()) < 1e-3
