"""A GGUF file as a model directory, converted once and kept: in `MLX_TRACE_CACHE`, else ~/.cache/mlx-trace.

Two processes at once convert once; a folder appears whole or not at all, whatever kills the process meanwhile.
"""

import errno
import hashlib
import json
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from mlx_trace.errors import UserError
from mlx_trace.files import is_unlocked, locked, sync, unreadable
from mlx_trace.json_text import parse_json
from mlx_trace.model.gguf import names
from mlx_trace.model.gguf.architecture import architecture_of, config_from, sizes_of
from mlx_trace.model.gguf.header import Header, open_file, read_header
from mlx_trace.model.gguf.tokenizer import read_vocabulary, tokenizer_config, tokenizer_json
from mlx_trace.model.gguf.values import read_vector
from mlx_trace.model.gguf.weights import Layout, Progress, plan, with_one_head, write_weights
from mlx_trace.model.remembered import identity, recall, remembered
from mlx_trace.notice import tell
from mlx_trace.resources import cache_dir, expanded

PROVENANCE: Final = "gguf.json"
_FORMAT: Final = 1  # of the folders; a converter that writes others takes the next number
_SPARE: Final = 64 << 20  # bytes that a conversion leaves free
_KIND: Final = f"gguf{_FORMAT}"  # of what is remembered of a file
_TYPES: Final = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}


@dataclass(frozen=True, slots=True)
class _Conversion:
    """What a file becomes: known, and checked, before anything of it is written."""

    header: Header
    architecture: str
    layout: Layout
    config: dict[str, Any]
    texts: dict[str, Any]  # file name: content


def model_directory(file: Path) -> Path:
    """Return the directory that a GGUF file was converted into, converting it if it has not been; else UserError."""
    open_file(file)[0].close()
    root = cache_dir() / "models"
    try:
        known = _remembered(file)
        if known and _is_whole(root / known):
            return root / known
        conversion = _prepare(file, identity(file))
        root.mkdir(parents=True, exist_ok=True)
        folder = root / _digest(file)
        if not _is_whole(folder):
            with locked(_lock(root, folder.name), f"{file}: another process is converting it; waiting"):
                if not _is_whole(folder):
                    _convert(conversion, folder)
        _prepare.cache_clear()  # it holds a vocabulary
    except OSError as error:
        raise _failed(root, error) from None
    return folder


def check_file(name: str | None) -> None:
    """Refuse a file that is no model, by its name on a command line: before MLX is imported, which takes seconds."""
    path = expanded(name or "")
    if name and not path.is_dir() and (path.exists() or path.suffix.lower() == ".gguf"):
        open_file(path)[0].close()
        if _remembered(path) is None:
            _prepare(path, identity(path))


def _is_whole(folder: Path) -> bool:
    """Tell whether a folder holds what its provenance lists: it appears at once, but a person may have tidied up."""
    try:
        sizes = parse_json((folder / PROVENANCE).read_text())["files"]
        return all((folder / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def _failed(root: Path, error: OSError) -> UserError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return UserError(f"{root}: {os.strerror(error.errno).lower()}; free some, or name another place in "
                         f"MLX_TRACE_CACHE")  # fmt: skip
    return unreadable(Path(error.filename or root), error)


# --- which file it is ------------------------------------------------------------------------------------------


def _digest(file: Path) -> str:
    """Return a fingerprint of all the file's bytes and of the converter."""
    return remembered(file, _KIND, str, _hash)


def _remembered(file: Path) -> str | None:
    return recall(file, _KIND, str)


def _hash(file: Path) -> str:
    summary = hashlib.blake2b(digest_size=16, person=f"mlx-trace {_FORMAT}".encode())
    content, _ = open_file(file)
    with content:
        while piece := content.read(1 << 20):
            summary.update(piece)
    return summary.hexdigest()


# --- converting ------------------------------------------------------------------------------------------------


@lru_cache(maxsize=1)  # a command checks a file, then converts it
def _prepare(file: Path, as_it_is: tuple[int, ...]) -> _Conversion:
    """Read what the file says of itself; UserError says what is wrong with it, or what is not supported."""
    header = read_header(file)
    architecture = architecture_of(header)
    sizes = sizes_of(header, architecture)
    config = config_from(header, architecture, sizes, read_vector(header, names.FREQUENCIES))
    layout = plan(header, architecture, sizes)
    vocabulary = read_vocabulary(header, layout.config["vocab_size"])
    texts = {
        "generation_config.json": {"eos_token_id": list(vocabulary.end_ids)},
        "tokenizer.json": tokenizer_json(header, vocabulary),
        "tokenizer_config.json": tokenizer_config(header, vocabulary, config["max_position_embeddings"]),
    }
    ids = {f"{role}_token_id": vocabulary.roles[role] for role in ("bos", "pad") if role in vocabulary.roles}
    ends = list(vocabulary.end_ids)
    config |= ids | {"eos_token_id": ends[0] if len(ends) == 1 else ends}
    return _Conversion(header, architecture, layout, config, texts)


def _convert(conversion: _Conversion, folder: Path) -> None:
    """Write a folder beside its place, and rename it when it is whole and on the disk."""
    file = conversion.header.path
    _sweep(folder.parent, folder.name)
    shutil.rmtree(folder, ignore_errors=True)  # one that is not whole
    before = identity(file)
    layout = with_one_head(conversion.header, conversion.layout)
    _check_room(file, folder.parent, layout)
    temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}.part."))
    try:
        with _shown_progress(conversion, layout) as progress:
            write_weights(conversion.header, layout, temporary, progress)
        config = conversion.config | layout.config | {"torch_dtype": _TYPES[layout.kind]}
        for name, content in ({"config.json": config} | conversion.texts).items():
            _write_json(temporary / name, content)
        _write_json(temporary / PROVENANCE, _provenance(conversion, folder.name, temporary))
        if identity(file) != before:
            raise UserError(f"{file}: changed while it was converted")
        temporary.chmod(0o755)
        sync(temporary)
        temporary.rename(folder)
        sync(folder.parent)
    except UserError as error:
        raise UserError(*(fault if str(file) in fault else f"{file}: {fault}" for fault in error.faults)) from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _lock(root: Path, digest: str) -> Path:
    return root / f".{digest}.lock"


def _sweep(root: Path, digest: str) -> None:
    """Remove what killed conversions left: of this file, whose lock we hold, and of others that nobody converts."""
    for left in root.glob(".*.part.*"):
        other = left.name.split(".")[1]
        if other == digest or is_unlocked(_lock(root, other)):
            shutil.rmtree(left, ignore_errors=True)


def _provenance(conversion: _Conversion, digest: str, folder: Path) -> dict[str, Any]:
    header = conversion.header
    return {
        "source": header.path.name,
        "bytes": header.path.stat().st_size,
        "digest": digest,
        "format": _FORMAT,
        "architecture": conversion.architecture,
        "tensors": dict(Counter(tensor.kind for tensor in header.tensors.values()).most_common()),
        "name": header.metadata.get("general.name"),
        "files": {file.name: file.stat().st_size for file in sorted(folder.iterdir())},
    }


def _check_room(file: Path, root: Path, layout: Layout) -> None:
    free, needed = shutil.disk_usage(root).free, layout.num_bytes + _SPARE
    if needed > free:
        raise UserError(f"{file}: converting it takes {_size(needed)} in {root}, and {_size(free)} are free; free "
                        f"some, or name another place in MLX_TRACE_CACHE")  # fmt: skip


def _size(count: int) -> str:
    return f"{count / 1e9:.2f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def _write_json(path: Path, content: Any) -> None:
    with path.open("w", encoding="utf-8") as file:
        json.dump(content, file, ensure_ascii=False, indent=None if path.name == "tokenizer.json" else 2)
        file.write("\n")
    sync(path)


# --- what a person sees ----------------------------------------------------------------------------------------


@contextmanager
def _shown_progress(conversion: _Conversion, layout: Layout) -> Iterator[Progress]:
    """Show a bar on a terminal, and a line before and after elsewhere."""
    header = conversion.header
    matrices = Counter(tensor.kind for tensor in header.tensors.values() if len(tensor.shape) > 1)
    what = f"{header.path.name} ({conversion.architecture}, {matrices.most_common(1)[0][0]})"
    tell(f"converting {what} to {_size(layout.num_bytes)} in {cache_dir()}, once")
    started = time.monotonic()
    with _bar(layout.num_numbers) as progress:
        yield progress
    tell(f"converted in {time.monotonic() - started:.1f} s")


@contextmanager
def _bar(total: int) -> Iterator[Progress]:
    if not sys.stderr.isatty():
        yield lambda count: None
        return
    from rich import progress as rich_progress
    from rich.console import Console

    text = rich_progress.TextColumn
    columns = (text("converting"), rich_progress.BarColumn(), text("{task.percentage:3.0f}%"),
               rich_progress.TimeRemainingColumn())  # fmt: skip
    with rich_progress.Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task("", total=total)
        yield lambda count: bars.advance(task, count)
