"""What Omma raises when the mistake lies in what it was given, not in its code.

The command line prints such an error without a traceback and exits with code 2. Each message names the
file and the place, says what was expected and found, and suggests the fix.
"""

from __future__ import annotations


class OmmaError(Exception):
    """A mistake in a config, data set, weights file or setup, told so that its author can mend it."""


class DataError(OmmaError):
    """An annotation file, image, video or data set that can't be used as it is."""


class WeightsError(OmmaError):
    """A weights or checkpoint file that is missing, damaged, unsafe, or made for another model."""


class ProcessError(OmmaError):
    """A worker or another process of the run died or got stuck; the message says where."""


class SetupError(OmmaError):
    """The machine lacks what was asked for: a device, a writable folder, an optional package."""
