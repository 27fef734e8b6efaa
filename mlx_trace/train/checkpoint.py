"""Atomic, complete, resumable state: what a run needs to go on to the same bytes as if it had not been stopped.

A checkpoint is a folder `state/<update>`, written under another name, synced, then renamed; the newest complete one
counts. Knows nothing of models: it stores trees of arrays and a JSON object.
"""

import errno
import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import mlx.core as mx

from mlx_trace.errors import UserError
from mlx_trace.files import unreadable

STATE: Final = "state"
_LOCK: Final = "lock"
_FULL: Final = 1 << 16  # bytes left on a disk that is full
_KEPT: Final = 2  # the newest checkpoint and the one before it
_ARRAYS: Final = ("adapter.safetensors", "optimizer.safetensors", "extra.safetensors")
_FILES: Final = (*_ARRAYS, "state.json")

Arrays = dict[str, mx.array]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The trained arrays, the optimizer's, everything else as JSON, and the arrays that a phase carries besides."""

    adapter: Arrays
    optimizer: Arrays
    progress: dict[str, Any]
    extra: Arrays = field(default_factory=dict)


def save(run: Path, number: int, checkpoint: Checkpoint) -> None:
    """Write checkpoint `number`; a crash or a full disk at any moment leaves the last one as it was."""
    folder = run / STATE
    final, temporary = folder / f"{number:07d}", folder / f"{number:07d}.tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    with written_whole(final, temporary):
        temporary.mkdir(parents=True)
        for name, arrays in zip(_ARRAYS, (checkpoint.adapter, checkpoint.optimizer, checkpoint.extra), strict=True):
            mx.save_safetensors(str(temporary / name), arrays)
        (temporary / _FILES[-1]).write_text(json.dumps(checkpoint.progress), encoding="utf-8")
        for name in (*_FILES, "."):
            sync(temporary / name)
        shutil.rmtree(final, ignore_errors=True)
        temporary.rename(final)
        sync(folder)
    _tidy(folder)


def _tidy(folder: Path) -> None:
    """Remove old checkpoints, and what a process that was killed had half written or half removed."""
    whole = [number for number in _numbers(folder) if _is_whole(folder / f"{number:07d}")]
    for path in folder.iterdir():
        if path.suffix == ".tmp" or (path.name.isdigit() and int(path.name) not in whole[-_KEPT:]):
            shutil.rmtree(path, ignore_errors=True)


def sweep(run: Path) -> None:
    """Remove what a process that was killed had half written, but for checkpoints, which `save` sees to."""
    for path in [*run.glob(".*.tmp*"), *run.glob("*/.*.tmp*")]:
        path.unlink(missing_ok=True)


def is_unused(run: Path) -> bool:
    """Say whether a directory holds nothing, or only what a run leaves that ended before its first file was whole."""
    names = {path.name for folder in (run, run / STATE) if folder.is_dir() for path in folder.iterdir()}
    return all(name in (STATE, _LOCK) or (name.startswith(".") and name.endswith(".tmp")) for name in names)


def clear(run: Path) -> None:
    """Remove every checkpoint of a run that this process has locked."""
    for path in (run / STATE).glob("*"):
        if path.name != _LOCK:
            shutil.rmtree(path, ignore_errors=True)


def load(run: Path) -> Checkpoint | None:
    """Return the newest complete checkpoint of a run that can be read, None if it has none."""
    folder = run / STATE
    for number in reversed(_numbers(folder)):
        path = folder / f"{number:07d}"
        if _is_whole(path):
            with suppress(RuntimeError, ValueError):  # damaged: the one before it is kept for that
                adapter, optimizer, extra = (_read_arrays(path / name) for name in _ARRAYS)
                progress = json.loads((path / _FILES[-1]).read_text(encoding="utf-8"))
                return Checkpoint(adapter, optimizer, progress, extra)
    return None


def _read_arrays(path: Path) -> Arrays:
    return dict(mx.load(str(path)))


def write_arrays(path: Path, arrays: Arrays) -> None:
    """Write one safetensors file, whole or not at all."""
    temporary = path.with_name(f".{path.name.removesuffix('.safetensors')}.tmp.safetensors")
    with written_whole(path, temporary):
        mx.save_safetensors(str(temporary), arrays)
        sync(temporary)
        temporary.replace(path)
        sync(path.parent)


@contextmanager
def written_whole(final: Path, temporary: Path | None = None) -> Iterator[None]:
    """Remove what was half written when writing fails, and say why as a UserError."""
    try:
        yield
    except (OSError, RuntimeError) as error:  # MLX reports a failed write as a RuntimeError, without its cause
        code = error.errno if isinstance(error, OSError) else None
        if code is None and shutil.disk_usage(final.parent).free < _FULL:
            code = errno.ENOSPC
        if temporary is not None and temporary.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
        elif temporary is not None:
            temporary.unlink(missing_ok=True)
        reason = os.strerror(code) if code else str(error)
        full = code in (errno.ENOSPC, errno.EDQUOT)
        hint = "free some space and continue with --resume" if full else "the last checkpoint is untouched"
        raise UserError(f"{final}: could not be written: {reason.lower()}; {hint}") from error


def _is_whole(path: Path) -> bool:
    return all((path / name).is_file() for name in _FILES)


def _numbers(folder: Path) -> list[int]:
    return sorted(int(path.name) for path in folder.glob("[0-9]*") if path.name.isdigit())


def sync(path: Path) -> None:
    """Have a file's content, or a directory's entries, on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        if hasattr(fcntl, "F_FULLFSYNC"):  # on a Mac, fsync leaves the drive's own cache
            fcntl.fcntl(handle, fcntl.F_FULLFSYNC)
        else:
            os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def locked(run: Path) -> Iterator[None]:
    """Hold a run directory for this process; UserError if another one has it, or it cannot be written to."""
    with ExitStack() as held:
        try:
            (run / STATE).mkdir(parents=True, exist_ok=True)
            file = held.enter_context((run / STATE / _LOCK).open("w"))
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"{run}: another process is training in this directory") from None
        except OSError as error:
            raise unreadable(run, error) from None
        _tidy(run / STATE)
        yield
