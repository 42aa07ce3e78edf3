"""Text files that are read line by line."""

from __future__ import annotations

from pathlib import Path

from omma.errors import DataError


def read_lines(path: Path) -> list[str]:
    """The lines of a UTF-8 file, without their ends; the last one is empty if the file ends with a line end.

    Only line ends separate lines, so that their numbers are those that editors show.

    Raises:
        DataError: the file can't be read, or isn't UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig").split("\n")
    except OSError as error:
        raise DataError(f"{path}: can't be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise DataError(f"{path}: expected text, found bytes that are no UTF-8") from None
