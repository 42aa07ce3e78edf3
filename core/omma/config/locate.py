"""Where configs lie: the checkout's ``configs/`` if there is one, else the wheel's copy."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

from omma.config.source import ConfigError, Mark, Problem


def config_root() -> Path:
    """The folder that holds ``base/`` and one folder per task."""
    checkout = Path(__file__).parents[3] / "configs"
    if (checkout.parent / "pyproject.toml").is_file() and checkout.is_dir():
        return checkout
    return Path(str(files("omma") / "_configs"))


def list_configs(root: Path | None = None) -> dict[str, Path]:
    """Name -> file of every config that can be run; ``base/`` holds only what those are made of.

    Args:
        root: the folder to look through, ``config_root()`` by default.

    Raises:
        ConfigError: two files have the same name.
    """
    root = root or config_root()
    found: dict[str, Path] = {}
    clashes: list[Problem] = []
    for file in sorted(root.rglob("*.yaml")):
        if file.relative_to(root).parts[0] == "base":
            continue
        if file.stem in found:
            hint = "configs are found by name alone, so rename one of them"
            clashes.append(Problem((), Mark(str(file)), f"has the same name as {found[file.stem]}", hint))
        found.setdefault(file.stem, file)
    if clashes:
        raise ConfigError(clashes)
    return found


def find_config(name: str | Path) -> Path:
    """The file of a config given by path (with or without ``.yaml``) or by its bare name.

    Raises:
        ConfigError: there is none; the message has the nearest names.
    """
    for path in (Path(name), Path(f"{name}.yaml")):
        if _asks(path.is_file):
            return path
    known = list_configs()
    stem = str(name).removesuffix(".yaml")
    if stem in known:
        return known[stem]
    where = Mark(f"{name!s:.200}")
    if str(name) and _asks(Path(name).is_dir):
        raise ConfigError([Problem((), where, "is a folder; a config is a file")])
    near = difflib.get_close_matches(Path(stem).name, known, 3)
    hint = f"did you mean {' or '.join(near)}?" if near else f"{len(known)} configs lie below {config_root()}"
    raise ConfigError([Problem((), where, "no such file, and no config of this name", hint)])


def _asks(question: Callable[[], bool]) -> bool:
    try:
        return question()
    except (OSError, ValueError):  # no file system can hold such a name
        return False
