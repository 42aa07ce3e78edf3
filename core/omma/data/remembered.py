"""What it takes long to find out about files, kept between runs as long as they don't change."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterable
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor


def remembered(what: str, files: Iterable[Path], make: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
    """What ``make`` found out about ``files`` now or in an earlier run.

    It lies in the folder ``OMMA_CACHE``, or ``omma`` in the user's folder for such files. Where that can't be
    written, each run finds out by itself.

    Args:
        what: name of the kind of findings; another one when ``make`` changes.
        files: what the findings hang on: they are forgotten when a path, a size or a time of change differs.
        make: finds out.
    """
    path = cache_folder() / f"{what}-{_state(files)}.safetensors"
    with contextlib.suppress(OSError, SafetensorError):
        return load_file(path)
    found = make()
    # Under a name of its own first: runs that start together must not read halves of each other's.
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(found, partial)
        partial.replace(path)
    except (OSError, SafetensorError):
        with contextlib.suppress(OSError):
            partial.unlink()
    return found


def cache_folder() -> Path:
    """Where findings are kept."""
    if own := os.environ.get("OMMA_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "omma"


def _state(files: Iterable[Path]) -> str:
    state = hashlib.sha256()
    for file in files:
        try:
            seen = file.stat()
            line = f"{file.absolute()}\0{seen.st_size}\0{seen.st_mtime_ns}\n"
        except OSError:
            line = f"{file.absolute()}\0gone\n"
        state.update(line.encode(errors="surrogateescape"))
    return state.hexdigest()[:32]
