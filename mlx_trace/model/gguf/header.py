"""The first part of a GGUF file, read strictly: its metadata, and where its tensors lie.

Takes an open file and its size, and believes neither counts nor lengths nor offsets: whatever the bytes, reading
ends at once and in little memory, with a Header or a UserError. Knows nothing of what the metadata means.
"""

import math
import os
import stat
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO, Final

from mlx_trace.errors import UserError
from mlx_trace.files import unreadable

MAGIC: Final = b"GGUF"
_VERSIONS: Final = (2, 3)
_SCALARS: Final = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
_ALIGNMENT: Final = 32
# Far above what any model has, far below what would hurt.
_MOST_ITEMS: Final = 1 << 22  # of all arrays together
_LONGEST_STRING: Final = 1 << 24
_LONGEST_NAME: Final = 1 << 10
_LONGEST_HEADER: Final = 1 << 26
_MOST_DIMENSIONS: Final = 4


@dataclass(frozen=True, slots=True)
class Tensor:
    """Where a tensor lies in the file: its shape as NumPy has it (rows first), ggml's type, and its bytes."""

    name: str
    shape: tuple[int, ...]
    kind: str
    start: int  # from the beginning of the file
    row_bytes: int

    @property
    def rows(self) -> int:
        """Return how many rows there are; a vector is one."""
        return math.prod(self.shape[:-1])

    @property
    def size(self) -> int:
        """Return how many numbers it holds."""
        return math.prod(self.shape)

    @property
    def num_bytes(self) -> int:
        """Return how many bytes it takes in the file."""
        return self.rows * self.row_bytes


@dataclass(frozen=True, slots=True)
class Header:
    """What a file says of itself, and its tensors by name."""

    path: Path
    metadata: Mapping[str, Any]
    tensors: Mapping[str, Tensor]


class _Bytes:
    """Reads numbers and strings one after the other, and no further than the file or the longest header goes."""

    def __init__(self, file: BinaryIO, path: Path, size: int) -> None:
        self._read = file.read
        self._path = path
        self._size = size
        self.position = 0
        self.items = 0  # of arrays, so far

    @property
    def left(self) -> int:
        return min(self._size, _LONGEST_HEADER) - self.position

    def take(self, count: int, what: str) -> bytes:
        if count > self._size - self.position:
            raise self.fault(f"cut short, or damaged: {what} goes beyond the end of the file")
        if count > self.left:
            raise self.fault(f"damaged: its metadata is longer than {_LONGEST_HEADER:,} bytes")
        self.position += count
        content = self._read(count)
        if len(content) < count:
            raise self.fault(f"cut short while it was read: {what} is missing")
        return content

    def number(self, form: str, what: str) -> Any:
        return struct.unpack("<" + form, self.take(struct.calcsize("<" + form), what))[0]

    def string(self, what: str, longest: int = _LONGEST_STRING) -> str:
        length = int.from_bytes(self.take(8, what), "little")
        if length > longest:
            raise self.fault(f"damaged: {what} is a string of {length:,} bytes")
        try:
            return self.take(length, what).decode()
        except UnicodeDecodeError:
            raise self.fault(f"damaged: {what} is not UTF-8 text") from None

    def fault(self, message: str) -> UserError:
        return UserError(f"{self._path}: {message}")


def open_file(path: Path) -> tuple[BinaryIO, int]:
    """Open an ordinary file and return it with its size; UserError if it is anything else, or cannot be read."""
    try:
        # a FIFO that nobody writes to would block at open
        file = os.fdopen(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)), "rb")
        status = os.fstat(file.fileno())
    except OSError as error:
        raise unreadable(path, error) from None
    if not stat.S_ISREG(status.st_mode):
        file.close()
        raise UserError(f"{path}: not an ordinary file, so it cannot be a GGUF file")
    return file, status.st_size


def read_header(path: Path) -> Header:
    """Read a file's metadata and tensor table; UserError says what is wrong with a file that is not sound."""
    file, size = open_file(path)
    with file:
        return _read(_Bytes(file, path, size), path, size)


def _read(content: _Bytes, path: Path, size: int) -> Header:
    if size < len(MAGIC) or (magic := content.take(len(MAGIC), "its beginning")) != MAGIC:
        shown = f"it begins with {magic!r}" if size >= len(MAGIC) else "it is too short"
        raise UserError(f"{path}: not a GGUF file: {shown}")
    version = content.number("I", "its version")
    if version & 0xFFFF == 0 and version:
        raise UserError(f"{path}: a big-endian GGUF file; only little-endian ones are read")
    if version not in _VERSIONS:
        raise UserError(f"{path}: GGUF version {version}; versions {' and '.join(map(str, _VERSIONS))} are read")
    num_tensors = content.number("Q", "the number of tensors")
    num_keys = content.number("Q", "the number of keys")
    _check_count(content, num_tensors, 24, "tensors")
    _check_count(content, num_keys, 12, "keys")
    metadata: dict[str, Any] = {}
    for index in range(num_keys):
        key = content.string(f"the name of key {index}", _LONGEST_NAME)
        if key in metadata:
            raise UserError(f"{path}: damaged: the key {key!r} stands twice")
        metadata[key] = _value(content, content.number("I", key), key)
    _refuse_parts(path, metadata)
    return Header(path, metadata, _tensors(content, path, size, num_tensors, _alignment(path, metadata)))


def _check_count(content: _Bytes, count: int, least_bytes: int, what: str) -> None:
    if count * least_bytes > content.left:
        raise content.fault(f"damaged: {count:,} {what} in a file of this size")


def _value(content: _Bytes, kind: int, key: str) -> Any:
    if kind in _SCALARS:
        value = content.number(_SCALARS[kind], key)
        if isinstance(value, float) and not math.isfinite(value):
            raise content.fault(f"damaged: {key} is {value}")
        return value
    if kind == _STRING:
        return content.string(key)
    if kind == _ARRAY:
        return _array(content, key)
    raise content.fault(f"damaged: {key} has a value of unknown type {kind}")


def _array(content: _Bytes, key: str) -> list[Any]:
    kind, count = content.number("I", key), content.number("Q", key)
    content.items += count
    if content.items > _MOST_ITEMS:
        raise content.fault(f"damaged: {key} is an array of {count:,} values")
    if kind == _STRING:
        _check_count(content, count, 8, f"strings in {key}")
        return [content.string(key) for _ in range(count)]
    if kind not in _SCALARS:
        raise content.fault(f"damaged: {key} is an array of {'arrays' if kind == _ARRAY else f'unknown type {kind}'}")
    width = struct.calcsize("<" + _SCALARS[kind])
    _check_count(content, count, width, f"numbers in {key}")
    return list(struct.unpack(f"<{count}{_SCALARS[kind]}", content.take(count * width, key)))


def _refuse_parts(path: Path, metadata: Mapping[str, Any]) -> None:
    count, number = metadata.get("split.count", 0), metadata.get("split.no", 0)
    if not isinstance(count, int) or not isinstance(number, int) or count <= 1:
        return
    stem, mark, rest = path.name.rpartition(f"-{number + 1:05d}-of-")
    first = f"the first is {stem}-00001-of-{rest}" if mark and number else "its parts"
    joined = f"{stem or path.stem}.gguf" if mark else "model.gguf"
    raise UserError(f"{path}: part {number + 1} of a model in {count} files ({first}); join them into one file first: "
                    f"llama-gguf-split --merge FIRST-PART {joined}")  # fmt: skip


def _alignment(path: Path, metadata: Mapping[str, Any]) -> int:
    alignment = metadata.get("general.alignment", _ALIGNMENT)
    if not isinstance(alignment, int) or not 1 <= alignment <= 1 << 16 or alignment & (alignment - 1):
        raise UserError(f"{path}: damaged: general.alignment is {alignment!r}, not a power of two")
    return alignment


def _tensors(content: _Bytes, path: Path, size: int, count: int, alignment: int) -> dict[str, Tensor]:
    entries = [_entry(content, index) for index in range(count)]
    begin = -(-content.position // alignment) * alignment
    tensors: dict[str, Tensor] = {}
    for name, shape, type_id, offset in entries:
        if name in tensors:
            raise UserError(f"{path}: damaged: the tensor {name} stands twice")
        if offset % alignment:
            raise UserError(f"{path}: damaged: {name} lies at {offset}, not at a multiple of {alignment}")
        tensors[name] = tensor = _tensor(path, name, shape, type_id, begin + offset)
        if tensor.start + tensor.num_bytes > size:
            raise UserError(f"{path}: cut short, or damaged: {name} goes beyond the end of the file")
    order = sorted(tensors.values(), key=lambda tensor: tensor.start)
    for before, after in pairwise(order):
        if before.start + before.num_bytes > after.start:
            raise UserError(f"{path}: damaged: {before.name} and {after.name} overlap")
    return tensors


def _entry(content: _Bytes, index: int) -> tuple[str, tuple[int, ...], int, int]:
    name = content.string(f"the name of tensor {index}", _LONGEST_NAME)
    dimensions = content.number("I", name)
    if not 1 <= dimensions <= _MOST_DIMENSIONS:
        raise content.fault(f"damaged: {name} has {dimensions} dimensions")
    sizes = struct.unpack(f"<{dimensions}Q", content.take(8 * dimensions, name))
    if min(sizes) < 1:
        raise content.fault(f"damaged: {name} has a dimension of size 0")
    return name, sizes[::-1], content.number("I", name), content.number("Q", name)


def _tensor(path: Path, name: str, shape: tuple[int, ...], type_id: int, start: int) -> Tensor:
    from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType

    try:
        kind = GGMLQuantizationType(type_id)
        block, block_bytes = GGML_QUANT_SIZES[kind]
    except (ValueError, KeyError):
        raise UserError(f"{path}: {name} is of type {type_id}, which is not known") from None
    if shape[-1] % block:
        raise UserError(f"{path}: damaged: rows of {name} have {shape[-1]} numbers, and {kind.name} needs a multiple "
                        f"of {block}")  # fmt: skip
    return Tensor(name, shape, kind.name, start, shape[-1] // block * block_bytes)
