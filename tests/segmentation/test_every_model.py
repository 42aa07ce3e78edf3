"""What the model of every segmentation config must do at reduced size."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode
from torchvision import tv_tensors

from omma.checkpoint.classes import class_rows
from omma.model import Model
from omma.structures import IGNORED, Batch, Meta

from .reduced import CLASSES, model_configs, reduced_model

SIZE = (64, 96)


@pytest.fixture(params=model_configs(), scope="module")
def model(request: pytest.FixtureRequest) -> Model:
    return reduced_model(request.param)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def batch(labels: Tensor, original: tuple[int, int] = SIZE) -> Batch:
    """Two images of noise with these labels."""
    images = list(torch.randint(0, 256, (2, 3, *labels.shape), dtype=torch.uint8))
    meta = [Meta(index=i, id=i, path=f"{i}.jpg", height=original[0], width=original[1]) for i in range(2)]
    semantic = tv_tensors.Mask(labels.to(torch.uint8))
    return Batch(images, [{"semantic": semantic, "meta": each} for each in meta])


def stripes() -> Tensor:
    """Every class, and a part that is ignored."""
    labels = (torch.arange(SIZE[1]) * CLASSES // SIZE[1]).expand(SIZE).clone()
    labels[:8] = IGNORED
    return labels


def total(losses: dict[str, Tensor]) -> Tensor:
    assert all(loss.ndim == 0 and loss.isfinite() for loss in losses.values()), losses
    return torch.stack(list(losses.values())).sum()


@pytest.mark.parametrize("labelled", [True, False], ids=["labelled", "nothing labelled"])
def test_every_parameter_learns(model: Model, labelled: bool):
    model.train()
    model.zero_grad()
    labels = stripes() if labelled else torch.full(SIZE, IGNORED)
    total(model.loss(batch(labels))).backward()
    trained = {name: p.grad for name, p in model.named_parameters() if p.requires_grad}
    assert [name for name, grad in trained.items() if grad is None] == []
    assert [name for name, grad in trained.items() if grad is not None and not grad.isfinite().all()] == []


def test_losses_are_finite_float32_under_bfloat16_autocast(model: Model):
    model.train()
    with torch.autocast("cpu", torch.bfloat16):
        losses = model.loss(batch(stripes()))
    assert {loss.dtype for loss in losses.values()} == {torch.float32}
    total(losses).backward()


@torch.no_grad()
def test_every_original_pixel_gets_a_class(model: Model):
    model.eval()
    for prediction in model.predict(batch(stripes(), original=(50, 70))):
        assert prediction["semantic"].shape == (50, 70)
        assert prediction["semantic"].dtype == torch.uint8
        assert int(prediction["semantic"].max()) < CLASSES


@torch.no_grad()
def test_its_state_restores_it_and_its_operations_are_counted(model: Model):
    model.eval()
    images = batch(stripes()).images
    state = {name: value.clone() for name, value in model.state_dict().items()}
    with FlopCounterMode(display=False) as counter:
        before = model(images)
    assert counter.get_total_flops() > 0
    assert before.shape == (2, CLASSES, *SIZE)
    for parameter in model.parameters():
        parameter.mul_(0.5)
    assert not torch.equal(before, model(images))
    model.load_state_dict(state)
    assert torch.equal(before, model(images))


def test_class_rows_are_parameters_whose_first_axis_they_describe(model: Model):
    parameters = dict(model.named_parameters())
    rows = class_rows(model)
    assert rows
    for key, row in rows.items():
        assert len(parameters[key]) == row.total(CLASSES), key
