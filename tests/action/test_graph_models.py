"""Graph networks against their formulas, and as models of skeletons."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from omma.config import Config, check, list_configs
from omma.experiment import Experiment
from omma.structures import Batch, Meta
from omma_action.layouts import LAYOUTS
from omma_action.models.agcn import AGCN
from omma_action.models.graph_conv import AdaptiveGraphConv, GraphConv, MultiScaleTemporalConv, TemporalConv
from omma_action.models.heads.graph_head import GraphHead
from omma_action.models.recognizer import Recognizer
from omma_action.models.skeleton_preprocessor import SkeletonPreprocessor, VolumePreprocessor
from omma_action.models.stgcn import STGCN

GRAPH = LAYOUTS["coco"].graph("spatial")
NAMES = sorted(
    name
    for name, path in list_configs().items()
    if path.parent.name in ("stgcn", "stgcnpp", "2s-agcn")
    and ("-joint-u100-80e_ntu60" in name or "msr" in name)
)
"""One for each network and layout; their siblings differ in the data alone."""


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def randomised(module: nn.Module) -> nn.Module:
    """In float64 and eval mode, with running statistics and scalars that do something."""
    for name, value in [*module.named_parameters(), *module.named_buffers()]:
        if value.is_floating_point() and ("bn" in name or "alpha" in name or "running" in name):
            value.data = torch.rand_like(value) + 0.5
    return module.double().eval()


def pointwise(conv: nn.Conv2d, x: Tensor) -> Tensor:
    assert conv.bias is not None
    return torch.einsum("oi,nitk->notk", conv.weight[:, :, 0, 0], x) + conv.bias[:, None, None]


def norm(bn: Any, x: Tensor) -> Tensor:
    scale = bn.weight / (bn.running_var + bn.eps).sqrt()
    return x * scale[:, None, None] + (bn.bias - bn.running_mean * scale)[:, None, None]


@torch.no_grad()
@pytest.mark.parametrize(("adaptation", "residual"), [("importance", False), ("init", True)])
def test_graph_convolution_sums_over_sets_of_neighbours(adaptation: Any, residual: bool):
    conv: Any = randomised(GraphConv(3, 5, GRAPH, adaptation=adaptation, residual=residual))
    x = torch.rand(2, 3, 4, 17, dtype=torch.float64)
    weights = conv.A * (conv.PA if adaptation == "importance" else 1)
    sets = pointwise(conv.conv, x).view(2, 3, 5, 4, 17)
    total = torch.zeros(2, 5, 4, 17, dtype=torch.float64)
    for s in range(3):
        for i in range(17):
            for j in range(17):
                total[..., i] += weights[s, j, i] * sets[:, s, ..., j]
    expected = norm(conv.bn, total)
    if residual:
        expected = expected + norm(conv.down[1], pointwise(conv.down[0], x))
    torch.testing.assert_close(conv(x), expected.relu())


@torch.no_grad()
def test_adaptive_graph_convolution_bends_the_graph_by_likeness():
    conv: Any = randomised(AdaptiveGraphConv(4, 8, GRAPH))
    x = torch.rand(2, 4, 3, 17, dtype=torch.float64)
    total = torch.zeros(2, 8, 3, 17, dtype=torch.float64)
    for s in range(3):
        one, other = pointwise(conv.conv_a[s], x), pointwise(conv.conv_b[s], x)
        alike = torch.einsum("nctj,ncti->nji", one, other) / (one.shape[1] * 3)
        graph = conv.A[s] + conv.alpha * alike.tanh()
        total += pointwise(conv.conv_d[s], torch.einsum("nctj,nji->ncti", x, graph))
    expected = norm(conv.bn, total) + norm(conv.down[1], pointwise(conv.down[0], x))
    torch.testing.assert_close(conv(x), expected.relu())


@torch.no_grad()
@pytest.mark.parametrize(("stride", "dilation"), [(1, 1), (2, 1), (1, 3)])
def test_temporal_convolution_looks_along_each_joint(stride: int, dilation: int):
    conv: Any = randomised(TemporalConv(3, 4, 3, stride=stride, dilation=dilation))
    x = torch.rand(1, 3, 9, 2, dtype=torch.float64)
    for joint in range(2):
        alone = nn.functional.conv1d(
            x[..., joint], conv.conv.weight[..., 0], conv.conv.bias, stride, dilation, dilation
        )
        torch.testing.assert_close(conv(x)[..., joint], norm(conv.bn, alone[..., None])[..., 0])


@pytest.mark.parametrize("stride", [1, 2])
def test_scales_of_time_side_by_side_keep_their_lengths(stride: int):
    conv = MultiScaleTemporalConv(5, 20, stride=stride)
    assert conv(torch.rand(2, 5, 9, 3)).shape == (2, 20, -(-9 // stride), 3)
    with pytest.raises(ValueError, match="out_channels must be at least 6"):
        MultiScaleTemporalConv(4, 4)


@torch.no_grad()
def test_persons_are_looked_at_by_themselves():
    backbone = STGCN(base_channels=8, blocks=3, widen=(2,), shorten=(2,)).eval()
    x = torch.rand(2, 3, 8, 17, 3)
    whole = backbone(x)[0]
    assert whole.shape == (2, 3, 16, 4, 17)
    for person in range(3):
        torch.testing.assert_close(backbone(x[:, person : person + 1])[0][:, 0], whole[:, person])


def test_skeletons_of_another_form_are_told():
    backbone = AGCN(base_channels=8, blocks=2, persons=2)
    with pytest.raises(ValueError, match="expected skeletons of 17 joints with 3 numbers each and 2 persons"):
        backbone(torch.rand(1, 1, 4, 17, 3))
    with pytest.raises(ValueError, match="got 25, 3 and 2"):
        backbone(torch.rand(1, 2, 4, 25, 3))


@torch.no_grad()
def test_head_averages_over_frames_joints_and_persons():
    head = GraphHead(num_classes=4, in_channels=6, dropout=0.5).eval()
    features = torch.rand(3, 2, 6, 5, 7)
    expected = features.permute(0, 2, 1, 3, 4).flatten(2).mean(dim=2) @ head.fc.weight.T + head.fc.bias
    torch.testing.assert_close(head([features], 3), expected)


def test_volumes_are_laid_out_as_clips():
    volumes = [torch.rand(2, 17, 4, 6, 8) for _ in range(3)]
    stacked = VolumePreprocessor()(volumes)
    assert stacked.shape == (3, 2, 4, 17, 6, 8)
    torch.testing.assert_close(stacked[1, 0, 2, 5], volumes[1][0, 5, 2])


def test_skeletons_of_different_lengths_are_told():
    with pytest.raises(ValueError, match="UniformFrames and PadPersons"):
        SkeletonPreprocessor()([torch.rand(1, 1, 4, 17, 3), torch.rand(1, 1, 5, 17, 3)])


def small(name: str) -> Recognizer:
    """The model of a config with few channels and blocks."""
    changes = ["base_channels=8", "blocks=3", "widen=[2]", "shorten=[3]"]
    overrides = [f"model.backbone.{change}" for change in changes]
    config = Config.load(name, [*overrides, "model.cls_head.in_channels=16"])
    return check(config, Experiment)["model"].build()


def batch(model: Recognizer, *, views: int = 1, count: int = 3) -> Batch:
    backbone: Any = model.backbone
    persons = backbone.persons or 2
    skeletons = [torch.rand(views, persons, 16, backbone.joints, backbone.in_channels) for _ in range(count)]
    samples: list[Any] = [
        {
            "labels": torch.tensor([i % model.cls_head.num_classes]),
            "meta": Meta(index=i, id=i, path="", height=0, width=0),
        }
        for i in range(count)
    ]
    return Batch(skeletons, samples)


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_learns(name: str):
    model = small(name).train()
    losses = model.loss(batch(model))
    torch.stack(list(losses.values())).sum().backward()
    silent = [key for key, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert silent == []


@torch.no_grad()
@pytest.mark.parametrize("name", NAMES)
def test_predictions_are_the_mean_over_views(name: str):
    model = small(name).eval()
    made = batch(model, views=2, count=1)
    found = model.predict(made)[0]["class_scores"]
    alone = [model.predict(Batch([made.images[0][v : v + 1]], made.samples)) for v in range(2)]
    expected = (alone[0][0]["class_scores"] + alone[1][0]["class_scores"]) / 2
    torch.testing.assert_close(found, expected)
    assert float(found.sum()) == pytest.approx(1, abs=1e-5)


def test_a_small_network_learns_two_motions():
    """Joints that rise and joints that fall."""
    model = Recognizer(
        backbone=STGCN(
            partition="spatial",
            adaptation="init",
            residual=True,
            temporal="multi_scale",
            base_channels=8,
            blocks=2,
        ),
        cls_head=GraphHead(num_classes=2, in_channels=8, dropout=0),
        preprocessor=SkeletonPreprocessor(),
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    labels = torch.arange(16) % 2
    rise = torch.linspace(-1, 1, 12)[:, None, None] * (2 * labels[:, None, None, None, None] - 1)
    skeletons = torch.rand(16, 1, 12, 17, 3) + rise
    metas = [Meta(index=i, id=i, path="", height=0, width=0) for i in range(16)]
    data = Batch(
        [each[None] for each in skeletons],
        [{"labels": label[None], "meta": meta} for label, meta in zip(labels, metas)],
    )
    for _ in range(30):
        optimizer.zero_grad()
        loss = model.loss(data)["loss_cls"]
        loss.backward()
        optimizer.step()
    guesses = [int(found["class_scores"].argmax()) for found in model.eval().predict(data)]
    assert guesses == labels.tolist()
