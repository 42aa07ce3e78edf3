"""Arrays in MATLAB's files, in which the older sets of key points are given out."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from omma.errors import DataError


def read_matrix(path: Path, name: str, *, of: str) -> np.ndarray:
    """The array called ``name`` in a MATLAB file, float64.

    Args:
        path: of the file.
        name: of the array.
        of: what the file is, for messages.

    Raises:
        DataError: the file can't be read, or has no such array of numbers.
    """
    from scipy.io import loadmat, matlab

    try:
        return np.asarray(loadmat(path)[name], np.float64)
    except (OSError, ValueError, KeyError, TypeError, NotImplementedError, matlab.MatReadError) as error:
        raise DataError(f"{path}: expected {of} with '{name}'; {error!r:.200}") from None
