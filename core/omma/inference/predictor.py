"""A model with its transforms, ready for images as they come."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
from torchvision import tv_tensors

from omma.augmentation import AugmentedModel, own_argument, own_transforms, views_of
from omma.checkpoint import load_weights, read_weights
from omma.config import Config, Plan, check
from omma.data.collate import collate
from omma.data.transforms import Compose
from omma.errors import DataError, SetupError, WeightsError
from omma.experiment import Experiment
from omma.inference.box_feed import BoxFeed, given_boxes, object_of
from omma.inference.clip_feed import ClipFeed, FrameSampling, Window, skeletons_of, video_of
from omma.inference.results import Result, Seen
from omma.inference.sources import Frame, FrameSource, Source, open_source
from omma.model import Model
from omma.parallel import pick_device
from omma.structures import DataInfo, Meta, Prediction, Sample
from omma.structures.select import above, joined
from omma.task import Task, find_task

Device = Literal["auto", "cpu", "cuda"]


class Predictor:
    """Runs a config's model on images as they come.

    A model that sees one object at a time takes each whole image for one, unless it is given boxes: by a
    stage before it in a ``Chain``, or by the caller of ``predict``. Then it has one prediction per image with
    all objects in it, and their scores are those of the boxes.

    A model that sees clips takes videos stretch by stretch: all frames of a stretch have the same prediction
    and tell its ``span``; see ``timeline``. One that sees skeletons does so behind a model that finds key
    points, in a ``Chain``.

    Only the model is built: neither the data set nor its annotations need to be there. The images go
    through the transforms of ``data.test``, or of ``data.val`` where there is no test set; clips through
    those of ``data.val``, as tests look at many views of each.

    Args:
        config: a config, its name or its path.
        weights: a checkpoint folder or weights file; None leaves the weights random.
        device: ``auto`` is a GPU where there is one.
        batch_size: images per forward pass.
        score_threshold: predictions under it are left out, in 0..1.
        overrides: changes to the config, ``a.b=value``.
        tta: look at several views of each image, as ``test_augmentation`` says, or of each clip, as tests do;
            slower and better.
        boxes: which boxes a model that sees objects looks at; by default those of its classes.
        clips: how a model that sees clips or skeletons is fed.

    Raises:
        ConfigError: the config is wrong.
        WeightsError: the weights are missing, damaged or of another model or other classes.
        SetupError: the device isn't there, or views can't be merged in the model's task.
        ValueError: batch size or threshold out of range.
    """

    def __init__(
        self,
        config: str | Path | Config,
        weights: str | Path | None,
        *,
        device: Device = "auto",
        batch_size: int = 1,
        score_threshold: float = 0.3,
        overrides: Sequence[str] = (),
        tta: bool = False,
        boxes: BoxFeed | None = None,
        clips: ClipFeed | None = None,
    ) -> None:
        if batch_size < 1 or not 0 <= score_threshold <= 1:
            raise ValueError(
                "expected batch_size from 1 on and score_threshold in 0..1, "
                f"got {batch_size} and {score_threshold}"
            )
        self.device = pick_device(device)
        self.batch_size, self.score_threshold = batch_size, score_threshold
        self.boxes, self.clips = boxes or BoxFeed(), clips or ClipFeed()
        self.config = _without_pretraining(config, overrides)
        plan = check(self.config, Experiment)
        self.model: Model = plan["model"].build()
        of_clips = self.model.sees in ("clip", "skeletons")
        loader = _evaluated(plan, ("val", "test") if of_clips and not tta else ("test", "val"))
        views = views_of(plan, loader) if tta and not of_clips else None
        self.transforms = views or Compose(transforms=own_transforms(loader))
        self.sampling: FrameSampling | None = None
        if self.model.sees == "clip":
            self.sampling = own_argument(loader, "sampling")
        self.task = find_task(self.model.task)
        self.info = DataInfo(_classes(self.config, self.task, weights), skeleton=self.model.skeleton)
        if weights is not None:
            load_whole(self.model, weights)
        if views is not None:
            self.model = AugmentedModel(self.model, views)
        self.model = self.model.to(self.device).eval()

    @classmethod
    def from_run(
        cls,
        run: str | Path,
        *,
        device: Device = "auto",
        batch_size: int = 1,
        score_threshold: float = 0.3,
        overrides: Sequence[str] = (),
        tta: bool = False,
        boxes: BoxFeed | None = None,
        clips: ClipFeed | None = None,
    ) -> Predictor:
        """The model of a run folder: its config and its best checkpoint, or the newest if none is best.

        Raises:
            WeightsError: the folder holds no config or no checkpoint.
        """
        folder = Path(run)
        file, weights = folder / "config.yaml", folder / "checkpoints" / "best"
        if not weights.exists():
            weights = max((folder / "checkpoints").glob("step_*"), default=weights)
        for path in (file, weights):
            if not path.exists():
                raise WeightsError(f"{folder}: is no run folder with a checkpoint: {path} is missing")
        config = Config.from_text(file.read_text(encoding="utf-8"), file=str(file), overrides=overrides)
        return cls(
            config,
            weights,
            device=device,
            batch_size=batch_size,
            score_threshold=score_threshold,
            tta=tta,
            boxes=boxes,
            clips=clips,
        )

    def __call__(self, source: Source | FrameSource) -> Iterator[Result]:
        """Predict on all that ``source`` holds, batch after batch, in order; see ``open_source``.

        Raises:
            DataError: nothing is there, or a file can't be decoded.
            SetupError: the model looks at skeletons, or at clips and there is an image.
        """
        if self.model.sees == "skeletons":
            raise SetupError(
                f"{self.config.name} looks at skeletons: put a model that finds key points before it in a "
                "chain (omma predict ... --poses-from CONFIG WEIGHTS)"
            )
        frames = iter(open_source(source))
        if self.model.sees == "clip":
            return self._of_windows(Seen(frame, {}, self.info) for frame in frames)
        return self._of_frames(frames)

    def _of_frames(self, frames: Iterator[Frame]) -> Iterator[Result]:
        while batch := list(islice(frames, self.batch_size)):
            samples = [self._sample(index, frame) for index, frame in enumerate(batch)]
            for frame, prediction in zip(batch, self._predict(samples)):
                yield self._result(frame, prediction)

    @property
    def of_stretches(self) -> bool:
        """Whether predictions are about stretches of videos."""
        return self.model.sees in ("clip", "skeletons")

    def predict(
        self, images: Sequence[np.ndarray], *, boxes: Sequence[Any] | None = None
    ) -> list[Prediction]:
        """Predictions for (H, W, 3) uint8 RGB arrays, in the pixels of each.

        Args:
            images: the arrays.
            boxes: of the objects in each, for a model that sees objects: (N, 4) xyxy in pixels, or (N, 5)
                with the score of each. None: each image is one object.

        Raises:
            DataError: an array is no such image, or boxes are no such boxes.
            SetupError: the model looks at whole images, but boxes are given.
        """
        if not len(images):
            return []
        if boxes is None:
            return [result.prediction for result in self(list(images))]
        if len(boxes) != len(images):
            raise DataError(f"expected boxes for each of the {len(images)} images, got {len(boxes)} of them")
        self._needs_objects()
        seen = (
            Seen(frame, given_boxes(each, f"boxes of {frame.path}"), self.info)
            for frame, each in zip(open_source(list(images)), boxes)
        )
        same = {label: label for label in range(len(self.info.classes))}
        return [result.prediction for result in self._after(seen, lambda _: same)]

    def joins(self, before: DataInfo) -> DataInfo:
        """What the classes are called after this stage of a chain, ``before`` being what they are before it.

        Raises:
            SetupError: the model needs nothing of a stage before, or finds none of its classes, or not the
                key points that it needs, there.
        """
        if self.model.sees == "skeletons":
            self._check_skeleton(before)
            return self.info
        self._needs_objects()
        self.boxes.labels(before.classes, self.info.classes)
        return self.info

    def after(self, found: Iterable[Seen]) -> Iterator[Result]:
        """Look at the objects, or skeletons, that the stage before found, image after image.

        Raises:
            SetupError: the stage before doesn't find boxes of the model's classes.
        """
        if self.model.sees == "skeletons":
            return self._of_windows(self.clips.tracking.after(found))
        return self._after(found, lambda info: self.boxes.labels(info.classes, self.info.classes))

    def _after(
        self, found: Iterable[Seen], labels: Callable[[DataInfo], Mapping[int, int]]
    ) -> Iterator[Result]:
        stream = iter(found)
        while batch := list(islice(stream, self.batch_size)):
            objects = [self.boxes.choose(seen.prediction, labels(seen.info)) for seen in batch]
            frames = [seen.frame for seen in batch]
            for frame, prediction in zip(frames, self._predict_objects(frames, objects)):
                yield self._result(frame, prediction)

    def _predict_objects(
        self, frames: Sequence[Frame], objects: Sequence[Prediction]
    ) -> Iterator[Prediction]:
        """One prediction for each frame, from boxes in it; only crops that are looked at together exist."""
        places = [(i, number) for i, each in enumerate(objects) for number in range(len(each["scores"]))]
        looks: list[list[Prediction]] = [[] for _ in frames]
        for start in range(0, len(places), self.boxes.at_once):
            part = places[start : start + self.boxes.at_once]
            samples = [
                self._sample(i, frames[i], object_of(objects[i], number, frames[i].image))
                for i, number in part
            ]
            for (i, _), prediction in zip(part, self._predict(samples)):
                looks[i].append(prediction)
        return (joined(look) if look else self.model.nothing() for look in looks)

    def _of_windows(self, found: Iterable[Seen]) -> Iterator[Result]:
        """What is said about each frame of the stretches of videos."""
        windows = self.clips.windows(found)
        while batch := list(islice(windows, self.batch_size)):
            shown = [video_of(each, self.sampling) if self.sampling else skeletons_of(each) for each in batch]
            samples = [
                self._sample(index, each.looked[0].frame, clip)
                for index, (each, clip) in enumerate(zip(batch, shown))
                if clip is not None
            ]
            found_in = iter(self._predict(samples) if samples else ())
            for window, clip in zip(batch, shown):
                yield from self._told(window, self.model.nothing() if clip is None else next(found_in))

    def _told(self, window: Window, prediction: Prediction) -> Iterator[Result]:
        on_cpu = above(prediction, self.score_threshold)
        for seen in window.shown:
            yield Result(seen.frame, on_cpu, self.info, self.task, window.span)

    def _predict(self, samples: Sequence[Sample]) -> list[Prediction]:
        batch = collate(samples)
        with torch.inference_mode():
            return self.model.predict(batch.to(self.device))

    def _sample(self, index: int, frame: Frame, shown: Mapping[str, Any] | None = None) -> Sample:
        """A frame as the model takes it, ``shown`` being what of it, or of the clip, the sample shows."""
        height, width = frame.image.shape[:2]
        meta = Meta(index=index, id=index, path=frame.path, height=height, width=width)
        sample = {"meta": meta, **(shown or {})}
        if self.model.sees in ("image", "object"):
            pixels = torch.from_numpy(np.ascontiguousarray(frame.image)).permute(2, 0, 1)
            sample["image"] = tv_tensors.Image(pixels)
        return self.transforms(cast(Sample, sample))

    def _result(self, frame: Frame, prediction: Prediction) -> Result:
        return Result(frame, above(prediction, self.score_threshold), self.info, self.task)

    def _needs_objects(self) -> None:
        if self.model.sees != "object":
            raise SetupError(
                f"{self.config.name} looks at whole images and needs no boxes: run it by itself, or first"
            )

    def _check_skeleton(self, before: DataInfo) -> None:
        if before.skeleton is None:
            raise SetupError(
                f"{self.config.name} looks at skeletons, but the stage before finds no key points"
            )
        count = len(before.skeleton.names)
        if self.model.joints not in (None, count):
            raise SetupError(
                f"{self.config.name} looks at skeletons of {self.model.joints} key points, but the stage "
                f"before finds {count}"
            )


def _without_pretraining(config: str | Path | Config, overrides: Sequence[str]) -> Config:
    """The config with ``model.backbone.weights`` taken out: other weights replace them anyway."""
    loaded = config if isinstance(config, Config) else Config.load(config, overrides)
    if isinstance(config, Config) and overrides:
        loaded = Config.from_text(config.to_yaml(), file=f"{config.name}.yaml", overrides=overrides)
    if loaded.get("model.backbone.weights") is None:
        return loaded
    return Config.from_text(
        loaded.to_yaml(), file=f"{loaded.name}.yaml", overrides=["model.backbone.weights=null"]
    )


def _evaluated(plan: Plan, order: Sequence[str]) -> Plan:
    """The loader of the evaluated data set, whose transforms images go through: the first in the order."""
    data = plan["data"]
    name = next((name for name in order if name in data), None)
    if name is None:
        raise SetupError("the config has neither data.test nor data.val, whose transforms images go through")
    return data[name]


def _classes(config: Config, task: Task, weights: str | Path | None) -> tuple[str, ...]:
    """Names of the classes: as the weights say, as the config says, or numbers."""
    count = config.get("data.num_classes")
    stored = stored_classes(weights) if weights is not None else ()
    if stored and len(stored) != count:
        raise WeightsError(
            f"{weights}: was trained for {len(stored)} classes ({', '.join(stored[:5])}, ...), "
            f"but the config has data.num_classes={count}; take the config it was trained with"
        )
    named = config.get("data.classes")
    known = task.class_lists.get(named, ()) if isinstance(named, str) else tuple(map(str, named or ()))
    for names in (stored, known):
        if len(names) == count:
            return names
    warnings.warn(
        f"neither the weights nor the config name the {count} classes, so they are called 0 to {count - 1}; "
        "set data.classes to their names",
        stacklevel=2,
    )
    return tuple(map(str, range(count)))


def stored_classes(weights: str | Path) -> tuple[str, ...]:
    """The class names that a weights file carries; none if it has none.

    Raises:
        WeightsError: the file is missing, damaged or unsafe.
    """
    return tuple(map(str, read_weights(weights).metadata.get("classes") or ()))


def load_whole(model: Model, weights: str | Path) -> None:
    """Load weights that must fill the whole model.

    Raises:
        WeightsError: the file is missing, damaged, unsafe, of another model, or of a backbone alone.
    """
    loaded = set(load_weights(model, weights).loaded)
    absent = [name for name, _ in model.named_parameters() if name not in loaded]
    if absent:
        raise WeightsError(
            f"{weights}: holds no trained {type(model).__name__}: {len(absent)} of its parameters "
            f"are missing, such as '{absent[0]}'; is it a backbone alone?"
        )
