"""The checkpoints of a run: whole or absent, never half.

``checkpoints/step_000123/`` holds ``model.safetensors`` (metadata: config, classes, step),
``ema.safetensors`` where weights are averaged, ``state.pt`` (optimiser, scaler, generators: tensors and
plain containers) and ``meta.json`` (step, samples, metrics, versions, SHA-256 of the other files). A sharded
one has ``shard-*.safetensors`` in place of the first two and of the optimiser's tensors. A folder gets its
name only after all of it is on the disk.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import logging
import os
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from omma import __version__
from omma.checkpoint.sharded import agreed, join_optimizer, read_shards, split_optimizer, write_shards
from omma.errors import SetupError, WeightsError

log = logging.getLogger(__name__)

MODEL, EMA, STATE, META = "model.safetensors", "ema.safetensors", "state.pt", "meta.json"
_NAME = re.compile(r"step_(\d+)")
_TEMPORARY = ".writing-"


@dataclass
class Checkpoint:
    """All that a run needs to go on as if nothing had happened."""

    step: int
    samples: int
    """Training samples seen by all processes together."""
    model: dict[str, Tensor]
    ema: dict[str, Tensor] | None
    state: dict[str, Any]
    """Optimiser, scaler, generators, counters: tensors and plain containers only."""
    config: str = ""
    """The composed config as YAML text."""
    classes: tuple[str, ...] = ()
    metrics: dict[str, float] = field(default_factory=dict)
    """Numbers of the evaluation at this step, if there was one."""


class CheckpointStore:
    """The folder ``checkpoints`` of one run.

    Args:
        folder: is made with the first save.
        keep: newest checkpoints to keep, beside ``best``.
    """

    def __init__(self, folder: Path, *, keep: int) -> None:
        self.folder = folder
        self.keep = keep

    def save(self, checkpoint: Checkpoint, *, best: bool = False) -> Path:
        """Write ``checkpoint``, then drop the oldest beyond ``keep``. Returns its folder.

        Raises:
            SetupError: the disk is full or can't be written; earlier checkpoints are as they were.
        """
        final = self.folder / f"step_{checkpoint.step:06d}"
        temporary = self.folder / f"{_TEMPORARY}{final.name}"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._clear_leftovers()
            temporary.mkdir()
            _write(temporary, checkpoint)
            self._put(temporary, final)
            if best:
                self._link_best(final)
        except OSError as error:
            shutil.rmtree(temporary, ignore_errors=True)
            raise SetupError(
                f"can't write the checkpoint {final}: {error.strerror or error}; the earlier ones are whole. "
                "Make room or choose another --out, then go on with --resume"
            ) from error
        self._drop_oldest()
        return final

    def save_sharded(self, checkpoint: Checkpoint, group: dist.ProcessGroup, *, best: bool = False) -> Path:
        """Like ``save``, but each process of ``group`` writes its part of the tensors; all of them call it.

        Raises:
            SetupError: one of them can't write; earlier checkpoints are as they were.
        """
        main = dist.get_rank(group) == 0
        final = self.folder / f"step_{checkpoint.step:06d}"
        temporary = self.folder / f"{_TEMPORARY}{final.name}"
        optimizer, plain = split_optimizer(checkpoint.state["optimizer"])
        tensors = {f"model/{name}": tensor for name, tensor in checkpoint.model.items()} | optimizer
        tensors |= {f"ema/{name}": tensor for name, tensor in (checkpoint.ema or {}).items()}

        def prepare() -> None:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._clear_leftovers()
            temporary.mkdir()

        def write() -> dict[str, str]:
            return {file.name: _digest(file) for file in write_shards(temporary, tensors, group)}

        def finish() -> None:
            state = checkpoint.state | {"optimizer": plain}
            torch.save(state, temporary / STATE)
            digests = {STATE: _digest(temporary / STATE)}
            for part in parts:
                digests |= part
            texts = {"config": checkpoint.config, "classes": json.dumps(list(checkpoint.classes))}
            _write_meta(temporary, checkpoint, digests, shards=texts)
            self._put(temporary, final)
            if best:
                self._link_best(final)
            self._drop_oldest()

        try:
            agreed(group, prepare if main else lambda: None)
            parts = agreed(group, write)
            agreed(group, finish if main else lambda: None)
        except SetupError:
            if main:
                shutil.rmtree(temporary, ignore_errors=True)
            raise
        return final

    def _drop_oldest(self) -> None:
        for _, old in self.all()[: -self.keep]:
            with contextlib.suppress(OSError):
                self._remove(old)

    def _remove(self, folder: Path) -> None:
        # Under its name a checkpoint is whole or not there at all, even if a kill comes half-way.
        away = folder.with_name(f"{_TEMPORARY}removed-{folder.name}")
        folder.rename(away)
        shutil.rmtree(away, ignore_errors=True)

    def all(self) -> list[tuple[int, Path]]:
        """(step, folder) of the complete checkpoints, oldest first; their checksums are not looked at."""
        found = [
            (int(m[1]), path) for path in self.folder.glob("step_*") if (m := _NAME.fullmatch(path.name))
        ]
        return sorted(found)

    def latest(self) -> Path | None:
        """The newest whole checkpoint; a damaged one is named in a warning and passed over."""
        for _, path in reversed(self.all()):
            damage = find_damage(path)
            if damage is None:
                return path
            log.warning("checkpoint %s is damaged (%s); trying the one before", path, damage)
        return None

    def _put(self, temporary: Path, final: Path) -> None:
        # A folder of that name can only be a damaged one, or this very step saved again.
        if final.exists():
            self._remove(final)
        temporary.rename(final)
        _sync_folder(self.folder)

    def _link_best(self, source: Path) -> None:
        best, new, old = (self.folder / name for name in ("best", f"{_TEMPORARY}best", ".best-before"))
        new.mkdir()
        for file in source.iterdir():
            try:
                os.link(file, new / file.name)
            except OSError:  # a file system without hard links
                shutil.copy2(file, new / file.name)
        shutil.rmtree(old, ignore_errors=True)
        if best.exists():
            best.rename(old)
        new.rename(best)
        _sync_folder(self.folder)
        shutil.rmtree(old, ignore_errors=True)

    def _clear_leftovers(self) -> None:
        for path in self.folder.glob(f"{_TEMPORARY}*"):
            shutil.rmtree(path)
        old, best = self.folder / ".best-before", self.folder / "best"
        if old.exists() and not best.exists():
            old.rename(best)


def find_damage(path: Path) -> str | None:
    """What is wrong with the checkpoint folder ``path``, or null if its files have their checksums."""
    try:
        meta = json.loads((path / META).read_text(encoding="utf-8"))
        files: Mapping[str, str] = meta["files"]
        counts, metrics = (meta["step"], meta["samples"]), meta["metrics"]
        if STATE not in files or ("shards" not in meta and MODEL not in files):
            return f"{META} lacks what every checkpoint has"
        if not all(isinstance(count, int) and count >= 0 for count in counts) or not all(
            isinstance(value, int | float) for value in metrics.values()
        ):
            return f"{META} holds something else than numbers in 'step', 'samples' or 'metrics'"
        if any(Path(name).name != name for name in files):
            return f"{META} names files outside the folder"
        for name, expected in files.items():
            if _digest(path / name) != expected:
                return f"{name} has another checksum than when it was written"
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        return f"{type(error).__name__}: {error}"
    return None


def read_checkpoint(path: Path) -> Checkpoint:
    """The checkpoint in folder ``path``, on the CPU.

    Raises:
        WeightsError: it is missing, incomplete or damaged.
    """
    if not path.is_dir():
        raise WeightsError(f"{path}: there is no such checkpoint folder")
    if (damage := find_damage(path)) is not None:
        raise WeightsError(f"{path} is damaged: {damage}; resume from another of {path.parent}")
    try:
        state = torch.load(path / STATE, map_location="cpu", weights_only=True)
    except Exception as error:  # the unpickler raises many kinds; none of them is more than "can't be read"
        raise WeightsError(f"{path / STATE}: not a state that can be loaded safely: {error}") from error
    if not isinstance(state, dict):
        raise WeightsError(f"{path / STATE}: expected a mapping, found {type(state).__name__}")
    try:
        return _read(path, state)
    except Exception as error:  # as above, of the readers of tensors
        raise WeightsError(f"{path} can't be read: {type(error).__name__}: {error}") from error


def _read(path: Path, state: dict[str, Any]) -> Checkpoint:
    from safetensors import safe_open
    from safetensors.torch import load_file

    meta = json.loads((path / META).read_text(encoding="utf-8"))
    texts, ema = meta.get("shards"), path / EMA
    if texts is not None:
        state["optimizer"] = join_optimizer(path, state["optimizer"])
        weights, average = read_shards(path, "model/"), read_shards(path, "ema/") or None
    else:
        with safe_open(path / MODEL, framework="pt") as file:
            texts = file.metadata() or {}
        weights, average = load_file(path / MODEL), load_file(ema) if ema.exists() else None
    return Checkpoint(
        step=meta["step"],
        samples=meta["samples"],
        model=weights,
        ema=average,
        state=state,
        config=str(texts.get("config", "")),
        classes=tuple(map(str, json.loads(texts.get("classes", "[]")))),
        metrics=meta["metrics"],
    )


def _write(folder: Path, checkpoint: Checkpoint) -> None:
    from safetensors.torch import save_file

    texts = {
        "format": "pt",
        "config": checkpoint.config,
        "classes": json.dumps(list(checkpoint.classes)),
        "step": str(checkpoint.step),
    }
    writers: dict[str, Callable[[Path], object]] = {
        MODEL: lambda file: save_file(_own_memory(checkpoint.model), file, texts),
        STATE: lambda file: torch.save(checkpoint.state, file),
    }
    if (ema := checkpoint.ema) is not None:
        writers[EMA] = lambda file: save_file(_own_memory(ema), file, texts)
    digests = {}
    for name, write in writers.items():
        try:
            write(folder / name)
        except OSError:
            raise
        except Exception as error:  # torch and safetensors wrap what the disk said in their own errors
            if shutil.disk_usage(folder).free < 1 << 20:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error
            raise OSError(None, str(error)) from error
        digests[name] = _digest(folder / name)
    _write_meta(folder, checkpoint, digests)


def _write_meta(
    folder: Path,
    checkpoint: Checkpoint,
    digests: Mapping[str, str],
    *,
    shards: Mapping[str, str] | None = None,
) -> None:
    meta = {
        "format": 1,
        "step": checkpoint.step,
        "samples": checkpoint.samples,
        "metrics": checkpoint.metrics,
        "versions": {"omma": __version__, "torch": torch.__version__},
        "files": digests,
    }
    if shards is not None:
        meta["shards"] = shards
    (folder / META).write_text(json.dumps(meta, indent=2) + "\n", encoding="utf-8")
    for file in folder.iterdir():
        _sync(file)
    _sync_folder(folder)


def _own_memory(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    # safetensors refuses tensors that share memory (tied weights) or have gaps.
    seen: set[int] = set()
    out = {}
    for name, tensor in tensors.items():
        pointer = tensor.untyped_storage().data_ptr()
        out[name] = tensor.clone() if pointer in seen else tensor.contiguous()
        seen.add(pointer)
    return out


def _digest(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _sync(file: Path) -> None:
    with file.open("rb") as stream:
        os.fsync(stream.fileno())


def _sync_folder(folder: Path) -> None:
    if os.name != "nt":  # Windows has no handles of folders
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
