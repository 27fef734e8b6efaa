"""Atomic, complete, resumable state: what a run needs to go on to the same bytes as if it had not been stopped.

A checkpoint is a folder `state/<update>`, written under another name, synced, then renamed; the newest complete one
counts. Knows nothing of models: it stores trees of arrays and a JSON object.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

import mlx.core as mx
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mlx_trace.errors import UserError
from mlx_trace.faults import faults_of
from mlx_trace.files import is_full, sync, why_unwritten
from mlx_trace.json_text import parse_json
from mlx_trace.notice import tell
from mlx_trace.run_files import PROGRESS, STATE
from mlx_trace.setting import setting
from mlx_trace.train.run_dir import ARRAYS, is_half_saved, is_numbered, remove_checkpoint

_KEPT: Final = 2  # the newest checkpoint and the one before it
_FILES: Final = (*ARRAYS, PROGRESS)

Arrays = dict[str, mx.array]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The trained arrays, the optimizer's, everything else as JSON, and the arrays that a phase carries besides."""

    adapter: Arrays
    optimizer: Arrays
    progress: dict[str, Any]
    extra: Arrays = field(default_factory=dict)


class SavedProgress(BaseModel):
    """What a checkpoint says of where its run stands; `state` is the phase's own."""

    model_config = ConfigDict(strict=True)

    phase: int = Field(ge=0)
    index: int = Field(ge=0)
    done: int = Field(ge=0)
    metrics_bytes: int = Field(ge=0)
    samples_bytes: int = Field(0, ge=0)
    best_accuracy: float | None = None
    state: dict[str, Any]
    versions: dict[str, str] = {}


def save(run: Path, number: int, checkpoint: Checkpoint) -> None:
    """Write checkpoint `number`; a crash or a full disk at any moment leaves the last one as it was."""
    folder = run / STATE
    final, temporary = folder / f"{number:07d}", folder / f"{number:07d}.tmp"
    remove_checkpoint(temporary)
    with written_whole(final, temporary):
        temporary.mkdir()
        for name, arrays in zip(ARRAYS, (checkpoint.adapter, checkpoint.optimizer, checkpoint.extra), strict=True):
            mx.save_safetensors(str(temporary / name), arrays)
        (temporary / PROGRESS).write_text(json.dumps(checkpoint.progress), encoding="utf-8")
        for name in (*_FILES, "."):
            sync(temporary / name)
        remove_checkpoint(final)
        temporary.rename(final)
        sync(folder)
    tidy(run)


def tidy(run: Path) -> None:
    """Remove old checkpoints, and what a process that was killed had half written or half removed."""
    folder = run / STATE
    whole = [path.name for path in _numbered(folder) if not _missing(path)]
    for path in folder.iterdir():
        if is_half_saved(path) or (is_numbered(path) and path.name not in whole[-_KEPT:]):
            remove_checkpoint(path)


def exists(run: Path) -> bool:
    """Tell whether a run has a checkpoint that is whole."""
    return any(not _missing(path) for path in _numbered(run / STATE))


def load(run: Path, is_said: bool = True) -> Checkpoint | None:
    """Return the newest checkpoint of a run that can be read, None if it has none.

    One that is damaged is passed over and told; UserError if no other is left, or if one holds what no run writes.
    """
    damaged: list[str] = []
    for path in reversed(_numbered(run / STATE)):
        if not any((path / name).exists() for name in _FILES):
            continue
        try:
            checkpoint = _read(path)
        except (OSError, RuntimeError, ValueError) as error:
            damaged.append(f"{path}: damaged: {' '.join(str(error).split())[:160]}")
            continue
        for line in damaged if is_said else ():
            tell(f"{line}; the run goes on from checkpoint {path.name}")
        return checkpoint
    if damaged:
        anew = f"{setting('overwrite', True)} begins anew"
        raise UserError(*damaged, f"{run}: no checkpoint is left to go on from; {anew}")
    return None


def _read(path: Path) -> Checkpoint:
    if name := _missing(path):
        raise ValueError(f"it has no {name}")
    adapter, optimizer, extra = (_read_arrays(path / name) for name in ARRAYS)
    content = parse_json((path / PROGRESS).read_text(encoding="utf-8"))
    return Checkpoint(adapter, optimizer, checked(SavedProgress, content, path / PROGRESS).model_dump(), extra)


Checked = TypeVar("Checked", bound=BaseModel)


def checked(model: type[Checked], content: Any, where: Path) -> Checked:
    """Return what a run wrote for itself, as a model; UserError in one line if it is something else."""
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise UserError(faults_of(error, f"{where}: not what a run writes")[0]) from None


def check_arrays(arrays: Arrays, expected: Arrays, what: str) -> None:
    """Raise UserError unless arrays are of the names and shapes expected."""
    faults = [f"{name} missing" for name in expected if name not in arrays]
    for name, value in arrays.items():
        if name not in expected:
            faults.append(f"{name} unknown")
        elif value.shape != expected[name].shape:
            faults.append(f"{name} of shape {tuple(value.shape)}, not {tuple(expected[name].shape)}")
    if faults:
        more = f", and {len(faults) - 1} more" if len(faults) > 1 else ""
        raise UserError(f"{what} does not fit this run: {faults[0]}{more}")


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
    except (OSError, RuntimeError) as error:
        reason, full = why_unwritten(final, error), is_full(final, error)
        if temporary is not None and temporary.is_dir():
            remove_checkpoint(temporary)
        elif temporary is not None:
            temporary.unlink(missing_ok=True)
        hint = f"free some space and continue with {setting('resume', True)}" if full else (
            "the last checkpoint is untouched")  # fmt: skip
        raise UserError(f"{final}: could not be written: {reason}; {hint}") from error


def _missing(path: Path) -> str | None:
    """Return the first of its files that a checkpoint lacks, None if it is whole."""
    return next((name for name in _FILES if not (path / name).is_file()), None)


def _numbered(folder: Path) -> list[Path]:
    paths = [path for path in folder.iterdir() if is_numbered(path)] if folder.is_dir() else []
    return sorted(paths, key=lambda path: int(path.name))
