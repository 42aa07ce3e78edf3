"""Objects of videos, followed from frame to frame."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest
import torch

from omma.inference import Frame, Seen, Tracking
from omma.inference.tracking import greedy_pairs
from omma.structures import DataInfo, Prediction, Skeleton

IMAGE = np.zeros((100, 200, 3), np.uint8)
SKELETON = Skeleton(names=("head", "foot"))


def video(boxes: Iterable[list[tuple[float, ...]]], *, path: str = "v.mp4", labels=None) -> list[Seen]:
    """Frames at 10 a second with boxes in them."""
    return [
        Seen(Frame(IMAGE, path, i, 10.0), boxed(each, labels), DataInfo(("a", "b")))
        for i, each in enumerate(boxes)
    ]


def boxed(boxes: list[tuple[float, ...]], labels: list[int] | None = None) -> Prediction:
    table = torch.tensor(boxes).reshape(-1, 4)
    kinds = torch.tensor(labels if labels is not None else [0] * len(table), dtype=torch.int64)
    return Prediction(boxes=table, scores=torch.ones(len(table)), labels=kinds)


def numbers(seen: Iterable[Seen], **options) -> list[list[int]]:
    return [each.prediction["tracks"].tolist() for each in Tracking(**options).after(seen)]


def test_objects_keep_their_numbers_in_whatever_order_they_come():
    left = [(10.0 + 4 * i, 10.0, 40.0 + 4 * i, 60.0) for i in range(6)]
    right = [(150.0 - 4 * i, 12.0, 180.0 - 4 * i, 62.0) for i in range(6)]
    boxes = [[a, b] if i % 2 else [b, a] for i, (a, b) in enumerate(zip(left, right))]
    assert numbers(video(boxes)) == [[0, 1], [1, 0]] * 3


def test_a_new_object_gets_a_new_number_and_an_old_one_comes_back_in_time():
    here, there = (10.0, 10.0, 40.0, 60.0), (100.0, 10.0, 130.0, 60.0)
    gone = [[here], [here, there], [there], [there], [here, there]]
    assert numbers(video(gone), lost_after=0.35) == [[0], [0, 1], [1], [1], [0, 1]]
    assert numbers(video(gone), lost_after=0.25) == [[0], [0, 1], [1], [1], [2, 1]]


def test_an_empty_frame_passes():
    assert numbers(video([[], [(0.0, 0.0, 9.0, 9.0)], []])) == [[], [0], []]


def test_classes_are_not_mixed():
    boxes = [(10.0, 10.0, 40.0, 60.0)]
    frames = [*video([boxes], labels=[0]), *video([boxes, boxes], labels=[1])[1:]]
    assert numbers(frames) == [[0], [1]]


def test_each_video_is_numbered_from_0_and_images_pass_as_they_are():
    boxes = [[(10.0, 10.0, 40.0, 60.0)]] * 2
    image = Seen(Frame(IMAGE, "a.jpg"), boxed(boxes[0]), DataInfo(("a",)))
    passed = list(Tracking().after([*video(boxes), image, *video(boxes, path="w.mp4"), *video(boxes)]))
    assert passed[2] is image
    assert [each.prediction["tracks"].tolist() for each in passed if each is not image] == [[0]] * 6


def posed(number: int, places: list[list[float]], box: tuple[float, ...]) -> Seen:
    """Two objects with the same box and key points 5 pixels around two places."""
    points = torch.tensor(places)[:, None] + torch.tensor([[0.0, 0.0], [5.0, 5.0]])
    prediction = boxed([box, box])
    prediction |= {"keypoints": points, "keypoint_scores": torch.ones(2, 2), "areas": torch.full((2,), 400.0)}
    return Seen(Frame(IMAGE, "v.mp4", number, 10.0), prediction, DataInfo(("a", "b"), skeleton=SKELETON))


def test_key_points_tell_objects_with_the_same_box_apart():
    box = (0.0, 0.0, 100.0, 50.0)
    frames = [posed(0, [[10, 10], [80, 10]], box), posed(1, [[79, 11], [11, 11]], box)]
    assert numbers(frames) == [[0, 1], [1, 0]]


def test_boxes_tell_where_key_points_are_too_far_off():
    frames = [posed(i, [[10, 10 + 60 * i], [80, 10]], (0.0, 0.0, 100.0, 90.0)) for i in range(2)]
    assert numbers(frames) == [[0, 1], [0, 1]]


def test_pairs_are_formed_from_the_most_similar_on():
    similarity = np.array([[0.9, 0.8, 0.1], [0.85, 0.2, 0.1]])
    assert greedy_pairs(similarity, 0.15) == [(0, 0), (1, 1)]
    assert greedy_pairs(similarity, 0.5) == [(0, 0)]
    assert greedy_pairs(np.zeros((0, 2)), 0.5) == []


@pytest.mark.parametrize("arguments", [{"oks": 0.0}, {"iou": 1.5}, {"lost_after": -1.0}])
def test_rules_out_of_range_are_refused(arguments):
    with pytest.raises(ValueError, match="expected"):
        Tracking(**arguments)
