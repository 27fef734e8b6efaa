"""What the frozen layers make of each example, computed once and kept: in memory, on disk, or not at all.

Examples are read in fixed groups, those of the first epoch's micro-batches, so that their activations are the same to
the last bit whenever they are computed. Knows nothing of losses.
"""

import errno
import os
import tempfile
import weakref
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Literal

import mlx.core as mx
import numpy as np

from mlx_trace.errors import UserError, why
from mlx_trace.model.layers import Level, PrefixTree, Split, gather, rectangle
from mlx_trace.setting import setting
from mlx_trace.train.examples import Example

Keep = Literal["memory", "disk", "off"]
_BLOCK: Final = 64 << 20  # bytes of an array that many examples share
_RAW: Final = {2: mx.uint16, 4: mx.uint32}  # arrays of a dtype's size that numpy knows, to write and read bits


class ActivationCache:
    """The states (T, D) of all examples below the trained layers, which training does not change: each is read once.

    `shared` are the ids that every example begins with.
    """

    def __init__(
        self, split: Split, rows: Sequence[Example], shared: Sequence[int], keep: Keep, folder: Path,
        group_of: Callable[[int], Sequence[int]],
    ) -> None:  # fmt: skip
        self.split, self.rows, self.shared, self.keep = split, rows, list(shared), keep
        self.group_of = group_of  # an example's group: what is computed together
        self.store: _Memory | _Disk = _Disk(folder) if keep == "disk" else _Memory()
        self.tokens_read = 0  # by the frozen layers

    def own(self, index: int) -> list[int]:
        """Return the ids of an example that are read after the shared ones: all but the last, which is not read."""
        row = self.rows[index]
        return [*row.prompt[len(self.shared) :], *row.target[:-1]]

    def tree(self, chosen: Sequence[int]) -> PrefixTree:
        """Return the shape of some examples, which go on from the shared beginning."""
        lengths = np.array([len(self.rows[index]) - 1 - len(self.shared) for index in chosen])
        own = Level(lengths, np.zeros(len(chosen), dtype=np.int64))
        if not self.shared:
            return PrefixTree([own])
        return PrefixTree([Level(np.array([len(self.shared)]), np.zeros(1, dtype=np.int64)), own])

    def __call__(self, chosen: Sequence[int]) -> tuple[list[mx.array], PrefixTree]:
        """Return each level's states (R, T, D) of some examples, and their tree; UserError if the disk is full."""
        tree = self.tree(chosen)
        if self.keep == "off":
            return self._read(chosen, tree), tree
        for index in chosen:
            if index not in self.store:
                self._fill(self.group_of(index))
        packed = mx.concatenate([self.store[index] for index in chosen])
        lengths = tree.levels[-1].lengths
        starts = np.cumsum(lengths) - lengths
        places = rectangle([range(start, start + length) for start, length in zip(starts, lengths, strict=True)])
        own = gather(packed, places)
        return ([self.store[-1][None], own] if self.shared else [own]), tree

    def _fill(self, group: Sequence[int]) -> None:
        """Read a group, and keep the states of each of its examples; those of the shared beginning are number -1."""
        tree = self.tree(group)
        states = self._read(group, tree)
        lengths = tree.levels[-1].lengths.tolist()
        new = {index: states[-1][row, : lengths[row]] for row, index in enumerate(group) if index not in self.store}
        if self.shared and -1 not in self.store:
            new[-1] = states[0][0]
        self.store.put(new)

    def _read(self, chosen: Sequence[int], tree: PrefixTree) -> list[mx.array]:
        ids = [mx.array(rectangle([self.own(index) for index in chosen]))]
        if self.shared:
            ids.insert(0, mx.array([self.shared]))
        self.tokens_read += int(tree.levels[-1].lengths.sum()) + len(self.shared)
        return self.split.frozen(ids, tree)


class _Memory:
    """Arrays by number, held in few large ones: an allocator and a GPU keep books of every array by itself.

    What is put together is one array, and small ones are joined as soon as they fill a block.
    """

    def __init__(self) -> None:
        self.blocks: list[mx.array] = []
        self.places: dict[int, tuple[int, int, int]] = {}  # block, first row, and the one after the last
        self.open = 0  # the first block that is still to be joined with others

    def __contains__(self, index: int) -> bool:
        return index in self.places

    def __getitem__(self, index: int) -> mx.array:
        block, start, stop = self.places[index]
        return self.blocks[block][start:stop]

    def put(self, arrays: dict[int, mx.array]) -> None:
        if not arrays:
            return
        block = mx.concatenate(list(arrays.values()))
        mx.eval(block)
        start = 0
        for index, array in arrays.items():
            self.places[index] = len(self.blocks), start, start + array.shape[0]
            start += array.shape[0]
        self.blocks.append(block)
        if sum(block.nbytes for block in self.blocks[self.open :]) >= _BLOCK:
            self._join()

    def _join(self) -> None:
        """Make one block of those that are open."""
        starts = {self.open + index: start for index, start in enumerate(_starts(self.blocks[self.open :]))}
        joined = mx.concatenate(self.blocks[self.open :])
        mx.eval(joined)
        for index, (block, start, stop) in self.places.items():
            if block in starts:
                self.places[index] = self.open, starts[block] + start, starts[block] + stop
        self.blocks[self.open :] = [joined]
        self.open += 1


def _starts(blocks: Sequence[mx.array]) -> list[int]:
    lengths = [block.shape[0] for block in blocks]
    return [sum(lengths[:index]) for index in range(len(lengths))]


class _Disk:
    """Arrays by number, in a file without a name: it is gone with the process, however that ends."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.places: dict[int, tuple[int, tuple[int, ...], mx.Dtype]] = {}
        self.end = 0

    @cached_property
    def file(self) -> Any:
        """Return the file, open as long as this process lives."""
        file = tempfile.TemporaryFile(dir=self.folder)  # noqa: SIM115
        weakref.finalize(self, file.close)
        return file

    def __contains__(self, index: int) -> bool:
        return index in self.places

    def __getitem__(self, index: int) -> mx.array:
        start, shape, dtype = self.places[index]
        raw = os.pread(self.file.fileno(), int(np.prod(shape)) * dtype.size, start)
        return mx.array(np.frombuffer(raw, dtype=f"u{dtype.size}").reshape(shape)).view(dtype)

    def put(self, arrays: dict[int, mx.array]) -> None:
        for index, array in arrays.items():
            raw = np.array(mx.contiguous(array).view(_RAW[array.dtype.size])).tobytes()
            try:
                if os.pwrite(self.file.fileno(), raw, self.end) < len(raw):  # the disk filled up on the way
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            except OSError as error:
                again = setting("resume", True)
                raise UserError(f"activation_cache: disk: {why(error)}; free some space and go on with {again}, or "
                                "start with activation_cache: off") from None  # fmt: skip
            self.places[index] = self.end, tuple(array.shape), array.dtype
            self.end += len(raw)


def own_tokens(rows: Sequence[Example], shared: int) -> int:
    """Return of how many tokens states are kept, besides those of the shared beginning."""
    return sum(len(row) - 1 - shared for row in rows)
