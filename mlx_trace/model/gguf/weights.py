"""A GGUF file's tensors, one after the other in little memory, into safetensors that mlx-lm loads.

Takes a Header and the network's dimensions. What is written holds the file's values exactly: half precision where all
of them are of it, float32 else.
"""

import json
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from io import BufferedReader
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mlx_trace.errors import UserError
from mlx_trace.files import sync
from mlx_trace.model.gguf import names
from mlx_trace.model.gguf.architecture import Sizes
from mlx_trace.model.gguf.header import Header, Tensor
from mlx_trace.model.gguf.values import chunks, is_readable, rows_of, values_of

_SHARD: Final = 4 << 30  # bytes of a file
_DTYPES: Final = {"F32": ("float32", 4), "F16": ("float16", 2), "BF16": ("bfloat16", 2)}
_MAY_BE_BIASED: Final = {"qwen2": ("attn_q", "attn_k", "attn_v"), "qwen3": ()}  # the others: anything, in two groups
_ALIKE: Final = 1.6  # a rounding's usual error is this times 2^-bits of the values' size; measured on real files

Progress = Callable[[int], None]  # is told how many numbers were written


@dataclass(frozen=True, slots=True)
class Layout:
    """Which tensors are written, from which, with what shapes, in which type."""

    sources: Mapping[str, Tensor | None]  # mlx-lm's name: the tensor; None is zeros
    shapes: Mapping[str, tuple[int, ...]]
    permuted: Mapping[str, int]  # mlx-lm's name: heads whose rows are reordered
    kind: str
    config: dict[str, Any] = field(default_factory=dict)

    @property
    def num_bytes(self) -> int:
        """Return the size of all of it."""
        return self.num_numbers * _DTYPES[self.kind][1]

    @property
    def num_numbers(self) -> int:
        """Return how many numbers there are."""
        return sum(_size(shape) for shape in self.shapes.values())


def _size(shape: Sequence[int]) -> int:
    return int(np.prod(shape, dtype=np.int64))


# --- what there is to write ------------------------------------------------------------------------------------


def plan(header: Header, architecture: str, sizes: Sizes) -> Layout:
    """Return what a folder will hold, as if head and embeddings were two; UserError if tensors do not fit that."""
    embedding = header.tensors.get(names.EMBEDDING)
    if embedding is None:
        raise UserError(f"{header.path}: there is no tensor {names.EMBEDDING}")
    biased, rows = _biased(header, architecture), embedding.shape[0]
    wanted = {names.EMBEDDING: (rows, sizes.hidden), names.NORM: (sizes.hidden,)}
    wanted |= names.shapes(sizes, architecture, biased)
    is_tied = names.HEAD not in header.tensors
    if not is_tied:
        wanted[names.HEAD] = (rows, sizes.hidden)
    _check_tensors(header, wanted)
    sources = {name: header.tensors.get(name) for name in wanted}
    return Layout(
        {names.network_name(name): tensor for name, tensor in sources.items()},
        {names.network_name(name): shape for name, shape in wanted.items()},
        {names.network_name(name): heads for name in wanted
         if (heads := names.permuted_heads(name, architecture, sizes))},
        _common_kind(header, [tensor for tensor in sources.values() if tensor]),
        {"vocab_size": rows, "tie_word_embeddings": is_tied, **_bias_keys(architecture, biased)},
    )  # fmt: skip


def with_one_head(header: Header, layout: Layout) -> Layout:
    """Return a layout whose head is its embeddings, if the file holds the same matrix twice: the finer copy of it."""
    head, embedding = (names.network_name(name) for name in (names.HEAD, names.EMBEDDING))
    first, second = layout.sources.get(head), layout.sources[embedding]
    if first is None or second is None or not _are_same(header, first, second):
        return layout
    sources = {name: tensor for name, tensor in layout.sources.items() if name != head}
    sources[embedding] = min(first, second, key=_rounding)
    shapes = {name: shape for name, shape in layout.shapes.items() if name != head}
    kind = _common_kind(header, [tensor for tensor in sources.values() if tensor])
    return replace(layout, sources=sources, shapes=shapes, kind=kind,
                   config=layout.config | {"tie_word_embeddings": True})  # fmt: skip


def _biased(header: Header, architecture: str) -> list[str]:
    """Return which parts have biases; mlx-lm has them for all of attention, for all of the MLP, or not at all."""
    biased = {name.split(".")[2] for name in header.tensors if name.startswith("blk.") and name.endswith(".bias")}
    if architecture == "qwen2":
        return list(_MAY_BE_BIASED[architecture])
    if architecture in _MAY_BE_BIASED:
        return []
    groups = (names.ATTENTION, names.FEED_FORWARD)
    return [part for group in groups if biased & set(group) for part in group]


def _bias_keys(architecture: str, biased: Sequence[str]) -> dict[str, bool]:
    if architecture in _MAY_BE_BIASED:
        return {}
    return {"attention_bias": "attn_q" in biased, "mlp_bias": "ffn_up" in biased}


def _check_tensors(header: Header, wanted: Mapping[str, tuple[int, ...]]) -> None:
    faults = [f"there is no tensor {name}" for name in wanted
              if name not in header.tensors and not name.endswith(".bias")]  # fmt: skip
    for name, tensor in header.tensors.items():
        if name in wanted and tensor.shape != wanted[name]:
            faults.append(f"{name} has the shape {tensor.shape}, and the metadata asks for {wanted[name]}")
        elif name not in wanted and name != names.FREQUENCIES and not name.endswith(names.IGNORED):
            faults.append(f"the tensor {name} has no place in a model of this architecture")
        elif not is_readable(tensor.kind):
            faults.append(f"{name} is of type {tensor.kind}, which holds no weights that can be read")
    if faults:
        more = f" (and {len(faults) - 1:,} such faults more)" if len(faults) > 1 else ""
        raise UserError(f"{header.path}: {faults[0]}{more}")


def _common_kind(header: Header, tensors: Sequence[Tensor]) -> str:
    """Return the half-precision type that holds every value exactly, else F32."""
    kinds = {tensor.kind for tensor in tensors if len(tensor.shape) > 1}
    if kinds not in ({"F16"}, {"BF16"}):
        return "F32"
    (kind,) = kinds
    vectors = [tensor for tensor in tensors if len(tensor.shape) == 1]
    with header.path.open("rb") as file:
        exact = all(tensor.kind == kind or _survives(values_of(rows_of(file, tensor), tensor.kind), kind)
                    for tensor in vectors)  # fmt: skip
    return kind if exact else "F32"


def _survives(values: NDArray[np.float32], kind: str) -> bool:
    if kind == "F16":
        with np.errstate(over="ignore"):
            return bool(np.array_equal(values.astype(np.float16).astype(np.float32), values))
    return not np.any(values.view(np.uint32) & 0xFFFF)


# --- one matrix or two -----------------------------------------------------------------------------------------


def _are_same(header: Header, head: Tensor, embedding: Tensor) -> bool:
    """Tell whether two matrices are one, rounded differently: row by row, they differ no more than rounding does."""
    allowed = _rounding(head) + _rounding(embedding)
    with header.path.open("rb") as file:
        for first, count in chunks(head, heads=0):
            left, right = (values_of(rows_of(file, tensor, first, count), tensor.kind) for tensor in (head, embedding))
            if not _alike(left, right, allowed):
                return False
    return True


def _rounding(tensor: Tensor) -> float:
    """Return the error that a type's rounding makes, relative to the size of what is rounded."""
    mantissa = {"F32": 24, "F16": 11, "BF16": 8}
    return _ALIKE * 2.0 ** -mantissa.get(tensor.kind, int(8 * tensor.row_bytes / tensor.shape[-1]))


def _alike(left: NDArray[np.float32], right: NDArray[np.float32], allowed: float) -> bool:
    """Tell whether every row differs by no more than rounding does; a row far below the usual size is not judged."""
    with np.errstate(all="ignore"):  # of what is no number nothing is like anything
        sizes = np.sqrt(np.mean(np.square(right), axis=1))
        errors = np.sqrt(np.mean(np.square(left - right), axis=1))
        usual = float(np.sqrt(np.mean(np.square(sizes))))
    return bool(np.all(errors <= 2 * allowed * np.maximum(sizes, 0.1 * usual)))


# --- writing ---------------------------------------------------------------------------------------------------


def write_weights(header: Header, layout: Layout, folder: Path, progress: Progress) -> None:
    """Write model*.safetensors into a folder, and the index if there are several."""
    shards = _shards(layout)
    files = ["model.safetensors"] if len(shards) == 1 else [
        f"model-{index:05d}-of-{len(shards):05d}.safetensors" for index in range(1, len(shards) + 1)]  # fmt: skip
    with header.path.open("rb") as source:
        for file, shard in zip(files, shards, strict=True):
            _write_shard(source, layout, shard, folder / file, progress)
    if len(shards) > 1:
        where = {name: file for file, shard in zip(files, shards, strict=True) for name in shard}
        index = {"metadata": {"total_size": layout.num_bytes}, "weight_map": where}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n")


def _shards(layout: Layout) -> list[list[str]]:
    shards: list[list[str]] = [[]]
    filled = 0
    for name, shape in layout.shapes.items():
        size = _size(shape) * _DTYPES[layout.kind][1]
        if shards[-1] and filled + size > _SHARD:
            shards.append([])
            filled = 0
        shards[-1].append(name)
        filled += size
    return shards


def _write_shard(source: BufferedReader, layout: Layout, shard: Sequence[str], path: Path, progress: Progress) -> None:
    """Write one safetensors file piece by piece; the library's own writers want it whole in memory."""
    width, offset = _DTYPES[layout.kind][1], 0
    entries: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    for name in shard:
        end = offset + _size(layout.shapes[name]) * width
        entries[name] = {"dtype": layout.kind, "shape": list(layout.shapes[name]), "data_offsets": [offset, end]}
        offset = end
    content = json.dumps(entries).encode()
    content += b" " * (-len(content) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(content)) + content)
        for name in shard:
            for piece in _pieces(source, layout, name):
                file.write(_encoded(piece, layout.kind).data)
                progress(piece.size)
    sync(path)


def _pieces(source: BufferedReader, layout: Layout, name: str) -> Iterator[NDArray[np.float32]]:
    tensor, heads = layout.sources[name], layout.permuted.get(name, 0)
    if tensor is None:
        yield np.zeros(layout.shapes[name], dtype=np.float32)
        return
    for first, count in chunks(tensor, heads):
        values = values_of(rows_of(source, tensor, first, count), tensor.kind)
        if not np.isfinite(values).all():
            raise UserError(f"damaged: {tensor.name} holds numbers that are not finite")
        if heads:
            values = names.to_halves(values.reshape(layout.shapes[name]), heads)
        yield values


def _encoded(values: NDArray[np.float32], kind: str) -> NDArray[Any]:
    if kind == "F16":
        return values.astype(np.float16)
    if kind == "BF16":
        return (np.ascontiguousarray(values).view(np.uint32) >> 16).astype(np.uint16)
    return np.ascontiguousarray(values)
