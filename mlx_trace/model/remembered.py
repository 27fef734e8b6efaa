"""What was computed from all of a file's bytes, remembered in the cache for as long as the file stays the same.

A file is the same by its size, inode and times. Knows nothing of what is computed.
"""

import hashlib
import json
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, TypeVar

from mlx_trace.errors import UserError
from mlx_trace.files import write_atomically
from mlx_trace.json_text import parse_json
from mlx_trace.resources import cache_dir

YOUNG: Final = 2_000_000_000  # ns; a file changed so lately may change again within one tick of its clock
Found = TypeVar("Found")


def identity(file: Path) -> tuple[int, int, int, int]:
    """Return what changes when a file does: size, inode, and when its content and its inode changed, in ns."""
    status = file.stat()
    return status.st_size, status.st_ino, status.st_mtime_ns, status.st_ctime_ns


def recall(file: Path, kind: str, form: type[Found]) -> Found | None:
    """Return what is remembered of a file as it is now; None if nothing is."""
    try:
        note = parse_json(_note(file, kind).read_text(encoding="utf-8"))
        value = note["found"] if note["identity"] == [*identity(file)] else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return value if isinstance(value, form) else None


def remembered(file: Path, kind: str, form: type[Found], compute: Callable[[Path], Found]) -> Found:
    """Return what is computed from a file, which JSON can hold; UserError if the file changes meanwhile."""
    before = identity(file)
    known = recall(file, kind, form)
    value = compute(file) if known is None else known
    if identity(file) != before:
        raise UserError(f"{file}: changed while it was read")
    if known is None and time.time_ns() - max(before[2:]) > YOUNG:
        with suppress(OSError, UserError):  # a cache that cannot be written costs time, and nothing else
            _write(_note(file, kind), {"identity": before, "found": value, "file": str(file.resolve())})
    return value


def _write(note: Path, content: dict[str, Any]) -> None:
    note.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(note, [json.dumps(content) + "\n"])


def _note(file: Path, kind: str) -> Path:
    name = hashlib.blake2b(os.fsencode(file.resolve()), digest_size=12).hexdigest()
    return cache_dir() / "sources" / f"{name}.{kind}.json"
