"""Files read and written with care: numbered lines, JSON as written, writes that appear whole or not at all, locks."""

import errno
import fcntl
import hashlib
import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, TextIO

from mlx_trace.errors import UserError, why
from mlx_trace.json_text import json_fault, parse_json
from mlx_trace.notice import tell

_SHORT: Final = 50  # characters of a name, of which each may be four bytes, and a name has 255
_FULL: Final = 1 << 16  # bytes left on a disk that is full
_OPEN: Final = re.compile(r"//?dev/(stdout|stderr)|//?(?:dev|proc/self)/fd/(\d{1,9})")
_NUMBERS: Final = {"stdout": 1, "stderr": 2}


def lenient_lines(path: Path) -> Iterator[tuple[int, str | None]]:
    """Yield (line number from 1, text, or None if it is not UTF-8) for every line that is not blank."""
    try:
        with path.open("rb") as file:
            for number, raw in enumerate(file, start=1):
                if not raw.strip():
                    continue
                try:
                    yield number, raw.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
                except UnicodeDecodeError:
                    yield number, None
    except OSError as error:
        raise unreadable(path, error) from None


def read_text(path: Path) -> str:
    """Return a file's text; UserError if it cannot be read or is not UTF-8."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise UserError(f"{path}: not UTF-8 text") from None
    except OSError as error:
        raise unreadable(path, error) from None


def read_json(path: Path) -> Any:
    """Return what a JSON file holds; UserError if it is not JSON, or an object has a key twice."""
    text = read_text(path)
    try:
        return parse_json(text, object_pairs_hook=_no_duplicates)
    except json.JSONDecodeError as error:
        raise UserError(f"{path}:{error.lineno}: not JSON: {json_fault(error)}") from None
    except ValueError as error:
        raise UserError(f"{path}: not JSON as it is read: {error}") from None


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key {next(key for key in keys if keys.count(key) > 1)!r} stands twice")
    return content


def unreadable(path: Path, error: OSError) -> UserError:
    """Return the one line that says why a path cannot be read or written."""
    return UserError(f"{path}: {why(error)}")


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal digits."""
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def is_full(path: Path, error: OSError | RuntimeError) -> bool:
    """Tell whether a path could not be written because its disk, or one's share of it, is full.

    MLX reports a failed write as a RuntimeError, without its cause.
    """
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    existing = next((folder for folder in path.absolute().parents if folder.exists()), Path("/"))
    return shutil.disk_usage(existing).free < _FULL


def why_unwritten(path: Path, error: OSError | RuntimeError) -> str:
    """Return in words why a path could not be written."""
    if isinstance(error, RuntimeError):
        return os.strerror(errno.ENOSPC).lower() if is_full(path, error) else " ".join(str(error).split())[:200]
    return why(error)


def check_output(path: Path) -> None:
    """Refuse a file that could not be written, before there is something to write."""
    if path.is_dir():
        raise UserError(f"{path}: is a directory")
    if is_stream(path):
        return
    try:
        path.exists()
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise unreadable(path, error) from None


def is_stream(path: Path) -> bool:
    """Tell whether a path is a pipe or a device, or a file that is open, by a name such as /dev/stdout.

    Nothing may replace any of them: who may write to /dev would have a file there in place of everyone's stdout.
    """
    return _handle(path) is not None or (path.exists() and not path.is_file())


def _handle(path: Path) -> int | None:
    """Return the number of the open file that a path names; None if it is the path of something else."""
    match = _OPEN.fullmatch(os.path.normpath(path))
    return None if match is None else int(match[2] or _NUMBERS[match[1]])


def write_atomically(path: Path, lines: Iterable[str]) -> int:
    """Write lines (each with its newline) to a temporary file, then rename it; return how many there were.

    A pipe or a device gets the lines themselves.
    """
    if path.is_dir():
        raise UserError(f"{path}: is a directory")
    if is_stream(path):
        return _write_stream(path, lines)
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:_SHORT]}.", suffix=".tmp")
    except OSError as error:
        raise unreadable(path, error) from None
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            count = _write(file, lines)
        sync(Path(temporary))
        umask = os.umask(0)
        os.umask(umask)
        Path(temporary).chmod(0o666 & ~umask)
        Path(temporary).replace(path)
    except OSError as error:
        raise unreadable(path, error) from None
    finally:
        Path(temporary).unlink(missing_ok=True)
    return count


def _write_stream(path: Path, lines: Iterable[str]) -> int:
    handle = _handle(path)
    sys.stdout.flush()
    try:
        if handle is None:
            file = path.open("w", encoding="utf-8", newline="\n")
        else:  # go on where others have written
            file = os.fdopen(os.dup(handle), "w", encoding="utf-8", newline="\n")
        with file:
            return _write(file, lines)
    except OSError as error:
        raise unreadable(path, error) from None


def _write(file: TextIO, lines: Iterable[str]) -> int:
    count = 0
    for line in lines:
        file.write(line)
        count += 1
    return count


def sync(path: Path) -> None:
    """Have a file's content, or a directory's entries, on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        if hasattr(fcntl, "F_FULLFSYNC"):  # on a Mac, fsync leaves the drive's own cache
            with suppress(OSError):  # not every file system has it
                fcntl.fcntl(handle, fcntl.F_FULLFSYNC)
                return
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def locked(lock: Path, waiting: str) -> Iterator[None]:
    """Hold a lock file, made if there is none, that one process at a time holds; the others say why they wait."""
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        handle = lock.open("a", encoding="utf-8")  # "w" would empty what a link leads to
    except OSError as error:
        raise unreadable(lock.parent, error) from None
    with handle:
        if not try_lock(handle.fileno()):
            tell(waiting)
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def is_unlocked(lock: Path) -> bool:
    """Tell whether no process holds a lock file."""
    with lock.open("a", encoding="utf-8") as handle:
        return try_lock(handle.fileno())


def try_lock(handle: int) -> bool:
    """Lock an open file for this process, without waiting; tell whether no other process holds it."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
