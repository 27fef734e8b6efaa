"""The numbers of a GGUF file's tensors: bytes as they lie in the file, and what the gguf package makes of them.

Takes a Tensor of the header. Knows nothing of what a tensor is for.
"""

from collections.abc import Iterator
from functools import lru_cache
from io import BufferedReader
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mlx_trace.errors import UserError
from mlx_trace.model.gguf.header import Header, Tensor

_CHUNK: Final = 1 << 20  # numbers dequantised at once


@lru_cache
def is_readable(kind: str) -> bool:
    """Tell whether the gguf package turns a type into numbers."""
    from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType
    from gguf.quants import dequantize

    try:
        dequantize(np.zeros((1, GGML_QUANT_SIZES[GGMLQuantizationType[kind]][1]), np.uint8), GGMLQuantizationType[kind])
    except NotImplementedError:
        return False
    return True


def rows_of(file: BufferedReader, tensor: Tensor, first: int = 0, count: int | None = None) -> NDArray[np.uint8]:
    """Return a tensor's rows as they lie in the file, in bytes (R, B)."""
    count = tensor.rows - first if count is None else count
    content = np.empty((count, tensor.row_bytes), dtype=np.uint8)
    file.seek(tensor.start + first * tensor.row_bytes)
    if file.readinto(content.data.cast("B")) != content.nbytes:
        raise UserError(f"{tensor.name} was cut short while it was read")
    return content


def values_of(rows: NDArray[np.uint8], kind: str) -> NDArray[np.float32]:
    """Return rows (R, B) of bytes as numbers (R, N), which damage makes infinite: they are refused when written."""
    from gguf.constants import GGMLQuantizationType
    from gguf.quants import dequantize

    # as one long row: the package goes through a few rows at a time
    with np.errstate(all="ignore"):
        flat = dequantize(np.ascontiguousarray(rows).reshape(1, -1), GGMLQuantizationType[kind])
    return flat.astype(np.float32, copy=False).reshape(len(rows), -1)


def read_vector(header: Header, name: str) -> list[float] | None:
    """Return a small tensor's numbers, or None if there is no such tensor."""
    tensor = header.tensors.get(name)
    if tensor is None or tensor.size > _CHUNK or not is_readable(tensor.kind):
        return None
    with header.path.open("rb") as file:
        return [float(value) for value in values_of(rows_of(file, tensor), tensor.kind).ravel()]


def chunks(tensor: Tensor, heads: int) -> Iterator[tuple[int, int]]:
    """Yield (first row, rows) of parts that are read at once; a permuted tensor is one part."""
    step = tensor.rows if heads else max(1, _CHUNK // tensor.shape[-1])
    for first in range(0, tensor.rows, step):
        yield first, min(step, tensor.rows - first)
