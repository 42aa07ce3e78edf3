"""Names of files that annotation files mention, and where they may lie."""

from __future__ import annotations

from pathlib import Path, PurePosixPath, PureWindowsPath

from omma.errors import DataError


def inside(name: str, where: str) -> str:
    """``name`` if it lies below the folder it is relative to.

    Links inside the folder are followed wherever they lead: whoever made the folder made them, and large data
    sets are put together from links. Names are the annotation file's, and they can't make any.

    Raises:
        DataError: it is empty, absolute, no text, or leads out of the folder; annotation files come from
            strangers.
    """
    posix, windows = PurePosixPath(name), PureWindowsPath(name)
    outside = posix.is_absolute() or windows.drive or windows.root or ".." in windows.parts
    if outside or not posix.parts or "\0" in name or not is_text(name):
        raise DataError(
            f"{where}: the file name {name!r:.200} is refused: expected one inside the data set's folder, "
            "relative to it and without '..'"
        )
    return name


def is_text(text: str) -> bool:
    """Whether ``text`` can be written and printed; JSON may hold halves of characters, which can't."""
    return not any("\ud800" <= char <= "\udfff" for char in text)


def under(root: str | Path | None, path: str | Path) -> Path:
    """``path`` below ``root`` if there is one; an absolute ``path`` stays as it is."""
    return Path(path) if root is None else Path(root) / path
