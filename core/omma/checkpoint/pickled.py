"""``.pth`` files: tensors out of a pickle, of which nothing is executed."""

from __future__ import annotations

import pickletools
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch

from omma.errors import WeightsError

_INERT_PACKAGES = (
    "mmengine.",
    "mmcv.",
    "mmdet.",
    "mmseg.",
    "mmpose.",
    "mmaction.",
    "mmpretrain.",
    "mmcls.",
    "numpy.",
    "addict.",
)
"""Packages whose objects lie in OpenMMLab's checkpoints beside the weights: logs, configs, numbers."""
_INERT_CLASSES = {
    "argparse.Namespace",
    "collections.defaultdict",
    "collections.deque",
    "datetime.datetime",
    "pathlib.Path",
    "pathlib.PosixPath",
    "pathlib.PurePosixPath",
    "pathlib.WindowsPath",
    "types.SimpleNamespace",
}
"""Classes of the standard library that training scripts leave beside the weights."""
_HEADS = {
    b"<!doctype": "an HTML page: the download was answered by a web page",
    b"<html": "an HTML page: the download was answered by a web page",
    b"<?xml": "an XML page: the download was refused",
    b"version https://git-lfs": "a Git LFS pointer: run 'git lfs pull'",
    b"\x89hdf": "an HDF5 file",
}


class _Skipped:
    """Stands in for an object that is no weight; takes whatever it is given and keeps nothing."""

    def __new__(cls, *args: Any, **kwargs: Any) -> _Skipped:
        return super().__new__(cls)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass


# The unpickler fills items only into objects that are exactly dicts or lists.
class _SkippedDict:
    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        return OrderedDict()


class _SkippedList:
    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        return []


def load_pickled(file: Path) -> Any:
    """The content of a file of ``torch.save``, tensors on the CPU.

    Objects of OpenMMLab's packages, of numpy and some of the standard library are replaced by empty ones.

    Raises:
        WeightsError: it is missing, damaged, no such file, or would call any other function.
    """
    try:
        _check_head(file)
        _check_sizes(file)
        foreign = _foreign_globals(file)
        unknown = [name for name in foreign if not _inert(name)]
        if unknown:
            raise _refusal(file, ", ".join(unknown[:3]))
        with torch.serialization.safe_globals([(_stand_in(name), name) for name in foreign]):
            return torch.load(file, map_location="cpu", weights_only=True)
    except WeightsError:
        raise
    except Exception as error:  # a damaged pickle makes its readers raise whatever there is
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        for mark in ("Unsupported global: GLOBAL ", "unsupported GLOBAL "):
            if mark in str(error):
                raise _refusal(file, str(error).partition(mark)[2].split()[0]) from None
        raise WeightsError(
            f"{file}: damaged, or not a weights file of PyTorch; fetch or copy it again: {reason:.120}"
        ) from None


def _refusal(file: Path, names: str) -> WeightsError:
    return WeightsError(
        f"{file}: refused, nothing was executed: loading it would call {names}, which is no part of weights. "
        "Ask its author for a .safetensors file or a plain state_dict"
    )


def _check_head(file: Path) -> None:
    with file.open("rb") as stream:
        head = stream.read(64).lstrip().lower()
    if not head:
        raise WeightsError(f"{file}: is empty; was the download or the copy interrupted?")
    for mark, what in _HEADS.items():
        if head.startswith(mark):
            raise WeightsError(f"{file}: is no weights file but {what}")


def _check_sizes(file: Path) -> None:
    """Refuse an archive that unpacks to more than it is: PyTorch stores its tensors as they are."""
    if not zipfile.is_zipfile(file):
        return
    with zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
    packed = any(entry.compress_type != zipfile.ZIP_STORED for entry in entries)
    if packed or sum(entry.file_size for entry in entries) > file.stat().st_size:
        raise WeightsError(
            f"{file}: refused: its archive is compressed or claims more than it holds; PyTorch's never do"
        )


def _inert(name: str) -> bool:
    return name in _INERT_CLASSES or name.startswith(_INERT_PACKAGES)


def _stand_in(name: str) -> Any:
    if name == "collections.deque":
        return _SkippedList
    return _SkippedDict if name.lower().endswith("dict") or name == "addict.addict.Dict" else _Skipped


def _foreign_globals(file: Path) -> list[str]:
    """Names that the pickle refers to and that torch doesn't know as harmless."""
    if zipfile.is_zipfile(file):
        return sorted(torch.serialization.get_unsafe_globals_in_checkpoint(file))
    return sorted(_legacy_globals(file))


def _legacy_globals(file: Path) -> set[str]:
    """The same for files from before torch 1.6, which are several pickles in a row.

    The opcodes are read and never run. What is overlooked here the unpickler refuses by itself.
    """
    names: set[str] = set()
    with file.open("rb") as stream:
        for _ in range(5):
            strings: list[str] = []
            try:
                for opcode, argument, _position in pickletools.genops(stream):
                    if opcode.name in ("GLOBAL", "INST"):
                        names.add(str(argument).replace(" ", "."))
                    elif opcode.name == "STACK_GLOBAL":
                        names.add(".".join(strings[-2:]))
                    elif isinstance(argument, str):
                        strings.append(argument)
            except ValueError:
                break
    known = {"_codecs.encode", "collections.OrderedDict", "collections.Counter"}
    return {name for name in names if name not in known and not name.startswith("torch.")}
