"""What the model of every config must do at reduced size: train, predict, survive a round trip."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from omma.checkpoint.classes import class_rows
from omma.model import Model
from omma_detection.models.ssd import SSD

from .detectors import TWO_OBJECTS, batch, flat, sample
from .reduced import CLASSES, OWN_BACKBONE, model_configs, reduced_model

SIZE = (64, 96)
LARGER = {6: (304, 304), 7: (512, 512)}
"""What SSD takes by its number of levels: its last convolutions have no padding."""
OBJECTS = [[x / 2 for x in box] for box in TWO_OBJECTS]


# The scope keeps all tests of one config together, so that it is built once.
@pytest.fixture(params=model_configs(), scope="module")
def model(request: pytest.FixtureRequest) -> Model:
    return reduced_model(request.param)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def losses_of(model: Model, objects: list[list[float]]) -> dict[str, Tensor]:
    model.train()
    size = size_of(model)
    return model.loss(batch(sample(objects, size), sample([], size)))


def check_gradients(model: Model, losses: dict[str, Tensor]) -> None:
    """All parameters take part, else processes that exchange gradients would wait for each other."""
    assert all(loss.ndim == 0 and loss.isfinite() for loss in losses.values()), losses
    model.zero_grad()
    torch.stack(list(losses.values())).sum().backward()
    trained = {name: p.grad for name, p in model.named_parameters() if p.requires_grad}
    assert [name for name, grad in trained.items() if grad is None] == []
    assert [name for name, grad in trained.items() if grad is not None and not grad.isfinite().all()] == []


def test_every_parameter_learns_from_objects(model: Model):
    check_gradients(model, losses_of(model, OBJECTS))


def test_images_without_objects_train(model: Model):
    check_gradients(model, losses_of(model, []))


def test_losses_are_finite_float32_under_bfloat16_autocast(model: Model):
    with torch.autocast("cpu", torch.bfloat16):
        losses = losses_of(model, OBJECTS)
    assert {loss.dtype for loss in losses.values()} == {torch.float32}
    assert all(loss.isfinite() for loss in losses.values()), losses
    torch.stack(list(losses.values())).sum().backward()


@torch.no_grad()
def test_predictions_are_sorted_and_lie_in_the_original_image(model: Model):
    model.eval()
    size = size_of(model)
    found = model.predict(batch(sample(OBJECTS, size, scale=2.0), sample([], size)))
    for prediction, (height, width) in zip(found, ((size[0] // 2, size[1] // 2), size), strict=True):
        scores, labels = prediction["scores"], prediction["labels"]
        assert len(scores) == len(labels)
        assert len(scores) > 0 or not has_threshold(model)
        assert scores.dtype == torch.float32
        assert labels.dtype == torch.int64
        assert bool((scores.diff() <= 0).all())
        assert bool(((scores >= 0) & (scores <= 1)).all())
        assert bool(((labels >= 0) & (labels < CLASSES)).all())
        if "boxes" in prediction:
            boxes = prediction["boxes"]
            limit = torch.tensor([width, height, width, height]) + 1e-3
            assert boxes.shape == (len(scores), 4)
            assert not clips(model) or bool(((boxes >= 0) & (boxes <= limit)).all())
        if "masks" in prediction:
            assert prediction["masks"].shape == (len(scores), height, width)
            assert prediction["masks"].dtype == torch.bool


@torch.no_grad()
def test_its_state_restores_it_and_its_operations_are_counted(model: Model):
    model.eval()
    images = batch(sample([], size_of(model))).images
    state = {name: value.clone() for name, value in model.state_dict().items()}
    with FlopCounterMode(display=False) as counter:
        before = flat(model(images))
    assert counter.get_total_flops() > 0
    for parameter in model.parameters():
        parameter.mul_(0.5)
    assert not same(before, flat(model(images)))
    model.load_state_dict(state)
    assert same(before, flat(model(images)))


def has_threshold(model: Model) -> bool:
    """Whether the score that a prediction needs was taken down to zero.

    Networks with a deep backbone of random weights may still see nothing but boxes without area.
    """
    if type(model.backbone).__name__ in OWN_BACKBONE:
        return False
    names = ("score_threshold", "selection")
    return any(hasattr(module, name) for module in model.modules() for name in names)


def size_of(model: Model) -> tuple[int, int]:
    """Height and width of an image that the model can take."""
    return LARGER[len(model.bbox_head.strides)] if isinstance(model, SSD) else SIZE


def clips(model: Model) -> bool:
    """Whether boxes are cut to the image; some published models don't."""
    selections = [getattr(module, "selection", None) for module in model.modules()]
    return all(getattr(selection, "clip", True) for selection in selections)


def same(before: list[Tensor], after: list[Tensor]) -> bool:
    return [a.shape for a in before] == [a.shape for a in after] and all(map(torch.equal, before, after))


def test_class_rows_are_parameters_whose_first_axis_they_describe(model: Model):
    parameters = dict(model.named_parameters())
    for key, row in class_rows(model).items():
        assert len(parameters[key]) == row.total(CLASSES), key
