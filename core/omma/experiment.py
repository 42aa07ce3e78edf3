"""The root of every config: what a run consists of."""

from __future__ import annotations

from dataclasses import dataclass, field

from omma.augmentation import Views
from omma.data.dataset import Dataset
from omma.data.multi_size import MultiSize
from omma.data.samplers import Sampler
from omma.hooks import Hook
from omma.metrics import Metric
from omma.model import Model
from omma.optim import Optimizer, Schedule
from omma.runner.settings import Train
from omma.structures import Skeleton


@dataclass(kw_only=True)
class Loader:
    """One stream of batches."""

    dataset: Dataset
    batch_size: int = 1
    """Samples per process and step."""
    workers: int = 2
    sampler: Sampler | None = None
    """Order of an epoch; random for training and as listed for evaluation if null."""
    group_by_aspect: bool = False
    """Batch wide images with wide ones and tall with tall, so that less padding is computed."""
    timeout: float = 600.0
    """Seconds to wait for a batch of the workers before the run ends, naming the images they are on;
    0: for ever."""
    multi_size: MultiSize | None = None
    """Sizes that batches are brought to in turn, in training."""


@dataclass(kw_only=True)
class Data:
    """The data sets of a run and the names of their classes."""

    classes: tuple[str, ...] | str | None = None
    """Class names in label order, a known list's name ('coco', 'voc'), or null: the annotation file's own."""
    num_classes: int
    """Number of classes, for heads to refer to as ${data.num_classes}."""
    skeleton: Skeleton | str | None = None
    """Key points of an object, for models and data sets to refer to as ${data.skeleton}: given here, a known
    skeleton's name ('coco'), or a YAML file of one."""
    num_keypoints: int | None = None
    """Number of key points of an object, for heads to refer to as ${data.num_keypoints}."""
    root: str | None = None
    """Folder of the data set, for the loaders to refer to as ${data.root}."""
    train: Loader | None = None
    val: Loader | None = None
    test: Loader | None = None
    """What ``omma test`` evaluates; ``val`` if null."""


@dataclass(kw_only=True)
class Experiment:
    """A model, its data, and how it is trained and judged."""

    model: Model
    data: Data
    optimizer: Optimizer
    schedule: Schedule
    metrics: tuple[Metric, ...] = ()
    test_augmentation: Views | None = None
    """How ``--tta`` looks at each image; null: as usual, and mirrored left to right."""
    train: Train
    hooks: dict[str, Hook | None] = field(default_factory=dict)
