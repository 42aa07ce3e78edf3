"""Where configs lie: the checkout's ``configs/`` if there is one, else the wheel's copy."""

from __future__ import annotations

import difflib
from functools import cache
from importlib.resources import files
from pathlib import Path

from omma.config.source import ConfigError, Mark, Problem


def config_root() -> Path:
    """The folder that holds ``base/`` and one folder per task."""
    checkout = Path(__file__).parents[3] / "configs"
    if (checkout.parent / "pyproject.toml").is_file() and checkout.is_dir():
        return checkout
    return Path(str(files("omma") / "_configs"))


@cache
def list_configs() -> dict[str, Path]:
    """Name -> file of every config that can be run; ``base/`` holds only what those are made of.

    Raises:
        ConfigError: two files have the same name.
    """
    found: dict[str, Path] = {}
    root = config_root()
    for file in sorted(root.rglob("*.yaml")):
        if file.relative_to(root).parts[0] == "base":
            continue
        if file.stem in found:
            raise ConfigError([Problem((), Mark(str(file)), f"has the same name as {found[file.stem]}")])
        found[file.stem] = file
    return found


def find_config(name: str | Path) -> Path:
    """The file of a config given by path (with or without ``.yaml``) or by its bare name.

    Raises:
        ConfigError: there is none; the message has the nearest names.
    """
    for path in (Path(name), Path(f"{name}.yaml")):
        if path.is_file():
            return path
    known = list_configs()
    stem = str(name).removesuffix(".yaml")
    if stem in known:
        return known[stem]
    near = difflib.get_close_matches(Path(stem).name, known, 3)
    hint = f"did you mean {' or '.join(near)}?" if near else f"{len(known)} configs lie below {config_root()}"
    raise ConfigError([Problem((), Mark(str(name)), "no such file, and no config of this name", hint)])
