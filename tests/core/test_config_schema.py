"""The JSON Schema of all configs, judged by an independent validator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import pytest

from omma.config import config_root
from omma.config.schema import json_schema
from omma.config.source import read_file
from omma.experiment import Experiment

FILES = sorted(config_root().rglob("*.yaml"))


@pytest.fixture(scope="module")
def validator() -> Any:
    schema = json_schema(Experiment)
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(config_root())))
def test_every_config_file_and_base_is_valid(validator: Any, file: Path):
    values, _ = read_file(file)
    assert [f"{error.json_path}: {error.message}" for error in validator.iter_errors(values)] == []


@pytest.mark.parametrize(
    "config",
    [
        {"base": "a.yaml", "optimizer": {"lr": 0.1}},
        {"base": ["a.yaml"], "optimizer!": {"type": "AdamW", "lr": 1e-4}},
        {"optimizer": {"type": "SGD", "lr": "${train.epochs}"}},
        {"train": {"steps": 100, "clip_norm": 1, "ema": None}},
        {"hooks": {"anything": None}},
        {"data": {"classes": "coco", "num_classes": 80}},
        {"data": {"classes": ["a", "b"]}},
    ],
)
def test_what_a_child_config_may_write_is_valid(validator: Any, config: dict[str, Any]):
    validator.validate(config)


@pytest.mark.parametrize(
    ("config", "path"),
    [
        ({"optimiser": {"type": "SGD"}}, "$"),
        ({"optimizer": {"type": "SGDD"}}, "$.optimizer.type"),
        ({"optimizer": {"type": "ResNet"}}, "$.optimizer.type"),
        ({"optimizer": {"type": "SGD", "lrr": 1}}, "$.optimizer"),
        ({"optimizer": {"type": "SGD", "lr": "fast"}}, "$.optimizer.lr"),
        ({"optimizer": {"lrr": 1}}, "$.optimizer"),
        ({"train": {"precision": "bf32"}}, "$.train.precision"),
        ({"train": {"epoch": 12}}, "$.train"),
        ({"train": 5}, "$.train"),
        ({"data": {"train": {"batchsize": 1}}}, "$.data.train"),
        ({"metrics": {"type": "CocoMetric"}}, "$.metrics"),
        ({"base": 3}, "$.base"),
    ],
)
def test_a_mistake_is_refused(validator: Any, config: dict[str, Any], path: str):
    assert {error.json_path for error in validator.iter_errors(config)} == {path}
