"""Whether the data of every skeleton config fits its model."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from omma.config import Config, check, list_configs
from omma.data.transforms import Compose
from omma.experiment import Experiment
from omma.structures import Batch

from .poses import sample

ROOMS = ("stgcn", "stgcnpp", "2s-agcn", "posec3d")
NAMES = sorted(name for name, path in list_configs().items() if path.parent.name in ROOMS)
VOLUMES = [name for name in NAMES if Config.load(name).get("model.backbone.type") == "ResNet3d"]
GRAPHS = [name for name in NAMES if name not in VOLUMES]
JOINTS = {"coco": 17, "nturgb+d": 25, "kinect20": 20}


def changed(plan: Any, stream: str, made: Any) -> Any:
    """A sample through the transforms of a stream."""
    dataset = plan["data"][stream]["dataset"]
    while "dataset" in dataset:
        dataset = dataset["dataset"]
    return Compose(transforms=[part.build() for part in dataset["transforms"]])(made)


@pytest.mark.parametrize("name", GRAPHS)
def test_graphs_get_skeletons_of_their_form(name: str):
    config = Config.load(name)
    plan = check(config, Experiment)
    layout = config.get("model.backbone.layout")
    made = sample(joints=JOINTS[layout], frames=40, canvas=(1080, 1920) if layout == "coco" else (0, 0))
    persons = 1 if layout == "kinect20" else 2
    # Where there is no test stream, val is what is tested on.
    streams = [stream for stream in ("train", "val", "test") if config.get(f"data.{stream}") is not None]
    assert {"train", "val"} <= set(streams)
    for stream in streams:
        joints = changed(plan, stream, dict(made))["skeleton"]
        assert joints.shape[1] == persons
        assert joints.shape[3:] == (JOINTS[layout], config.get("model.backbone.in_channels") or 3)


@pytest.mark.parametrize("name", VOLUMES)
def test_volumes_go_through_a_small_network(name: str):
    small = ["base_channels=4", "stage_blocks=[1,1,1]"]
    overrides = [f"model.backbone.{change}" for change in small]
    plan = check(Config.load(name, [*overrides, "model.cls_head.in_channels=64"]), Experiment)
    model = plan["model"].build().train()
    seen = dict(changed(plan, "train", sample(persons=2, frames=60, canvas=(1080, 1920))))
    volume = seen.pop("volume")
    assert volume.shape[:3] == (1, 17, 48)
    losses = model.loss(Batch([volume] * 2, [seen] * 2))  # pyright: ignore[reportArgumentType]
    assert torch.isfinite(losses["loss_cls"])
    assert changed(plan, "val", sample(frames=60, canvas=(1080, 1920)))["volume"].shape[0] == 1
