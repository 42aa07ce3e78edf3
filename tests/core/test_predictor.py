"""Prediction with a toy detector: every image has one box, told by its colours."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from tests.chaos.tries import Child
from torch import nn

from omma.checkpoint import save_weights
from omma.cli.main import main
from omma.config import ConfigError
from omma.data.dataset import Dataset
from omma.errors import SetupError, WeightsError
from omma.inference import Predictor
from omma.metrics import Metric, MetricReport, Ranking
from omma.model import Model
from omma.registry import register
from omma.structures import Batch, Prediction

CONFIG = """
model: {type: ToyFinder, classes: "${data.num_classes}"}
data:
  num_classes: 2
  classes: [cat, dog]
  val:
    dataset:
      type: ToyScenes
      file: absent.json
      transforms: [{type: Resize, short: 40, long: 80}]
optimizer: {type: SGD, lr: 0.1}
schedule: {type: Constant}
metrics: [{type: ToyMetric}]
train: {steps: 1}
"""


@register
class ToyFinder(Model):
    """Two detections per image: the box of what is bright, and the whole image with score 0.2."""

    task = "detection"

    def __init__(self, *, classes: int) -> None:
        super().__init__()
        self.backbone = nn.Conv2d(3, 1, 1)
        self.head = nn.Linear(1, classes)
        self.sizes: list[int] = []

    def forward(self, images: Any) -> Any:
        return images

    def loss(self, batch: Batch) -> dict[str, torch.Tensor]:
        return {}

    def predict(self, batch: Batch) -> list[Prediction]:
        self.sizes.append(len(batch))
        return [self._one(image, meta) for image, meta in zip(batch.images, batch.metas)]

    def _one(self, image: torch.Tensor, meta: Any) -> Prediction:
        rows, columns = (image[0] > 128).nonzero(as_tuple=True)
        box = torch.stack([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]).float()
        box = box / torch.tensor([*meta.scale, *meta.scale])
        whole = torch.tensor([0.0, 0.0, meta.width, meta.height])
        scores = torch.tensor([0.9, 0.2])
        return Prediction(boxes=torch.stack([box, whole]), scores=scores, labels=torch.tensor([1, 0]))


@register
class ToyScenes(Dataset):
    """Refuses to be built where its file is absent."""

    def __init__(self, *, file: str, transforms: tuple[Any, ...] = ()) -> None:
        from omma.data.transforms import Compose
        from omma.structures import DataInfo

        self.paths = json.loads(Path(file).read_text())
        self.transforms = Compose(transforms=transforms)
        self.info = DataInfo(("cat", "dog"))

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Any:
        from omma.data.images import read_image
        from omma.structures import Meta

        image = read_image(self.paths[index])
        meta = Meta(
            index=index, id=index, path=self.paths[index], height=image.shape[-2], width=image.shape[-1]
        )
        return self.transforms({"image": image, "meta": meta})

    def target(self, index: int) -> Any:
        return {"index": index, "id": index, "path": self.paths[index], "boxes": torch.zeros(0, 4)}

    @property
    def image_sizes(self) -> np.ndarray:
        return np.full((len(self), 2), 40, np.int32)

    def class_counts(self) -> np.ndarray:
        return np.zeros((len(self), 2), np.uint16)


@register
class ToyMetric(Metric):
    """Counts."""

    def record(self, prediction: Any, target: Any) -> int:
        return len(prediction["boxes"])

    def compute(self) -> dict[str, float]:
        return {"toy/found": float(sum(self.records.values()))}

    def report(self) -> MetricReport:
        return MetricReport(rankings=[Ranking("Worst images", [(0, 1.0, "the first")])])


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "toy.yaml").write_text(CONFIG)
    return tmp_path / "toy.yaml"


def scene(height: int = 80, width: int = 160) -> np.ndarray:
    image = np.zeros((height, width, 3), np.uint8)
    image[20:40, 40:120] = 255
    return image


@pytest.fixture
def scenes(tmp_path: Path) -> Path:
    for name in ("a.png", "b.png", "sub/a.png"):
        (tmp_path / "scenes" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(scene()).save(tmp_path / "scenes" / name)
    return tmp_path / "scenes"


def test_boxes_are_in_pixels_of_the_original_image(config: Path):
    (found,) = Predictor(config, None, device="cpu").predict([scene()])
    assert found["boxes"].tolist() == [pytest.approx([40, 20, 120, 40], abs=4)]


def test_scores_under_the_threshold_are_left_out(config: Path):
    predictor = Predictor(config, None, device="cpu", score_threshold=0.1)
    assert predictor.predict([scene()])[0]["scores"].tolist() == pytest.approx([0.9, 0.2])


def test_images_go_through_the_model_in_batches_and_come_back_in_order(config: Path):
    predictor = Predictor(config, None, device="cpu", batch_size=2)
    images = [scene(80 + 20 * i, 160) for i in range(5)]
    results = list(predictor(images))
    assert predictor.model.sizes == [2, 2, 1]
    assert [result.frame.image.shape[0] for result in results] == [80, 100, 120, 140, 160]


def test_a_result_draws_and_tells_itself(config: Path, scenes: Path):
    result = next(Predictor(config, None, device="cpu")(scenes / "a.png"))
    assert result.draw().shape == (80, 160, 3)
    told = result.to_json()
    assert json.loads(json.dumps(told)) == told
    assert (told["path"], told["width"], told["height"]) == (str(scenes / "a.png"), 160, 80)
    assert [(each["name"], each["label"]) for each in told["prediction"]] == [("dog", 1)]


def test_class_names_come_from_the_weights_before_the_config(config: Path, tmp_path: Path):
    save_weights(ToyFinder(classes=2), tmp_path / "w.safetensors", classes=("wolf", "fox"))
    assert Predictor(config, tmp_path / "w.safetensors", device="cpu").info.classes == ("wolf", "fox")
    assert Predictor(config, None, device="cpu").info.classes == ("cat", "dog")


def test_a_known_list_names_the_classes(config: Path):
    predictor = Predictor(config, None, device="cpu", overrides=["data.classes=coco", "data.num_classes=80"])
    assert predictor.info.classes[:2] == ("person", "bicycle")


def test_weights_are_loaded(config: Path, tmp_path: Path):
    trained = ToyFinder(classes=2)
    save_weights(trained, tmp_path / "w.safetensors")
    loaded = Predictor(config, tmp_path / "w.safetensors", device="cpu").model
    assert torch.equal(loaded.head.weight, trained.head.weight)


def test_weights_of_other_classes_are_refused(config: Path, tmp_path: Path):
    save_weights(ToyFinder(classes=3), tmp_path / "w.safetensors", classes=("a", "b", "c"))
    with pytest.raises(WeightsError, match=r"3 classes \(a, b, c.*num_classes=2"):
        Predictor(config, tmp_path / "w.safetensors", device="cpu")


def test_weights_of_a_backbone_alone_are_refused(config: Path, tmp_path: Path):
    save_weights(ToyFinder(classes=2).backbone, tmp_path / "w.safetensors")
    with pytest.raises(WeightsError, match=r"w\.safetensors"):
        Predictor(config, tmp_path / "w.safetensors", device="cpu")


def test_a_mistake_in_the_config_is_an_error(config: Path):
    with pytest.raises(ConfigError, match="claases"):
        Predictor(config, None, device="cpu", overrides=["model.claases=2"])


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_an_error(config: Path):
    with pytest.raises(SetupError, match="cuda"):
        Predictor(config, None, device="cuda")


def test_a_run_folder_without_a_checkpoint_is_an_error(tmp_path: Path):
    with pytest.raises(WeightsError, match=r"config\.yaml is missing"):
        Predictor.from_run(tmp_path)


def test_omma_predict_writes_pictures_and_predictions(config: Path, scenes: Path, tmp_path: Path, capsys):
    out = tmp_path / "out"
    assert main(["predict", str(config), "none", str(scenes), "--out", str(out), "--batch-size", "2"]) == 0
    entries = json.loads((out / "predictions.json").read_text())["images"]
    assert [entry["picture"] for entry in entries] == ["a.jpg", "b.jpg", "sub/a.jpg"]
    assert all((out / entry["picture"]).is_file() for entry in entries)
    assert str(out / "predictions.json") in capsys.readouterr().out


def test_omma_predict_of_a_video_writes_a_video(config: Path, tmp_path: Path):
    writer = cv2.VideoWriter(str(tmp_path / "clip.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), 10, (160, 80))
    for _ in range(3):
        writer.write(scene())
    writer.release()
    out = tmp_path / "out"
    assert main(["predict", str(config), "none", str(tmp_path / "clip.mp4"), "--out", str(out)]) == 0
    capture = cv2.VideoCapture(str(out / "clip.mp4"))
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 3
    assert [entry["frame"] for entry in json.loads((out / "predictions.json").read_text())["images"]] == [
        0,
        1,
        2,
    ]


def test_omma_predict_keeps_what_it_has_when_a_file_is_broken(
    config: Path, scenes: Path, tmp_path: Path, capsys
):
    (scenes / "b.png").write_bytes(b"nonsense")
    out = tmp_path / "out"
    assert main(["predict", str(config), "none", str(scenes), "--out", str(out)]) == 2
    assert "b.png" in capsys.readouterr().err
    assert len(json.loads((out / "predictions.json").read_text())["images"]) == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["none", "missing.jpg"], "no such file"),
        (["absent.pth", "SCENES"], "absent.pth"),
        (["none", "SCENES", "--score", "3"], "--score in 0..1"),
        (["none", "SCENES", "--out", "FILE/x"], "can't write"),
    ],
)
def test_omma_predict_tells_mistakes_shortly(
    config: Path, scenes: Path, tmp_path: Path, words: list[str], message: str, capsys
):
    (tmp_path / "file").write_text("")
    places = {"SCENES": str(scenes), "FILE/x": str(tmp_path / "file" / "x")}
    words = [places.get(word, word) for word in words]
    out = [] if "--out" in words else ["--out", str(tmp_path / "out")]
    assert main(["predict", str(config), *words, *out]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


def test_omma_test_prints_numbers_and_writes_the_report(config: Path, scenes: Path, tmp_path: Path, capsys):
    (tmp_path / "list.json").write_text(json.dumps([str(scenes / "a.png"), str(scenes / "b.png")]))
    out = tmp_path / "out"
    words = [f"data.val.dataset.file={tmp_path / 'list.json'}", "data.val.workers=0", "--out", str(out)]
    assert main(["test", str(config), "none", *words, "--device", "cpu"]) == 0
    assert "toy/found  4.0000" in capsys.readouterr().out
    assert json.loads((out / "eval" / "step_000000" / "results.json").read_text())["values"] == {
        "toy/found": 4.0
    }
    assert len(list((out / "eval" / "step_000000" / "worst").iterdir())) == 1
    assert len(list((out / "eval" / "step_000000" / "samples").iterdir())) == 2
    assert (out / "report.html").is_file()


def test_omma_test_refuses_weights_of_other_classes(config: Path, scenes: Path, tmp_path: Path, capsys):
    (tmp_path / "list.json").write_text(json.dumps([str(scenes / "a.png")]))
    save_weights(ToyFinder(classes=2), tmp_path / "w.safetensors", classes=("dog", "cat"))
    words = [str(tmp_path / "w.safetensors"), f"data.val.dataset.file={tmp_path / 'list.json'}"]
    assert main(["test", str(config), *words]) == 2
    assert "trained for the classes dog, cat" in capsys.readouterr().err


def test_classes_without_names_are_told_of(tmp_path):
    path = tmp_path / "toy.yaml"
    path.write_text(CONFIG.replace("  classes: [cat, dog]\n", ""))
    with pytest.warns(UserWarning, match="they are called 0 to 1"):
        assert Predictor(path, None, device="cpu").info.classes == ("0", "1")


@pytest.fixture
def evaluations(config: Path, scenes: Path, tmp_path: Path) -> Any:
    """``omma test`` in processes of one group; ``harm(rank)`` is called when one of them predicts."""
    (tmp_path / "list.json").write_text(json.dumps([str(scenes / "a.png"), str(scenes / "b.png")]))
    words = [f"data.val.dataset.file={tmp_path / 'list.json'}", "data.val.workers=0", "train.timeout=2"]
    children: list[Child] = []

    def start(count: int, harm: Callable[[int], object]) -> list[Child]:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}

        def run(rank: int) -> int:
            torch.set_num_threads(1)
            os.environ |= place | {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(count)}
            ToyFinder.predict = lambda self, batch: harm(rank)
            return main(["test", str(config), "none", *words, "--device", "cpu"])

        children.extend(
            Child(lambda rank=rank: run(rank), tmp_path / f"said-{rank}.txt") for rank in range(count)
        )
        return children

    yield start
    for child in children:
        child.end()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="starts processes by fork")
@pytest.mark.parametrize("count", [1, 2])
def test_omma_test_that_hangs_says_where_and_ends(count: int, evaluations):
    for child in evaluations(count, lambda rank: time.sleep(600)):
        assert child.wait(60)
        assert child.code == 1
        assert re.search(r"made no progress for 2.* at step 0, evaluation", child.said)
        assert "start it again" in child.said


@pytest.mark.skipif(not hasattr(os, "fork"), reason="starts processes by fork")
def test_omma_test_says_which_process_it_lost(evaluations):
    def harm(rank: int) -> list[Prediction]:
        if rank:
            os.kill(os.getpid(), signal.SIGKILL)
        nothing = torch.zeros(0)
        return [Prediction(boxes=torch.zeros(0, 4), scores=nothing, labels=nothing.long())]

    first, _ = evaluations(2, harm)
    assert first.wait(60)
    assert first.code == 2, first.said
    assert re.search(r"process 0 of 2 lost contact .*\n +process 1: .*(silent|nothing is known)", first.said)
