"""What holds for every pose config."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from omma.config import Config, check, list_configs
from omma.experiment import Experiment

NAMES = sorted(name for name, path in list_configs().items() if path.parent.parent.name == "pose")


def crops(value: Any) -> Iterator[dict[str, Any]]:
    """All top-down crops in the data of a config."""
    if isinstance(value, dict):
        if "TopDownCrop" in str(value.get("type")):
            yield value
        for part in value.values():
            yield from crops(part)
    elif isinstance(value, list):
        for part in value:
            yield from crops(part)


@pytest.mark.parametrize("name", NAMES)
def test_crops_fit_the_codec(name: str):
    config = Config.load(name)
    codec = check(config, Experiment)["model"]["head"]["codec"].build()
    found = list(crops(config.data["data"]))
    assert len(found) >= 2
    for crop in found:
        assert (crop["width"], crop["height"]) == tuple(codec.input_size)
        assert crop.get("unbiased", False) == codec.unbiased
