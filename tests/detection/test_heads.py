"""Targets, losses, pooling and post-processing of the heads against plain loops and other libraries."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torchvision
from torch.nn import functional as F
from torchvision.ops import box_iou, sigmoid_focal_loss

from omma.losses import L1Loss
from omma.structures import Batch
from omma_detection.models.coders import center_quality
from omma_detection.models.heads import MaskHead, RoIExtractor
from omma_detection.models.heads.detections import Candidates, suppress, top_candidates
from omma_detection.models.heads.mask_head import crop_masks, paste_masks
from omma_detection.models.heads.roi_extractor import boxes_to_rois

from .detectors import CLASSES, TWO_OBJECTS, WIDTH, batch, fcos_head, retina_head, roi_head, rpn_head, sample

SIZE = (96, 128)


def pyramid_maps(
    strides: tuple[int, ...], size: tuple[int, int] = SIZE, images: int = 1
) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    shapes = [(images, WIDTH, math.ceil(size[0] / s), math.ceil(size[1] / s)) for s in strides]
    return [torch.randn(shape, generator=generator) for shape in shapes]


# Post-processing


def test_the_best_pairs_are_those_of_a_full_sort():
    scores = torch.rand(2, 7, 3, generator=torch.Generator().manual_seed(0))
    image, position, label, score = top_candidates(scores, 0.5, 4)
    for i in range(2):
        pairs = [(float(scores[i, p, c]), p, c) for p in range(7) for c in range(3) if scores[i, p, c] > 0.5]
        mine = image == i
        found = zip(score[mine].tolist(), position[mine].tolist(), label[mine].tolist())
        assert list(found) == sorted(pairs, reverse=True)[:4]


def test_suppression_is_greedy_within_an_image_and_label():
    generator = torch.Generator().manual_seed(1)
    corner = torch.rand(60, 2, generator=generator) * 20
    boxes = torch.cat([corner, corner + 10], dim=1)
    scores = torch.rand(60, generator=generator)
    labels, images = torch.arange(60) % 2, torch.arange(60) // 2 % 2
    found = suppress(Candidates(boxes, scores, labels, images), 3, iou_threshold=0.4, max_per_image=9)
    for image in range(3):
        kept: list[int] = []
        for i in scores.argsort(descending=True).tolist():
            rivals = [k for k in kept if labels[k] == labels[i]]
            clear = all(box_iou(boxes[[i]], boxes[[k]]).item() <= 0.4 for k in rivals)
            if images[i] == image and clear:
                kept.append(i)
        torch.testing.assert_close(found[image].boxes, boxes[kept[:9]])


def test_no_candidates_give_empty_predictions():
    empty = Candidates(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0).long(), torch.zeros(0).long())
    assert [len(f.scores) for f in suppress(empty, 2, iou_threshold=0.5, max_per_image=5)] == [0, 0]


# Regions


@pytest.mark.parametrize("side", [10, 111.9, 112.1, 223.9, 224.1, 447.9, 448.1, 5000])
def test_a_region_is_pooled_from_the_level_of_its_size(side: float):
    strides = (4, 8, 16, 32)
    maps = pyramid_maps(strides, size=(512, 512))
    rois = torch.tensor([[0.0, 3, 5, 3 + side, 5 + side]])
    # Lin et al., FPN, equation 1: k = floor(4 + log2(side / 224)), where P2 is the finest level.
    level = min(max(math.floor(4 + math.log2(side / 224)) - 2, 0), 3)
    expected = torchvision.ops.roi_align(maps[level], rois, 7, 1 / strides[level], aligned=True)
    torch.testing.assert_close(RoIExtractor(strides=strides, size=7)(maps, rois), expected)


def test_regions_keep_their_order_over_levels_and_images():
    maps = pyramid_maps((4, 8), size=(256, 256), images=2)
    extractor = RoIExtractor(strides=(4, 8), size=3)
    boxes = [torch.tensor([[0.0, 0, 200, 200], [4, 4, 20, 20]]), torch.tensor([[8.0, 8, 30, 30]])]
    together = extractor(maps, boxes_to_rois(boxes))
    alone = [extractor(maps, boxes_to_rois([boxes[0][:1]])), extractor(maps, boxes_to_rois([boxes[0][1:]]))]
    second = boxes_to_rois([boxes[0][:0], boxes[1]])
    torch.testing.assert_close(together, torch.cat([*alone, extractor(maps, second)]))


def test_sampled_regions_are_objects_first_then_background():
    head = roi_head()
    objects = torch.tensor(TWO_OBJECTS)
    proposals = torch.tensor([[11.0, 12, 70, 60], [0, 70, 20, 90], [41, 30, 90, 95]])
    data = batch(sample(TWO_OBJECTS, SIZE))
    data.samples[0]["labels"] = torch.tensor([2, 0])
    (regions,) = head.sample(pyramid_maps((4, 8, 16, 32)), [proposals], data)
    assert regions.given.tolist() == [True, True, False, False]
    assert regions.labels.tolist() == [2, 0, 2, 0, CLASSES]
    assert regions.objects.tolist() == [0, 1, 0, 1]
    torch.testing.assert_close(regions.target_boxes[:4], objects[[0, 1, 0, 1]])
    torch.testing.assert_close(regions.boxes[4], proposals[1])


def test_the_box_losses_are_averaged_over_all_sampled_regions():
    head = roi_head().bbox_head
    generator = torch.Generator().manual_seed(0)
    outputs = (
        torch.randn(5, CLASSES + 1, generator=generator),
        torch.randn(5, 4 * CLASSES, generator=generator),
    )
    labels = torch.tensor([1, 0, 3, 3, 3])
    rois = boxes_to_rois([torch.tensor([[0.0, 0, 10, 20]]).expand(5, 4)])
    boxes = torch.tensor([[1.0, 2, 11, 22]]).expand(5, 4)
    losses = head.loss(outputs, rois, boxes, labels)
    # The centre moves by a tenth of either side, the sizes stay; deviations are 0.1 and 0.2.
    target = torch.tensor([1.0, 1.0, 0.0, 0.0])
    wanted = sum((outputs[1][row, 4 * c : 4 * c + 4] - target).abs().sum() for row, c in ((0, 1), (1, 0)))
    torch.testing.assert_close(losses["loss_bbox"], wanted / 5, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(losses["loss_cls"], F.cross_entropy(outputs[0], labels))


def test_an_image_without_proposals_has_no_detections():
    head = roi_head().bbox_head
    outputs = (torch.zeros(0, CLASSES + 1), torch.zeros(0, 4 * CLASSES))
    found = head.predict(outputs, torch.zeros(0, 5), batch(sample([], SIZE)))
    assert [len(each.boxes) for each in found] == [0]


# Masks


@pytest.mark.parametrize(
    ("upsample", "names"),
    [("deconv", {"weight", "bias"}), ("carafe", {"channel_compressor", "content_encoder"})],
)
def test_masks_are_doubled_by_a_transposed_convolution_and_relu_or_by_carafe(upsample, names: set[str]):
    head = MaskHead(channels=8, in_channels=8, num_convs=0, num_classes=2, loss=L1Loss(), upsample=upsample)
    assert {name.split(".")[0] for name in head.upsample.state_dict()} == names
    features = torch.randn(3, 8, 7, 7)
    doubled = head.upsample(features)
    doubled = doubled.relu() if upsample == "deconv" else doubled
    expected = F.conv2d(doubled, head.conv_logits.weight, head.conv_logits.bias)
    torch.testing.assert_close(head(features), expected)
    assert expected.shape == (3, 2, 14, 14)


def test_a_mask_cut_by_its_own_pixels_is_the_mask():
    masks = torch.rand(2, 20, 30, generator=torch.Generator().manual_seed(0)) > 0.5
    cut = crop_masks(masks.to(torch.uint8), torch.tensor([[4.0, 3, 12, 11]]), torch.tensor([1]), 8)
    torch.testing.assert_close(cut[0], masks[1, 3:11, 4:12].float())


def test_masks_are_pasted_by_bilinear_interpolation():
    generator = torch.Generator().manual_seed(0)
    masks, boxes = (
        torch.rand(3, 5, 5, generator=generator),
        torch.tensor([[2.3, 1.7, 17.2, 12.9], [-4.0, -3, 8, 9], [5, 5, 5.8, 5.9]]),
    )
    pasted = paste_masks(masks, boxes, (15, 20), 0.5)
    padded = np.pad(masks.double().numpy(), ((0, 0), (1, 1), (1, 1)))
    for mask, (x1, y1, x2, y2), result in zip(padded, boxes.tolist(), pasted):
        for row in range(15):
            for column in range(20):
                x = (column + 0.5 - x1) / (x2 - x1) * 5 + 0.5  # in pixel centres of the padded mask
                y = (row + 0.5 - y1) / (y2 - y1) * 5 + 0.5
                value = 0.0
                if 0 <= x < 6 and 0 <= y < 6:
                    (i, v), (j, u) = divmod(y, 1), divmod(x, 1)
                    corners = mask[int(i) : int(i) + 2, int(j) : int(j) + 2]
                    value = float(np.array([1 - v, v]) @ corners @ np.array([1 - u, u]))
                assert bool(result[row, column]) == (value >= 0.5)


def test_a_box_without_area_gets_an_empty_mask():
    pasted = paste_masks(
        torch.ones(2, 28, 28), torch.tensor([[3.0, 3, 3, 9], [3.5, 3.5, 3.5, 3.5]]), (12, 12), 0.5
    )
    assert not pasted[0].any()
    assert int(pasted[1].sum()) <= 1


# Dense heads


def fcos_targets(size: tuple[int, int], boxes: list[list[float]], ranges, radius: float | None):
    """Label and distances of each point, by the paper's words."""
    for stride, (low, high) in zip((8, 16, 32, 64, 128), ranges):
        for y in range(math.ceil(size[0] / stride)):
            for x in range(math.ceil(size[1] / stride)):
                px, py = (x + 0.5) * stride, (y + 0.5) * stride
                best = (math.inf, CLASSES, None)
                for label, (x1, y1, x2, y2) in enumerate(boxes):
                    sides = (px - x1, py - y1, x2 - px, y2 - py)
                    cx, cy, reach = (x1 + x2) / 2, (y1 + y2) / 2, (radius or 0) * stride
                    near = radius is None or (abs(px - cx) < reach and abs(py - cy) < reach)
                    if min(sides) > 0 and near and low <= max(sides) <= high:
                        best = min(best, ((x2 - x1) * (y2 - y1), label, sides))
                yield best[1:]


@pytest.mark.parametrize("center_sampling", [False, True])
def test_fcos_points_take_the_smallest_object_of_their_level(center_sampling: bool):
    head = fcos_head(center_sampling=center_sampling)
    boxes = [[3.0, 5, 120, 90], [20, 10, 75, 60], [50, 41, 63, 55]]
    owners = head.assign(head(pyramid_maps(head.strides)), batch(sample(boxes, SIZE)))[0]
    expected = list(fcos_targets(SIZE, boxes, head.regress_ranges, 1.5 if center_sampling else None))
    assert owners.tolist() == [-1 if sides is None else label for label, sides in expected]
    assert (owners >= 0).any()


def test_center_quality_is_the_papers_formula():
    left, top, right, bottom = 3.0, 2.0, 12.0, 8.0
    expected = math.sqrt(min(left, right) / max(left, right) * min(top, bottom) / max(top, bottom))
    assert center_quality(torch.tensor([[left, top, right, bottom]])).item() == pytest.approx(expected)


def test_retinanet_averages_over_positive_anchors():
    head = retina_head()
    data = batch(sample(TWO_OBJECTS, SIZE), sample([], SIZE))
    outputs = head(pyramid_maps(head.strides, images=2))
    sizes = [(o.shape[-2], o.shape[-1]) for o in outputs[0]]
    anchors = torch.cat(head.anchors.grid(sizes, torch.device("cpu")))
    inside = head.anchors.covered(sizes, torch.tensor([SIZE]))[0]
    found = head.assigner(anchors, torch.tensor(TWO_OBJECTS), inside)
    logits = torch.cat([o.permute(0, 2, 3, 1).reshape(2, -1, CLASSES) for o in outputs[0]], 1)
    deltas = torch.cat([o.permute(0, 2, 3, 1).reshape(2, -1, 4) for o in outputs[1]], 1)
    hot = torch.zeros_like(logits)
    hot[0, found.positive] = F.one_hot(
        data.samples[0]["labels"][found.objects[found.positive]], CLASSES
    ).float()
    focal = sigmoid_focal_loss(logits, hot, alpha=0.25, gamma=2)
    count = int(found.positive.sum()) + 1  # the image without objects counts as one
    used = torch.stack([(found.positive | found.negative) & inside, inside])
    target = head.coder.encode(
        anchors[found.positive], torch.tensor(TWO_OBJECTS)[found.objects[found.positive]]
    )
    losses = head.loss(outputs, data)
    torch.testing.assert_close(losses["loss_cls"], focal[used].sum() / count)
    torch.testing.assert_close(losses["loss_bbox"], (deltas[0, found.positive] - target).abs().sum() / count)


def test_rpn_loss_of_zero_outputs_is_log_two_for_every_sampled_anchor():
    head = rpn_head()
    data = batch(sample(TWO_OBJECTS, SIZE))
    shapes = [m.shape[-2:] for m in pyramid_maps(head.strides)]
    logits = [torch.zeros(1, 3, *shape) for shape in shapes]
    deltas = [torch.zeros(1, 12, *shape) for shape in shapes]
    assert head.loss((logits, deltas), data)["loss_rpn_cls"].item() == pytest.approx(math.log(2))


def test_more_anchors_go_into_nms_for_training_than_for_prediction():
    head = rpn_head()
    outputs = head([10 * m for m in pyramid_maps(head.strides)])
    head.pre_nms_test = 1
    few = head.propose(outputs, Batch([torch.zeros(3, *SIZE)]), training=False)[0]
    many = head.propose(outputs, Batch([torch.zeros(3, *SIZE)]), training=True)[0]
    assert len(few.scores) <= 5 < len(many.scores)


def test_anchors_in_the_padding_don_t_enter_the_loss():
    head = rpn_head()
    head.sampler.num = 10**6
    narrow = batch(sample([[4.0, 4, 30, 30]], (96, 64)))
    outputs = head(pyramid_maps(head.strides))
    loss = head.loss(outputs, narrow)["loss_rpn_cls"]
    for maps in outputs[0]:
        maps.retain_grad()
    loss.backward()
    for maps, stride in zip(outputs[0], head.strides):
        assert maps.grad is not None
        assert not maps.grad[..., math.ceil(64 / stride) :].any()


# Proposals


def test_the_convolutions_of_a_deeper_proposal_head_have_the_published_names():
    head = rpn_head()
    deeper = type(head)(
        in_channels=WIDTH,
        channels=WIDTH,
        num_convs=2,
        anchors=head.anchors,
        coder=head.coder,
        assigner=head.assigner,
        sampler=head.sampler,
        cls_loss=head.cls_loss,
        box_loss=head.box_loss,
    )
    names = [name for name in deeper.state_dict() if name.startswith("rpn_conv")]
    assert names == [f"rpn_conv.{i}.conv.{kind}" for i in range(2) for kind in ("weight", "bias")]
