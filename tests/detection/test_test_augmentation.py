"""Several views of an image at test time, with a detector whose predictions move with the image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import nn
from torchvision import tv_tensors

from omma.augmentation import AugmentedModel, Merge, Views
from omma.cli.main import main
from omma.config import ConfigError
from omma.data.collate import collate
from omma.data.shapes import make_shapes
from omma.data.transforms import Pad, Resize
from omma.inference import Predictor
from omma.model import Model
from omma.registry import register
from omma.structures import Batch, Meta, Prediction, Sample
from omma_detection.augmentation import MergeDetections
from omma_detection.models.heads.detections import SoftNMS

SIZE = (60, 90)
"""Height and width of the original image."""
BOXES = torch.tensor([[10.0, 20, 40, 50], [60.0, 8, 84, 32]])


@register
class ColourFinder(Model):
    """Finds what is red and what is green, with masks on request; sees nothing where there is neither."""

    task = "detection"

    def __init__(self, *, classes: int = 2, masks: bool = True) -> None:
        super().__init__()
        self.backbone, self.classes, self.masks = nn.Identity(), classes, masks
        self.seen: list[list[tuple[int, int]]] = []

    def forward(self, images: Any) -> Any:
        return images

    def loss(self, batch: Batch) -> dict[str, torch.Tensor]:
        return {}

    def predict(self, batch: Batch) -> list[Prediction]:
        self.seen.append(batch.sizes)
        return [self._one(image, meta) for image, meta in zip(batch.images, batch.metas)]

    def _one(self, image: torch.Tensor, meta: Meta) -> Prediction:
        found = [(label, image[label] > 128) for label in range(2) if bool((image[label] > 128).any())]
        boxes, masks = torch.zeros(len(found), 4), torch.zeros(len(found), meta.height, meta.width) > 0
        for place, (_, pixels) in enumerate(found):
            rows, columns = pixels.nonzero(as_tuple=True)
            corners = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            boxes[place] = torch.stack(corners) / torch.tensor([*meta.scale, *meta.scale])
            across = ((torch.arange(meta.width) + 0.5) * meta.scale[0]).long()
            down = ((torch.arange(meta.height) + 0.5) * meta.scale[1]).long()
            masks[place] = pixels[down][:, across]
        labels = torch.tensor([label for label, _ in found], dtype=torch.int64)
        out = Prediction(boxes=boxes, scores=0.9 - 0.3 * labels, labels=labels)
        return {**out, "masks": masks} if self.masks else out


def scene(*, empty: bool = False) -> Sample:
    image = torch.zeros(3, *SIZE, dtype=torch.uint8)
    if not empty:
        for channel, (x1, y1, x2, y2) in enumerate(BOXES.int().tolist()):
            image[channel, y1:y2, x1:x2] = 255
    meta = Meta(index=0, id=0, path="scene.png", height=SIZE[0], width=SIZE[1])
    return {"image": tv_tensors.Image(image), "meta": meta}


def predict(views: Views, *samples: Sample, masks: bool = True) -> list[Prediction]:
    model = AugmentedModel(ColourFinder(masks=masks), views.filled((), MergeDetections()))
    return model.predict(collate([model.views(sample) for sample in samples]))


def truth() -> torch.Tensor:
    masks = torch.zeros(2, *SIZE, dtype=torch.bool)
    for mask, (x1, y1, x2, y2) in zip(masks, BOXES.int().tolist()):
        mask[y1:y2, x1:x2] = True
    return masks


def test_mirrored_views_agree_with_the_plain_one_in_boxes_and_masks():
    found = predict(Views(mirrors=("none", "horizontal", "vertical", "both")), scene())[0]
    torch.testing.assert_close(found["boxes"], BOXES)
    assert found["labels"].tolist() == [0, 1]
    torch.testing.assert_close(found["scores"], torch.tensor([0.9, 0.6]))
    assert torch.equal(found["masks"], truth())


@pytest.mark.parametrize("mirror", ["horizontal", "vertical", "both"])
def test_one_mirrored_view_is_turned_back(mirror):
    found = predict(Views(mirrors=(mirror,)), scene())[0]
    torch.testing.assert_close(found["boxes"], BOXES)
    assert torch.equal(found["masks"], truth())


def test_scaled_and_padded_views_agree_too():
    # Whole factors keep the edges of the boxes sharp. Padding must not move what was mirrored.
    sizes = [Resize(height=60, width=90), Resize(height=120, width=180), Resize(height=180, width=270)]
    views = Views(transforms=tuple((size, Pad(height=300, width=300)) for size in sizes))
    found = predict(views, scene())[0]
    torch.testing.assert_close(found["boxes"], BOXES)
    assert torch.equal(found["masks"], truth())


def test_every_view_goes_through_its_own_transforms():
    model = ColourFinder()
    views = Views(transforms=((Resize(height=30, width=45),), (Resize(height=120, width=180),)))
    augmented = AugmentedModel(model, views.filled((), MergeDetections()))
    augmented.predict(collate([augmented.views(scene())]))
    assert model.seen == [[(30, 45)], [(30, 45)], [(120, 180)], [(120, 180)]]


def test_images_of_a_batch_keep_their_predictions_apart_and_may_be_empty():
    found = predict(Views(), scene(), scene(empty=True), scene())
    assert [len(each["boxes"]) for each in found] == [2, 0, 2]
    assert found[1]["masks"].shape == (0, *SIZE)
    assert found[1]["boxes"].shape == (0, 4)


def test_a_model_without_masks_gives_none():
    assert "masks" not in predict(Views(), scene(), masks=False)[0]


def detections(boxes: Any, scores: Any, masks: torch.Tensor | None = None, label: int = 0) -> Prediction:
    out = Prediction(
        boxes=torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        scores=torch.tensor(scores),
        labels=torch.full((len(scores),), label),
    )
    return out if masks is None else {**out, "masks": masks}


def test_an_object_that_only_one_view_saw_stays():
    views = [detections([[0, 0, 10, 10]], [0.5]), detections([[20, 20, 30, 30]], [0.7])]
    found = MergeDetections()(views)
    assert found["boxes"].tolist() == [[20, 20, 30, 30], [0, 0, 10, 10]]


def test_other_classes_do_not_suppress_each_other():
    views = [detections([[0, 0, 10, 10]], [0.5]), detections([[0, 0, 10, 10]], [0.7], label=1)]
    assert MergeDetections()(views)["labels"].tolist() == [1, 0]


def test_no_more_than_asked_for_are_kept():
    views = [detections([[0, 0, 1, 1], [5, 5, 6, 6]], [0.5, 0.4])] * 2
    assert MergeDetections(max_per_image=1)(views)["scores"].tolist() == [0.5]


def test_soft_suppression_lowers_the_second_score_by_the_formula():
    views = [detections([[0, 0, 10, 10]], [0.8]), detections([[0, 0, 10, 5]], [0.6])]
    found = MergeDetections(soft=SoftNMS(method="gaussian"))(views)
    expected = torch.tensor([0.8, 0.6 * np.exp(-(0.5**2) / 0.5)], dtype=torch.float32)
    torch.testing.assert_close(found["scores"], expected)


def test_masks_are_the_mean_of_the_views_weighted_by_score():
    masks = torch.zeros(3, 1, 4, 4, dtype=torch.bool)
    masks[0, 0, 0] = masks[1, 0, :2] = masks[2, 0, :3] = True
    views = [detections([[0, 0, 4, 4]], [score], mask) for score, mask in zip((0.9, 0.5, 0.3), masks)]
    # Row 0 has all of 1.7; row 1 has 0.8, which is less than half; row 2 has 0.3.
    assert MergeDetections()(views)["masks"][0].all(dim=1).tolist() == [True, False, False, False]
    views[1] = detections([[0, 0, 4, 4]], [0.7], masks[1])
    assert MergeDetections()(views)["masks"][0].all(dim=1).tolist() == [True, True, False, False]


def test_a_view_that_found_an_object_elsewhere_has_no_say_in_its_mask():
    masks = torch.zeros(2, 1, 8, 8, dtype=torch.bool)
    masks[0, 0, :4], masks[1, 0, 4:] = True, True
    views = [detections([[0, 0, 8, 4]], [0.6], masks[0]), detections([[0, 4, 8, 8]], [0.9], masks[1])]
    found = MergeDetections()(views)
    assert torch.equal(found["masks"], torch.stack([masks[1, 0], masks[0, 0]]))


@pytest.mark.parametrize("mirrors", [(), ("none", "none")])
def test_mirrors_that_say_nothing_or_repeat_are_refused(mirrors):
    with pytest.raises(ValueError, match="each once"):
        Views(mirrors=mirrors)


def test_merging_by_an_impossible_overlap_is_refused():
    with pytest.raises(ValueError, match="nms_iou"):
        MergeDetections(nms_iou=1.5)


class MeanLogits(Merge):
    """As segmentation will have it: the model's raw maps are averaged, and only then decided on."""

    def look(self, model, batch):
        return [image.float() for image in model(batch.images)]

    def upright(self, seen, mirror, meta):
        return seen.flip(-1) if mirror == "horizontal" else seen

    def __call__(self, seen):
        return Prediction(semantic=torch.stack(list(seen)).mean(0).argmax(0).to(torch.uint8))


def test_a_task_may_merge_something_richer_than_predictions():
    model = AugmentedModel(ColourFinder(), Views().filled((), MeanLogits()))
    found = model.predict(collate([model.views(scene())]))[0]["semantic"]
    assert torch.equal(found == 1, truth()[1])


CONFIG = """
model: {type: ColourFinder, classes: "${data.num_classes}", masks: false}
data:
  num_classes: 3
  val:
    dataset:
      type: Subset
      first: 3
      dataset:
        type: CocoDetection
        root: ROOT
        annotations: annotations/instances_val.json
        images: images/val
        transforms: [{type: Resize, height: 96, width: 96}]
optimizer: {type: SGD, lr: 0.1}
schedule: {type: Constant}
metrics: [{type: CocoMetric}]
train: {steps: 1}
"""


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shapes") / "data"
    make_shapes(folder, train=1, val=3, size=96)
    return folder


@pytest.fixture
def config(shapes: Path, tmp_path: Path) -> Path:
    path = tmp_path / "colours.yaml"
    path.write_text(CONFIG.replace("ROOT", str(shapes)))
    return path


def test_omma_test_evaluates_the_views_of_wrapped_data_and_draws(config, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["test", str(config), "none", "--tta", "--device", "cpu", "--out", str(out)]) == 0
    assert "box/AP50" in capsys.readouterr().out
    assert (out / "report.html").exists()
    assert list(out.glob("eval/*/samples/*.jpg"))


def test_the_predictor_merges_views_in_the_pixels_of_the_image(config):
    image = np.zeros((*SIZE, 3), np.uint8)
    cv2.rectangle(image, (10, 20), (39, 49), (255, 0, 0), -1)
    loud = ["test_augmentation.transforms=[[{type: Resize, height: 120, width: 180}], []]"]
    predictor = Predictor(config, None, device="cpu", tta=True, overrides=loud)
    assert isinstance(predictor.model, AugmentedModel)
    assert len(predictor.model.views.transforms) == 2
    found = predictor.predict([image])[0]
    torch.testing.assert_close(found["boxes"], BOXES[:1])


def test_a_wrong_setting_is_told_of_with_its_place(config):
    with pytest.raises(ConfigError, match="test_augmentation"):
        Predictor(config, None, device="cpu", tta=True, overrides=["test_augmentation.mirrors=[sideways]"])
