"""The frame of recognisers: how clips become input, scores and predictions."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from omma.backbones import Backbone
from omma.losses import BinaryCrossEntropyLoss
from omma.structures import Batch, Meta
from omma_action.models.clip_backbone import ClipBackbone
from omma_action.models.preprocessor import ClipPreprocessor
from omma_action.models.recognizer import Recognizer
from omma_action.models.tsn import TSNHead


class FrameMeans(Backbone):
    """The mean colour of each frame."""

    out_channels = (3,)
    strides = (1,)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return (x.mean((2, 3), keepdim=True),)


class Clips(ClipBackbone):
    """The clip as it comes."""

    out_channels = (3,)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return (x,)


def batch(clips: list[Tensor], labels: list[list[int]]) -> Batch:
    samples = [
        {"labels": torch.tensor(row), "meta": Meta(index=i, id=i, path="", height=4, width=4)}
        for i, row in enumerate(labels)
    ]
    return Batch(clips, samples)


def recognizer(backbone: nn.Module, **head: object) -> Recognizer:
    torch.manual_seed(0)
    cls_head = TSNHead(num_classes=5, in_channels=3, init_std=1.0, **head)
    return Recognizer(backbone=backbone, cls_head=cls_head, preprocessor=ClipPreprocessor()).eval()


def noise(views: int, frames: int, height: int = 4, width: int = 6) -> Tensor:
    return torch.randint(0, 256, (views, frames, 3, height, width), dtype=torch.uint8)


@pytest.mark.parametrize("bgr", [False, True])
def test_clips_are_normalised_and_padded_with_the_mean_colour(bgr: bool):
    mean, std = (10.0, 20.0, 30.0), (2.0, 4.0, 8.0)
    clips = [noise(2, 3), noise(2, 3, 5, 4)]
    x = ClipPreprocessor(mean=mean, std=std, bgr=bgr, divisor=8)(clips)
    assert x.shape == (2, 2, 3, 3, 8, 8)
    for view, clip in zip(x, clips):
        channels = clip.flip(2) if bgr else clip
        expected = (channels.double() - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
        height, width = clip.shape[-2:]
        torch.testing.assert_close(view[..., :height, :width].double(), expected)
        assert (view[..., height:, :] == 0).all()
        assert (view[..., width:] == 0).all()


def test_clips_of_other_lengths_in_one_batch_are_an_error():
    with pytest.raises(ValueError, match="as many views and frames"):
        ClipPreprocessor()([noise(1, 3), noise(1, 4)])


@torch.no_grad()
def test_backbones_for_images_see_frames_and_those_for_clips_whole_views():
    clips = [noise(2, 3) for _ in range(2)]
    for backbone, shape in ((FrameMeans(), (12, 3, 1, 1)), (Clips(), (4, 3, 3, 4, 6))):
        model = recognizer(backbone)
        assert model.features(clips)[0].shape == shape
        assert model(clips).shape == (4, 5)


@torch.no_grad()
@pytest.mark.parametrize("average", ["prob", "score"])
def test_predictions_average_the_views_of_each_clip(average: str):
    model = recognizer(FrameMeans(), average=average)
    clips = [noise(3, 2) for _ in range(2)]
    for clip, prediction in zip(clips, model.predict(batch(clips, [[0], [1]])), strict=True):
        x = (clip.double() - model.preprocessor.mean) / model.preprocessor.std
        features = x.mean((1, 3, 4))  # (V, 3): the mean over frames and positions
        scores = features @ model.cls_head.fc_cls.weight.double().T + model.cls_head.fc_cls.bias
        expected = scores.softmax(-1).mean(0) if average == "prob" else scores.mean(0).softmax(-1)
        torch.testing.assert_close(prediction["class_scores"].double(), expected)


@torch.no_grad()
def test_few_views_at_a_time_give_the_same_predictions():
    clips = [noise(3, 2) for _ in range(2)]
    model = recognizer(FrameMeans())
    whole = model.predict(batch(clips, [[0], [1]]))
    model.max_views = 2
    for a, b in zip(whole, model.predict(batch(clips, [[0], [1]])), strict=True):
        torch.testing.assert_close(a["class_scores"], b["class_scores"])


def test_smoothed_labels_share_a_little_with_all_classes():
    head = TSNHead(num_classes=4, in_channels=3, label_smoothing=0.2)
    row = head.targets([torch.tensor([2])])[0]
    torch.testing.assert_close(row, torch.tensor([0.05, 0.05, 0.85, 0.05]))


def test_several_labels_share_a_row_of_softmax_and_not_one_of_independent_decisions():
    labels = [torch.tensor([0, 2])]
    single = TSNHead(num_classes=3, in_channels=3).targets(labels)
    several = TSNHead(num_classes=3, in_channels=3, loss=BinaryCrossEntropyLoss()).targets(labels)
    assert single.tolist() == [[0.5, 0, 0.5]]
    assert several.tolist() == [[1, 0, 1]]


def test_the_loss_is_the_mean_over_clips_of_minus_the_log_probability():
    model = recognizer(FrameMeans())
    clips, labels = [noise(1, 2) for _ in range(3)], [[0], [4], [2]]
    scores = model(clips).double().log_softmax(-1)
    expected = -sum(scores[i, row[0]] for i, row in enumerate(labels)) / 3
    torch.testing.assert_close(model.loss(batch(clips, labels))["loss_cls"].double(), expected)


def test_a_head_of_other_channels_is_refused():
    with pytest.raises(ValueError, match="in_channels of the head says 8"):
        Recognizer(
            backbone=FrameMeans(),
            cls_head=TSNHead(num_classes=2, in_channels=8),
            preprocessor=ClipPreprocessor(),
        )


def test_a_clip_without_a_label_has_none_of_the_classes():
    head = TSNHead(num_classes=3, in_channels=3, loss=BinaryCrossEntropyLoss())
    assert head.targets([torch.empty(0, dtype=torch.int64)]).tolist() == [[0, 0, 0]]
