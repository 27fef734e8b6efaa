"""A GGUF file as a model directory, converted once and kept: in `MLX_TRACE_CACHE`, else ~/.cache/mlx-trace.

Two processes at once convert once; a folder appears whole or not at all, whatever kills the process meanwhile.
"""

import errno
import fcntl
import hashlib
import json
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final

from mlx_trace.errors import UserError
from mlx_trace.files import unreadable, write_atomically
from mlx_trace.model.gguf import names
from mlx_trace.model.gguf.architecture import architecture_of, config_from, sizes_of
from mlx_trace.model.gguf.header import Header, open_file, read_header
from mlx_trace.model.gguf.tokenizer import read_vocabulary, tokenizer_config, tokenizer_json
from mlx_trace.model.gguf.weights import Layout, Progress, plan, read_vector, write_weights

CACHE_VARIABLE: Final = "MLX_TRACE_CACHE"
PROVENANCE: Final = "gguf.json"
_FORMAT: Final = 1  # of the folders; a converter that writes others takes the next number
_SPARE: Final = 64 << 20  # bytes that a conversion leaves free
_YOUNG: Final = 2_000_000_000  # ns; a file changed so lately may change again within one tick of its clock
_TYPES: Final = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}


def model_directory(file: Path) -> Path:
    """Return the directory that a GGUF file was converted into, converting it if it has not been; else UserError."""
    header = read_header(file)
    architecture = architecture_of(header)
    root = cache_root() / "models"
    try:
        root.mkdir(parents=True, exist_ok=True)
        digest = _digest(file)
        folder = root / digest
        if not _is_whole(folder):
            with _lock(root, digest, file):
                if not _is_whole(folder):
                    _convert(header, architecture, folder)
    except OSError as error:
        raise _no_room(root, error) if error.errno == errno.ENOSPC else unreadable(
            Path(error.filename or root), error) from None  # fmt: skip
    return folder


def cache_root() -> Path:
    """Return where converted models are kept."""
    named = os.environ.get(CACHE_VARIABLE)
    return Path(named).expanduser() if named else Path.home() / ".cache" / "mlx-trace"


def _is_whole(folder: Path) -> bool:
    return (folder / PROVENANCE).is_file()  # folders are renamed when they are complete, so one file tells


def _no_room(root: Path, error: OSError) -> UserError:
    return UserError(f"{root}: {(error.strerror or 'the disk is full').lower()}; free some, or name another place in "
                     f"{CACHE_VARIABLE}")  # fmt: skip


# --- which file it is ------------------------------------------------------------------------------------------


def _digest(file: Path) -> str:
    """Return a fingerprint of all the file's bytes and of the converter; remembered while the file stays the same."""
    known = (
        cache_root() / "sources" / f"{hashlib.blake2b(os.fsencode(file.resolve()), digest_size=12).hexdigest()}.json"
    )
    now = _identity(file)
    try:
        remembered = json.loads(known.read_text())
    except (OSError, ValueError):
        remembered = None
    if isinstance(remembered, dict) and remembered.get("identity") == now and isinstance(remembered.get("digest"), str):
        return str(remembered["digest"])
    digest = _hash(file)
    if _identity(file) != now:
        raise UserError(f"{file}: changed while it was read")
    if time.time_ns() - max(now[2], now[3]) > _YOUNG:
        known.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(known, [json.dumps({"identity": now, "digest": digest, "file": str(file.resolve())}) + "\n"])
    return digest


def _identity(file: Path) -> list[int]:
    status = file.stat()
    return [status.st_size, status.st_ino, status.st_mtime_ns, status.st_ctime_ns, _FORMAT]


def _hash(file: Path) -> str:
    summary = hashlib.blake2b(digest_size=16, person=f"mlx-trace {_FORMAT}".encode())
    content, _ = open_file(file)
    with content:
        while piece := content.read(1 << 20):
            summary.update(piece)
    return summary.hexdigest()


# --- one at a time ---------------------------------------------------------------------------------------------


@contextmanager
def _lock(root: Path, digest: str, file: Path) -> Iterator[None]:
    """Hold the right to convert into a folder, waiting for another process that holds it."""
    with (root / f".{digest}.lock").open("w") as handle:
        if not _try(handle):
            _say(f"{file}: another process is converting it; waiting")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _try(handle: Any) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _sweep(root: Path, digest: str) -> None:
    """Remove what killed conversions left: of this file, whose lock we hold, and of others that nobody converts."""
    for left in root.glob(".*.part.*"):
        other = left.name.split(".")[1]
        if other == digest:
            shutil.rmtree(left, ignore_errors=True)
            continue
        with (root / f".{other}.lock").open("w") as handle:
            if _try(handle):
                shutil.rmtree(left, ignore_errors=True)


# --- converting ------------------------------------------------------------------------------------------------


def _convert(header: Header, architecture: str, folder: Path) -> None:
    """Write a folder beside its place, and rename it when it is whole and on the disk."""
    sizes = sizes_of(header, architecture)
    factors = read_vector(header, names.FREQUENCIES)
    config = config_from(header, architecture, sizes, factors)
    layout = plan(header, architecture, sizes)
    vocabulary = read_vocabulary(header, layout.config["vocab_size"])
    texts = {
        "config.json": _config(config, layout, vocabulary.end_ids, vocabulary.roles),
        "generation_config.json": {"eos_token_id": list(vocabulary.end_ids)},
        "tokenizer.json": tokenizer_json(header, vocabulary),
        "tokenizer_config.json": tokenizer_config(header, vocabulary, config["max_position_embeddings"]),
        PROVENANCE: _provenance(header, architecture, folder.name),
    }  # fmt: skip
    _sweep(folder.parent, folder.name)
    _check_room(header.path, folder.parent, layout)
    temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}.part."))
    identity = _identity(header.path)
    try:
        with _shown_progress(header, architecture, layout) as progress:
            write_weights(header, layout, temporary, progress)
        for name, content in texts.items():
            _write_json(temporary / name, content)
        if _identity(header.path) != identity:
            raise UserError(f"{header.path}: changed while it was converted")
        temporary.chmod(0o755)
        _sync(temporary)
        temporary.rename(folder)
        _sync(folder.parent)
    except UserError as error:
        raise UserError(*(fault if str(header.path) in fault else f"{header.path}: {fault}" for fault in error.faults)
                        ) from None  # fmt: skip
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _config(config: dict[str, Any], layout: Layout, ends: Any, roles: Any) -> dict[str, Any]:
    ids = {f"{role}_token_id": roles[role] for role in ("bos", "pad") if role in roles}
    end = list(ends)
    return config | layout.config | ids | {
        "eos_token_id": end[0] if len(end) == 1 else end, "torch_dtype": _TYPES[layout.kind]}  # fmt: skip


def _provenance(header: Header, architecture: str, digest: str) -> dict[str, Any]:
    kinds = Counter(tensor.kind for tensor in header.tensors.values())
    return {
        "source": header.path.name,
        "bytes": header.path.stat().st_size,
        "digest": digest,
        "format": _FORMAT,
        "architecture": architecture,
        "tensors": dict(kinds.most_common()),
        "name": header.metadata.get("general.name"),
    }


def _check_room(file: Path, root: Path, layout: Layout) -> None:
    free, needed = shutil.disk_usage(root).free, layout.num_bytes + _SPARE
    if needed > free:
        raise UserError(f"{file}: converting it takes {_size(needed)} in {root}, and {_size(free)} are free; free some, "
                        f"or name another place in {CACHE_VARIABLE}")  # fmt: skip


def _size(count: int) -> str:
    return f"{count / 1e9:.2f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def _write_json(path: Path, content: Any) -> None:
    with path.open("w", encoding="utf-8") as file:
        json.dump(content, file, ensure_ascii=False, indent=None if path.name == "tokenizer.json" else 2)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


# --- what a person sees ----------------------------------------------------------------------------------------


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


@contextmanager
def _shown_progress(header: Header, architecture: str, layout: Layout) -> Iterator[Progress]:
    """Show a bar on a terminal, and a line before and after elsewhere."""
    matrices = Counter(tensor.kind for tensor in header.tensors.values() if len(tensor.shape) > 1)
    what = f"{header.path.name} ({architecture}, {matrices.most_common(1)[0][0]})"
    _say(f"converting {what} to {_size(layout.num_bytes)} in {cache_root()}, once")
    started = time.monotonic()
    with _bar(layout.num_numbers) as progress:
        yield progress
    _say(f"converted in {time.monotonic() - started:.1f} s")


@contextmanager
def _bar(total: int) -> Iterator[Progress]:
    if not sys.stderr.isatty():
        yield lambda count: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = TextColumn("converting"), BarColumn(), TextColumn("{task.percentage:3.0f}%"), TimeRemainingColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task("", total=total)
        yield lambda count: bars.advance(task, count)
