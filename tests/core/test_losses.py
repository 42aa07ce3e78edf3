"""Losses against their formulas in float64 and against torchvision."""

from __future__ import annotations

import math

import pytest
import torch
import torchvision
from torch.autograd import gradcheck

from omma.losses import (
    BalancedL1Loss,
    BinaryCrossEntropyLoss,
    BoundedIoULoss,
    CrossEntropyLoss,
    DistributionFocalLoss,
    FocalLoss,
    GaussianFocalLoss,
    GHMClassificationLoss,
    GHMRegressionLoss,
    GIoULoss,
    IoULoss,
    L1Loss,
    Loss,
    MSELoss,
    QualityFocalLoss,
    SeesawLoss,
    SmoothL1Loss,
    VarifocalLoss,
)

PAIRED = [
    BinaryCrossEntropyLoss(),
    GIoULoss(),
    IoULoss(),
    L1Loss(),
    SmoothL1Loss(),
    MSELoss(),
    BalancedL1Loss(),
    BoundedIoULoss(),
]
LABELLED = [CrossEntropyLoss(), FocalLoss()]


def boxes(count: int, seed: int) -> torch.Tensor:
    corner, size = torch.rand(2, count, 2, generator=torch.Generator().manual_seed(seed)) * 50
    return torch.cat([corner, corner + size + 5], 1)


def name(loss: Loss) -> str:
    return type(loss).__name__


def test_cross_entropy_is_minus_the_log_of_the_softmax():
    logits, labels = torch.randn(6, 4), torch.tensor([0, 1, 2, 3, 0, 1])
    expected = -logits.double().softmax(1).log()[torch.arange(6), labels].mean()
    assert CrossEntropyLoss()(logits, labels).item() == pytest.approx(expected.item(), rel=1e-6)


def test_binary_cross_entropy_takes_soft_targets():
    logits, target = torch.randn(5, 3), torch.rand(5, 3)
    p, t = logits.double().sigmoid(), target.double()
    expected = -(t * p.log() + (1 - t) * (1 - p).log()).mean()
    assert BinaryCrossEntropyLoss()(logits, target).item() == pytest.approx(expected.item(), rel=1e-6)


@pytest.mark.parametrize(("alpha", "gamma"), [(0.25, 2.0), (0.5, 0.5), (0.1, 0.0)])
def test_focal_loss_equals_torchvisions_and_counts_the_last_label_as_background(alpha: float, gamma: float):
    logits = torch.randn(8, 3) * 4
    labels = torch.tensor([0, 1, 2, 3, 3, 2, 1, 0])
    hot = torch.eye(4)[labels][:, :3]
    expected = torchvision.ops.sigmoid_focal_loss(logits, hot, alpha, gamma, "sum")
    found = FocalLoss(alpha=alpha, gamma=gamma)(logits, labels, avg_factor=1.0)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0])
def test_focal_loss_of_a_very_sure_model_has_a_finite_gradient(gamma: float):
    logits = torch.tensor([[200.0], [-200.0], [200.0], [-200.0]], requires_grad=True)
    loss = FocalLoss(gamma=gamma)(logits, torch.tensor([0, 0, 1, 1]), avg_factor=1.0)
    loss.backward()
    assert loss.item() == pytest.approx(0.25 * 200 + 0.75 * 200)
    assert logits.grad is not None
    torch.testing.assert_close(logits.grad[:, 0], torch.tensor([0, -0.25, 0.75, 0]))


def test_smooth_l1_is_quadratic_below_beta_and_linear_above():
    pred = torch.tensor([0.05, 0.5, -3.0])
    elements = SmoothL1Loss(beta=0.1).elements(pred, torch.zeros(3))
    torch.testing.assert_close(elements, torch.tensor([0.5 * 0.05**2 / 0.1, 0.5 - 0.05, 3.0 - 0.05]))


@pytest.mark.parametrize(("mode", "formula"), [("log", lambda u: -math.log(u)), ("linear", lambda u: 1 - u)])
def test_iou_loss_follows_its_mode(mode, formula):
    pred, target = torch.tensor([[0.0, 0, 10, 10]]), torch.tensor([[0.0, 0, 10, 5]])
    assert IoULoss(mode=mode)(pred, target).item() == pytest.approx(formula(0.5), rel=1e-6)


def test_iou_loss_in_log_mode_is_finite_for_boxes_that_do_not_meet():
    loss = IoULoss()(torch.tensor([[0.0, 0, 1, 1]]), torch.tensor([[5.0, 5, 6, 6]]))
    assert loss.item() == pytest.approx(-math.log(1e-6), rel=1e-5)


def test_giou_loss_equals_torchvisions():
    pred, target = boxes(20, 0), boxes(20, 1)
    expected = torchvision.ops.generalized_box_iou_loss(pred, target, reduction="none")
    torch.testing.assert_close(GIoULoss().elements(pred, target), expected)


@pytest.mark.parametrize("loss", PAIRED, ids=name)
def test_gradients_equal_finite_differences(loss: Loss):
    pred, target = boxes(4, 2).double().requires_grad_(), boxes(4, 3).double()
    scale = 1 / 60 if isinstance(loss, BinaryCrossEntropyLoss) else 1
    assert gradcheck(lambda p: loss(p * scale, target * scale), pred)


@pytest.mark.parametrize("loss", LABELLED, ids=name)
def test_gradients_of_logits_equal_finite_differences(loss: Loss):
    logits = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    assert gradcheck(lambda p: loss(p, torch.tensor([0, 1, 2, 2, 0])), logits)


@pytest.mark.parametrize("loss", PAIRED, ids=name)
def test_of_no_elements_the_loss_is_a_zero_that_keeps_the_graph(loss: Loss):
    pred = torch.zeros(0, 4, requires_grad=True)
    value = loss(pred * 2, torch.zeros(0, 4))
    value.backward()
    assert value.item() == 0
    assert pred.grad is not None


@pytest.mark.parametrize("loss", LABELLED, ids=name)
def test_of_no_rows_the_loss_is_a_zero_that_keeps_the_graph(loss: Loss):
    logits = torch.zeros(0, 3, requires_grad=True)
    value = loss(logits * 2, torch.zeros(0, dtype=torch.int64))
    value.backward()
    assert value.item() == 0
    assert logits.grad is not None


@pytest.mark.parametrize("loss", PAIRED, ids=name)
def test_a_target_of_another_shape_is_refused(loss: Loss):
    with pytest.raises(ValueError, match=rf"{name(loss)}: target must have the shape of pred \(4, 4\)"):
        loss(boxes(4, 0), boxes(1, 0))


def test_weights_scale_elements_and_the_average_factor_divides_their_sum():
    pred, weight = torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([[1.0], [0.5]])
    loss = L1Loss(loss_weight=2.0)(pred, torch.zeros(2, 2), weight=weight, avg_factor=4)
    assert loss.item() == pytest.approx(2 * (1 + 2 + 1.5 + 2) / 4)


def test_weights_that_would_multiply_the_elements_are_refused():
    with pytest.raises(
        ValueError, match=r"L1Loss: weight must broadcast to the elements \(3, 1\), got \(3,\)"
    ):
        L1Loss()(torch.zeros(3, 1), torch.zeros(3, 1), weight=torch.ones(3))


def test_half_precision_losses_sum_in_float32_under_autocast():
    # 70,000 ones: a float16 sum would be infinite, a bfloat16 one would stop at 256.
    pred = torch.ones(70_000, dtype=torch.bfloat16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = L1Loss()(pred, torch.zeros(70_000), avg_factor=1.0)
    assert loss.dtype == torch.float32
    assert loss.item() == 70_000


def test_smooth_l1_without_a_quadratic_part_is_refused():
    with pytest.raises(ValueError, match="beta must be greater than 0"):
        SmoothL1Loss(beta=0.0)


def test_quality_focal_loss_is_the_papers_formula():
    logits, target = torch.randn(5, 3, dtype=torch.float64), torch.rand(5, 3, dtype=torch.float64)
    p = logits.sigmoid()
    entropy = -(target * p.log() + (1 - target) * (1 - p).log())
    expected = (target - p).abs() ** 2 * entropy
    torch.testing.assert_close(QualityFocalLoss(beta=2).elements(logits, target), expected)
    torch.testing.assert_close(QualityFocalLoss(beta=2, activated=True).elements(p, target), expected)


def test_varifocal_loss_weighs_positives_by_their_target_and_fades_negatives():
    logits = torch.randn(5, 3, dtype=torch.float64)
    target = torch.tensor([[0, 0.7, 0]] * 5, dtype=torch.float64)
    p = logits.sigmoid()
    entropy = -(target * p.log() + (1 - target) * (1 - p).log())
    expected = entropy * torch.where(target > 0, target, 0.75 * p**2)
    torch.testing.assert_close(VarifocalLoss().elements(logits, target), expected)


def test_distribution_focal_loss_is_least_at_the_mixture_of_the_two_neighbours():
    target = torch.tensor([2.25], dtype=torch.float64)
    best = torch.full((1, 6), -50.0, dtype=torch.float64)
    best[0, 2], best[0, 3] = math.log(0.75), math.log(0.25)
    least = DistributionFocalLoss().elements(best, target).item()
    assert least == pytest.approx(-(0.75 * math.log(0.75) + 0.25 * math.log(0.25)))
    for _ in range(20):
        assert DistributionFocalLoss().elements(best + torch.randn(1, 6), target).item() > least


def test_focal_loss_of_probabilities_is_that_of_their_logits():
    logits, labels = torch.randn(6, 4, dtype=torch.float64), torch.tensor([0, 1, 2, 3, 4, 4])
    expected = FocalLoss().elements(logits, labels)
    torch.testing.assert_close(FocalLoss(activated=True).elements(logits.sigmoid(), labels), expected)


def test_gaussian_focal_loss_is_the_papers_formula():
    p = torch.rand(4, 7, dtype=torch.float64) * 0.98 + 0.01
    heat = torch.rand(4, 7, dtype=torch.float64) * 0.9
    heat[0, 0] = heat[2, 3] = 1
    positive = (1 - p) ** 2 * -p.log()
    negative = (1 - heat) ** 4 * p**2 * -(1 - p).log()
    expected = torch.where(heat == 1, positive, negative)
    torch.testing.assert_close(GaussianFocalLoss().elements(p, heat), expected)


def test_harmonized_classes_weigh_every_seen_bin_alike():
    loss = GHMClassificationLoss(bins=4, momentum=0.0)
    logits = torch.tensor([[-4.0], [-4.0], [-4.0], [0.3], [3.0], [3.0]])
    labels = torch.tensor([1, 1, 1, 1, 1, 1])  # all background: gradients of length sigmoid(logit)
    entropy = torch.nn.functional.softplus(logits[:, 0]).double()
    groups = (entropy[:3].mean(), entropy[3], entropy[4:].mean())
    assert loss(logits, labels, avg_factor=1e6).item() == pytest.approx(sum(groups).item() / 3, rel=1e-5)


def test_harmonized_regression_is_smooth_around_zero_and_remembers_counts():
    loss = GHMRegressionLoss(mu=0.02, bins=10, momentum=0.5)
    pred, target = torch.tensor([[0.5], [0.001]]), torch.zeros(2, 1)
    size = (pred.double() ** 2 + 0.02**2).sqrt() - 0.02
    # Each is alone in its bin, whose count starts from half of 1.
    assert loss(pred, target).item() == pytest.approx(size.sum().item() / 0.5 / 2, rel=1e-5)
    assert loss(pred, target).item() == pytest.approx(size.sum().item() / 0.75 / 2, rel=1e-5)


def test_balanced_l1_has_the_gradient_of_its_paper():
    loss = BalancedL1Loss(alpha=0.5, gamma=1.5, beta=1.0)
    pred = torch.tensor([0.01, 0.2, 0.7, 0.999, 1.5, -0.4], dtype=torch.float64, requires_grad=True)
    loss.elements(pred, torch.zeros_like(pred)).sum().backward()
    b = math.exp(1.5 / 0.5) - 1
    size = pred.detach().abs()
    expected = torch.where(size < 1, 0.5 * (b * size + 1).log(), 1.5) * pred.detach().sign()
    assert pred.grad is not None
    torch.testing.assert_close(pred.grad, expected)
    # Both parts meet.
    near = loss.elements(torch.tensor([1 - 1e-7, 1.0], dtype=torch.float64), torch.zeros(2).double())
    torch.testing.assert_close(near[0], near[1], atol=1e-6, rtol=0)


def test_seesaw_loss_is_that_of_its_paper():
    loss = SeesawLoss(num_classes=3)
    loss.cum_samples[:] = torch.tensor([90.0, 8.0, 0.0, 400.0])
    logits = torch.tensor([[2.0, 0.5, -1.0, 0.3, -0.2], [0.1, 0.4, 1.5, -1.0, 2.0]], dtype=torch.float64)
    found = loss.elements(logits, torch.tensor([1, 3]))
    seen = [90.0, 9.0, 1.0]  # with this sample; at least one
    scores = logits[0, :3].softmax(0).tolist()
    total = 0.0
    for j in range(3):
        rarity = min(1.0, seen[j] / seen[1]) ** 0.8
        higher = max(1.0, scores[j] / scores[1]) ** 2
        total += math.exp(float(logits[0, j])) * (rarity * higher if j != 1 else 1.0)
    classes = -math.log(math.exp(float(logits[0, 1])) / total)
    objectness = -logits[:, 3:].log_softmax(1)[[0, 1], [0, 1]]
    assert float(found[0]) == pytest.approx(classes + float(objectness[0]), rel=1e-6)
    assert float(found[1]) == pytest.approx(float(objectness[1]), rel=1e-6)
    assert loss.cum_samples.tolist() == [90.0, 9.0, 0.0, 401.0]


def test_bounded_iou_is_the_best_iou_with_one_part_as_predicted():
    pred, target = boxes(6, 0).double(), boxes(6, 1).double()
    found = BoundedIoULoss(beta=0.2, eps=0.0).elements(pred, target)
    for row, (p, t) in enumerate(zip(pred, target)):
        distances = []
        for axis in (0, 1):
            length, wanted = (float(b[axis + 2] - b[axis]) for b in (p, t))
            shift = abs(float(p[axis] + p[axis + 2] - t[axis] - t[axis + 2])) / 2
            # Intervals of one length at such a distance; and with one middle, of two lengths.
            distances.append(
                (
                    1 - max(wanted - 2 * shift, 0) / (wanted + 2 * shift),
                    1 - min(length, wanted) / max(length, wanted),
                )
            )
        (dx, dw), (dy, dh) = distances
        expected = [d * d / 0.4 if d < 0.2 else d - 0.1 for d in (dx, dy, dw, dh)]
        assert found[row].tolist() == pytest.approx(expected, rel=1e-9)
