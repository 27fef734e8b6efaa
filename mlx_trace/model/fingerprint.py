"""Which weights a model has: a digest of every tensor, whatever files they are spread over.

Takes a model's directory; returns a `Fingerprint`, by which an adapter knows its base. Reads safetensors and imports no
MLX. All bytes are read once for a file, and what was found is remembered for as long as it stays the same.
"""

import hashlib
import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Any, Final

from mlx_trace import background
from mlx_trace.background import Wait
from mlx_trace.errors import UserError
from mlx_trace.json_text import parse_json
from mlx_trace.model.remembered import remembered

_KIND: Final = "tensors1"
_PIECE: Final = 4 << 20  # bytes that are read at once
_HEADER: Final = 100 << 20  # bytes; the format's own limit
_THREADS: Final = 4  # hashing leaves Python's lock to the others
OLD_SIZE: Final = 24  # characters of the digests of before, of the first 64 KiB of each file


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """A line for each tensor, by its name: its shape, then a digest of its type and bytes."""

    tensors: Mapping[str, str]

    @property
    def digest(self) -> str:
        """Return what all weights together are known by."""
        return _digest(f"{name} {line}" for name, line in sorted(self.tensors.items()))

    @property
    def shape(self) -> str:
        """Return what the names and shapes of the weights are known by."""
        return _digest(f"{name} {line.split()[0]}" for name, line in sorted(self.tensors.items()))

    def without(self, modules: Collection[str]) -> str:
        """Return what the weights outside of some modules are known by."""
        return _digest(f"{name} {line}" for name, line in sorted(self.tensors.items())
                       if name.rpartition(".")[0] not in modules)  # fmt: skip


def fingerprint(path: Path) -> Fingerprint:
    """Return the fingerprint of a model's directory; UserError if its weights cannot be read."""
    tensors: dict[str, str] = {}
    for file in sorted(path.glob("model*.safetensors")):
        tensors |= remembered(file, _KIND, dict, _hashed)
    return Fingerprint(tensors)


def begun(path: Path) -> Wait[Fingerprint]:
    """Begin to read a directory's fingerprint beside whatever else goes on; return what waits for it."""
    return background.begun(lambda: fingerprint(path))


def old_digest(path: Path) -> str:
    """Return what weights were known by before: every file's header, and the first 64 KiB of its tensors."""
    summary = hashlib.blake2b(digest_size=OLD_SIZE // 2)
    for file in sorted(path.glob("model*.safetensors")):
        with file.open("rb") as weights:
            size = int.from_bytes(weights.read(8), "little")
            summary.update(weights.read(min(size, 1 << 24)))
            summary.update(weights.read(1 << 16))
    return summary.hexdigest()


def _hashed(file: Path) -> dict[str, str]:
    """Return a line for each tensor of a file, several hashed at once."""
    handle = os.open(file, os.O_RDONLY)
    try:
        start, header = _header(file, handle)
        lines: dict[str, str] = {}
        waiting = iter(header.items())
        threads = [Thread(target=_work, args=(handle, start, waiting, lines), daemon=True) for _ in range(_THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        os.close(handle)
    if len(lines) < len(header):
        raise UserError(f"{file}: ends before its tensors do, or is no safetensors file")
    return lines


def _work(handle: int, start: int, waiting: Iterator[tuple[str, Any]], lines: dict[str, str]) -> None:
    """Hash tensors for as long as there are some; one that is not whole gets no line."""
    for name, tensor in waiting:
        try:
            first, end = tensor["data_offsets"]
            summary = hashlib.blake2b(str(tensor["dtype"]).encode(), digest_size=12)
            for position in range(first, end, _PIECE):
                piece = os.pread(handle, min(_PIECE, end - position), start + position)
                if len(piece) < min(_PIECE, end - position):
                    return
                summary.update(piece)
            lines[name] = f"{'x'.join(map(str, tensor['shape'])) or 'scalar'} {summary.hexdigest()}"
        except (OSError, KeyError, TypeError, ValueError):
            return


def _header(file: Path, handle: int) -> tuple[int, dict[str, Any]]:
    """Return where a file's tensors begin, and what is said of each."""
    try:
        size = int.from_bytes(os.pread(handle, 8, 0), "little")
        header = parse_json(os.pread(handle, size, 8)) if size <= _HEADER else None
    except ValueError:
        header = None
    if not isinstance(header, dict):
        raise UserError(f"{file}: no safetensors file")
    header.pop("__metadata__", None)
    return 8 + size, header


def _digest(lines: Iterator[str]) -> str:
    return hashlib.blake2b("\n".join(lines).encode(), digest_size=16).hexdigest()
