"""Pickles of plain containers, numbers, text and numpy arrays; whatever would run code is refused."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np

from omma.errors import DataError

_ARRAYS = ("numpy.core.multiarray", "numpy._core.multiarray")
_BUFFERS = ("numpy.core.numeric", "numpy._core.numeric")


def read_plain_pickle(path: Path) -> Any:
    """The content of a pickle.

    Nothing that the file names is imported or called, except numpy's own ways to put arrays together.

    Raises:
        DataError: the file is missing, no pickle, or names anything else.
    """
    try:
        with path.open("rb") as file:
            return _PlainUnpickler(file).load()
    except _Refused as error:
        raise DataError(
            f"{path}: refused: the pickle asks for {error}, which may run code; expected plain lists, dicts, "
            "numbers, text and numpy arrays. Ask its author for such a file"
        ) from None
    except OSError as error:
        raise DataError(f"{path}: can't be read: {error.strerror or error}") from None
    # Damaged pickles raise just about anything.
    except Exception as error:
        raise DataError(f"{path}: expected a pickle, but it can't be decoded: {error!r:.200}") from None


class _Refused(Exception):
    """The name of what isn't loaded."""


class _PlainUnpickler(pickle.Unpickler):
    """Knows the few names that arrays are pickled with, by what is done for them here."""

    def find_class(self, module: str, name: str) -> Any:
        if module in _ARRAYS and name == "_reconstruct":
            return _empty_array
        if module in _ARRAYS and name == "scalar":
            return _scalar
        if module in _BUFFERS and name == "_frombuffer":
            return _from_buffer
        if module == "numpy" and name in ("ndarray", "dtype"):
            return _Array if name == "ndarray" else _Kind
        if module == "_codecs" and name == "encode":
            return _encode
        raise _Refused(f"{module}.{name}")

    def persistent_load(self, pid: Any) -> Any:
        raise _Refused(f"the outside object {pid!r:.40}")


class _Kind:
    """What an array consists of: numbers, text or, in nested arrays, objects.

    numpy's own class believes what a file says of its memory.
    """

    def __init__(self, code: Any, align: Any = False, copy: Any = True) -> None:
        self.dtype = np.dtype(code) if isinstance(code, str) else np.dtype("V")
        if self.dtype.kind not in "biufcSUO":
            raise _Refused(f"an array of {code!r:.40}")

    def __setstate__(self, state: Any) -> None:
        _, order, *rest = state
        if any(part is not None for part in rest[:3]):
            raise _Refused("an array of records")
        if order in ("<", ">"):
            self.dtype = self.dtype.newbyteorder(order)


class _Array(np.ndarray):
    """An array on its way in."""

    def __setstate__(self, state: Any) -> None:
        _, shape, kind, fortran, data = state
        if not isinstance(kind, _Kind):
            raise _Refused(f"an array of {kind!r:.40}")
        # numpy compares the length of the data with the shape.
        super().__setstate__((1, shape, kind.dtype, bool(fortran), data))  # pyright: ignore[reportArgumentType]


def _empty_array(kind: Any, shape: Any, code: Any) -> _Array:
    """An array that its state fills."""
    if kind is not _Array:
        raise _Refused(f"an array of the class {kind!r:.40}")
    return np.ndarray.__new__(_Array, (0,), "b")


def _scalar(kind: Any, data: Any = None) -> Any:
    """A number of numpy's."""
    if not isinstance(kind, _Kind) or kind.dtype.hasobject or not isinstance(data, bytes):
        raise _Refused("a scalar that is an object")
    return np.frombuffer(data, kind.dtype, count=1)[0]


def _from_buffer(buffer: Any, kind: Any, shape: Any, order: Any) -> np.ndarray:
    """An array of newer pickles."""
    if not isinstance(kind, _Kind) or kind.dtype.hasobject:
        raise _Refused("an array of objects from raw memory")
    return np.frombuffer(buffer, kind.dtype).reshape(shape, order=order)


def _encode(text: Any, encoding: Any = "latin1") -> bytes:
    """Bytes, which old pickles write as text."""
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise _Refused(f"the encoding {encoding!r:.40}")
    return text.encode("latin1")
