"""Keys and values of rows of different lengths, addressed by row and position, so that rows advance at their own pace.

Stands in for mlx-lm's caches: each layer is given its own, which takes new keys, rotates by every row's own offset, and
masks what a row does not have yet. Knows nothing of tokens or of why rows differ.
"""

from collections.abc import Sequence
from typing import Any, Final

import mlx.core as mx
import numpy as np
from numpy.typing import NDArray

_STEP: Final = 64  # the room for positions grows by these


class RaggedCache:
    """The cache of B rows. `lengths` (B,) says how many positions of each row are filled.

    A pass of width T writes T positions behind every row's last one; those that a row did not need count for nothing,
    since its length grows only by what it is told to, and are written again.
    """

    def __init__(self, num_layers: int, batch_size: int) -> None:
        self.lengths: NDArray[np.int64] = np.zeros(batch_size, dtype=np.int64)
        self.layers = [_Layer(self) for _ in range(num_layers)]
        self.offset = mx.zeros(batch_size, dtype=mx.int32)  # (B,), for RoPE
        self.positions = mx.zeros((batch_size, 1, 1, 1), dtype=mx.int32)  # (B, 1, T, 1), where the pass writes
        self.is_even = True  # all rows are of one length
        self.reach = 0  # positions that the pass looks at
        self._masks: dict[int | None, mx.array] = {}

    def open(self, width: int) -> list["_Layer"]:
        """Prepare a pass over ids (B, width); return what the network takes as its caches."""
        self.offset = mx.array(self.lengths.astype(np.int32))
        self.positions = (self.offset[:, None] + mx.arange(width))[:, None, :, None]
        self.is_even = bool((self.lengths == self.lengths[0]).all())
        self.reach = int(self.lengths.max()) + width
        self._masks = {}
        return self.layers

    def advance(self, used: Sequence[int]) -> None:
        """Count what each row used of the pass, (B,)."""
        self.lengths = self.lengths + np.asarray(used)

    def evaluate(self) -> None:
        """Compute what was written; the network's output is not needed for it."""
        mx.eval([(layer.keys, layer.values) for layer in self.layers])

    def mask(self, window: int | None, positions: mx.array | None = None) -> mx.array:
        """Return which keys are seen from positions (B, 1, T, 1), by default the pass's: (B, 1, T, reach) booleans."""
        if positions is None and window in self._masks:
            return self._masks[window]
        at, keys = self.positions if positions is None else positions, mx.arange(self.reach)
        seen = keys <= at
        seen = seen if window is None else seen & (keys > at - window)
        if positions is None:
            self._masks[window] = seen
        return seen

    def fill(self, rows: Sequence[int], source: "RaggedCache", source_rows: Sequence[int]) -> None:
        """Copy rows of another cache over rows of this one."""
        length = int(source.lengths[list(source_rows)].max())
        for layer, other in zip(self.layers, source.layers, strict=True) if length else ():
            layer.fill(mx.array(list(rows)), other, mx.array(list(source_rows)), length)
        self.lengths[list(rows)] = source.lengths[list(source_rows)]

    def keep(self, rows: Sequence[int]) -> None:
        """Drop all rows but these."""
        self.lengths = self.lengths[list(rows)]
        index, reach = mx.array(rows), int(self.lengths.max())
        for layer in self.layers:
            layer.keep(index, reach)


class _Layer:
    """One layer's keys and values, (B, H, room, D), as mlx-lm's attention uses a cache."""

    def __init__(self, cache: RaggedCache) -> None:
        self.cache = cache
        self.keys: Any = None
        self.values: Any = None

    @property
    def offset(self) -> mx.array:
        return self.cache.offset

    def make_mask(self, _: int, return_array: bool = False, window_size: int | None = None) -> mx.array:
        return self.cache.mask(window_size)

    def update_and_fetch(self, keys: mx.array, values: mx.array) -> tuple[mx.array, mx.array]:
        """Write keys and values (B, H, T, D) behind each row's last position; return all that the pass may look at."""
        self._make_room(keys, values, self.cache.reach)
        self.keys, self.values = self._put(self.keys, keys), self._put(self.values, values)
        return self.keys[:, :, : self.cache.reach], self.values[:, :, : self.cache.reach]

    def _put(self, held: mx.array, new: mx.array) -> mx.array:
        if self.cache.is_even:
            start = int(self.cache.lengths[0])
            held[:, :, start : start + new.shape[2]] = new
            return held
        return mx.put_along_axis(held, mx.broadcast_to(self.cache.positions, new.shape), new, axis=2)

    def _make_room(self, keys: mx.array, values: mx.array, reach: int) -> None:
        room = 0 if self.keys is None else self.keys.shape[2]
        if reach <= room:
            return
        more = -(-reach // _STEP) * _STEP - room

        def grow(held: mx.array | None, new: mx.array) -> mx.array:
            empty = mx.zeros((*new.shape[:2], more, new.shape[3]), dtype=new.dtype)
            return empty if held is None else mx.concatenate([held, empty], axis=2)

        self.keys, self.values = grow(self.keys, keys), grow(self.values, values)

    def fill(self, rows: mx.array, other: "_Layer", other_rows: mx.array, length: int) -> None:
        keys, values = other.keys[other_rows, :, :length], other.values[other_rows, :, :length]
        if self.keys is None:
            batch_size = len(self.cache.lengths)
            self.keys = mx.zeros((batch_size, keys.shape[1], 0, keys.shape[3]), dtype=keys.dtype)
            self.values = mx.zeros((batch_size, values.shape[1], 0, values.shape[3]), dtype=values.dtype)
        self._make_room(self.keys, self.values, length)
        self.keys[rows, :, :length] = keys
        self.values[rows, :, :length] = values

    def keep(self, rows: mx.array, reach: int) -> None:
        self.keys, self.values = self.keys[rows, :, :reach], self.values[rows, :, :reach]
