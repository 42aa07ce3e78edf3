"""Test-time augmentation: a model looks at several views of each image, and what it says is merged."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, cast

from torch import Tensor

from omma.config.plan import Part, Plan
from omma.data.collate import collate
from omma.data.transforms import AnyTransform, Compose, Transform
from omma.data.transforms.flip import flip
from omma.errors import SetupError
from omma.model import Model
from omma.structures import Batch, Meta, Prediction, Sample
from omma.task import find_task

Mirror = Literal["none", "horizontal", "vertical", "both"]

_HEAVY = ("masks", "semantic")
"""Ground truth that costs much to transform, and that no model reads at test time."""


class Merge(ABC):
    """What a task makes of several views of one image.

    A task whose predictions can't be merged as they are, such as the class of each pixel, gets something
    richer from the model: ``look`` says what.
    """

    def look(self, model: Model, batch: Batch) -> Sequence[Any]:
        """What the model says about each image of a batch of views, in their original pixels."""
        return model.predict(batch)

    @abstractmethod
    def upright(self, seen: Any, mirror: Mirror, meta: Meta) -> Any:
        """What was seen in a mirrored image, as if the image hadn't been mirrored."""

    @abstractmethod
    def __call__(self, seen: Sequence[Any]) -> Prediction:
        """One prediction from what all views of an image say."""


@dataclass(kw_only=True, frozen=True)
class Views(Transform):
    """Several views of each image, and how the predictions on them become one.

    As a transform it takes samples as they were read. An image is mirrored before all else, so that neither
    sizes nor padding need to be known to turn a prediction back.
    """

    transforms: tuple[tuple[AnyTransform, ...], ...] = ()
    """Of each view; none: the data set's own."""
    mirrors: tuple[Mirror, ...] = ("none", "horizontal")
    """Each of the views comes mirrored in these ways."""
    merge: Merge | None = None
    """Null: the task's own, with its own settings."""

    def __post_init__(self) -> None:
        if not self.mirrors or len(set(self.mirrors)) < len(self.mirrors):
            raise ValueError(f"mirrors: expected some, each once, got {self.mirrors}")

    def filled(self, transforms: Sequence[AnyTransform], merge: Merge) -> Views:
        """With these where the config says nothing."""
        own = self.transforms or (tuple(transforms),)
        return replace(self, transforms=own, merge=self.merge or merge)

    def __call__(self, sample: Sample) -> Sample:
        """The first view, with the others in ``views``."""
        bare = cast(Sample, {key: value for key, value in sample.items() if key not in _HEAVY})
        first, *others = (
            Compose(transforms=transforms)(mirrored(bare if i else sample, mirror))
            for i, (transforms, mirror) in enumerate(self._each())
        )
        return cast(Sample, {**first, "views": others})

    def predict(self, model: Model, batch: Batch) -> list[Prediction]:
        """One merged prediction for each image of a batch of samples that came out of this transform."""
        assert self.merge is not None, "filled() comes first"
        device = batch.images[0].device
        seen: list[list[Any]] = [[] for _ in batch.samples]
        for i, (_, mirror) in enumerate(self._each()):
            views = batch if i == 0 else collate([s["views"][i - 1] for s in batch.samples]).to(device)
            for own, view, meta in zip(seen, self.merge.look(model, views), batch.metas, strict=True):
                own.append(self.merge.upright(view, mirror, meta))
        return [self.merge(own) for own in seen]

    def _each(self) -> list[tuple[tuple[AnyTransform, ...], Mirror]]:
        return [(transforms, mirror) for transforms in self.transforms for mirror in self.mirrors]


class AugmentedModel(Model):
    """A model that predicts on several views of each image; all else is the model's.

    Args:
        model: what looks at the views.
        views: the batches it is given come through them.
    """

    def __init__(self, model: Model, views: Views) -> None:
        super().__init__()
        self.model, self.views = model, views
        self.task = model.task  # pyright: ignore[reportAttributeAccessIssue]  # it stands for this model
        self.sees = model.sees  # pyright: ignore[reportAttributeAccessIssue]

    def forward(self, images: Tensor | Sequence[Tensor]) -> Any:
        """The model's raw outputs."""
        return self.model(images)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """The model's losses."""
        return self.model.loss(batch)

    def predict(self, batch: Batch) -> list[Prediction]:
        """One result per image, in the pixels of the original images."""
        return self.views.predict(self.model, batch)

    def nothing(self) -> Prediction:
        """The model's."""
        return self.model.nothing()


def mirrored(sample: Sample, mirror: Mirror) -> Sample:
    """The sample as in a mirror."""
    if mirror in ("horizontal", "both"):
        sample = flip(sample, "horizontal")
    return flip(sample, "vertical") if mirror in ("vertical", "both") else sample


def readers(dataset: Part) -> list[Part]:
    """The plans of the data sets that read samples, inside of subsets, repetitions and the like."""
    inner = dataset.arguments.get("dataset") or dataset.arguments.get("datasets")
    if inner is None:
        return [dataset]
    return [reader for each in (inner if isinstance(inner, tuple) else (inner,)) for reader in readers(each)]


def views_of(experiment: Plan, loader: Plan) -> Views:
    """How ``--tta`` looks at the images of a loader.

    Raises:
        SetupError: predictions of the model's task can't be merged.
    """
    task = find_task(experiment["model"].value.target.task)
    if task.merge is None:
        raise SetupError(f"predictions of several views can't be merged in {task.name}; leave --tta out")
    chosen = experiment["test_augmentation"].build() if "test_augmentation" in experiment else Views()
    return chosen.filled(own_transforms(loader), task.merge())


def own_transforms(loader: Plan) -> tuple[AnyTransform, ...]:
    """The transforms of a loader's data set, the first one's of several, built without the data set."""
    return tuple(own_argument(loader, "transforms", ()))


def own_argument(loader: Plan, name: str, default: Any = None) -> Any:
    """Likewise another argument of it."""
    reader = readers(loader["dataset"].value)[0]
    return Plan(reader.arguments.get(name, default), loader.config).build()


def through_views(loader: Plan, views: Views) -> Plan:
    """The plan of a loader whose data set gives views in place of what its own transforms make."""
    return Plan(_through(loader.value, views), loader.config)


def _through(part: Part, views: Views) -> Part:
    arguments = dict(part.arguments)
    if isinstance(arguments.get("dataset"), Part):
        arguments["dataset"] = _through(arguments["dataset"], views)
    elif "datasets" in arguments:
        arguments["datasets"] = tuple(_through(each, views) for each in arguments["datasets"])
    else:
        arguments["transforms"] = (views,)
    return replace(part, arguments=arguments)
