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
        self.window = Window(self.lengths, 0)
        self.layers = [LayerCache(self.window) for _ in range(num_layers)]

    def open(self, width: int) -> list["LayerCache"]:
        """Prepare a pass over ids (B, width); return what the network takes as its caches."""
        self.window = Window(self.lengths, width)
        for layer in self.layers:
            layer.window = self.window
        return self.layers

    def advance(self, used: Sequence[int]) -> None:
        """Count what each row used of the pass, (B,)."""
        self.lengths = self.lengths + np.asarray(used)

    def evaluate(self) -> None:
        """Compute what was written; the network's output is not needed for it."""
        mx.eval([(layer.keys, layer.values) for layer in self.layers])

    def fill(self, rows: Sequence[int], source: "RaggedCache", source_rows: Sequence[int]) -> None:
        """Copy rows of another cache over rows of this one."""
        length = int(source.lengths[list(source_rows)].max())
        is_new = list(rows) == list(range(len(self.lengths)))
        places, chosen = mx.array(list(rows)), mx.array(list(source_rows))
        for layer, other in zip(self.layers, source.layers, strict=True) if length else ():
            keys, values = other.keys[chosen, :, :length], other.values[chosen, :, :length]
            if is_new and layer.keys is None:
                layer.keys, layer.values = keys, values
            else:
                layer.put(places, keys, values, len(self.lengths))
        self.lengths[list(rows)] = source.lengths[list(source_rows)]

    def keep(self, rows: Sequence[int]) -> None:
        """Drop all rows but these; one that is named twice becomes two."""
        self.lengths = self.lengths[list(rows)]
        index = mx.array(list(rows))
        for layer in self.layers:
            layer.keys, layer.values = layer.keys[index], layer.values[index]

    def grow(self, count: int) -> None:
        """Add empty rows."""
        self.lengths = np.append(self.lengths, np.zeros(count, dtype=np.int64))
        for layer in self.layers:
            layer.grow(count)


class Window:
    """What one pass of a width writes and sees: offsets (B,) for RoPE, positions (B, 1, T, 1), and masks."""

    def __init__(self, lengths: NDArray[np.int64], width: int) -> None:
        self.offset = mx.array(lengths.astype(np.int32))
        self.positions = (self.offset[:, None] + mx.arange(width))[:, None, :, None]
        is_even = bool((lengths == lengths[:1]).all())
        self.start = int(lengths[0]) if is_even and len(lengths) else None  # where all rows write, if it is one place
        self.reach = int(lengths.max(initial=0)) + width  # positions that the pass looks at
        self._masks: dict[int | None, mx.array] = {}

    def mask(self, size: int | None) -> mx.array:
        """Return which keys the pass's positions see, the same for all layers of a sliding window's size, or none."""
        if size not in self._masks:
            self._masks[size] = self.seen(self.positions, size)
        return self._masks[size]

    def seen(self, positions: mx.array, size: int | None) -> mx.array:
        """Return which keys are seen from positions (B, 1, T, 1): (B, 1, T, reach) booleans."""
        keys = mx.arange(self.reach)
        return keys <= positions if size is None else (keys <= positions) & (keys > positions - size)


class LayerCache:
    """One layer's keys and values, (B, H, room, D), as mlx-lm's attention uses a cache."""

    def __init__(self, window: Window) -> None:
        self.window = window
        self.keys: Any = None
        self.values: Any = None

    @property
    def offset(self) -> mx.array:
        """Return each row's next position, (B,), by which RoPE rotates."""
        return self.window.offset

    def make_mask(self, _: int, return_array: bool = False, window_size: int | None = None) -> mx.array:
        """Return the pass's mask, as mlx-lm's models ask for it."""
        return self.window.mask(window_size)

    def update_and_fetch(self, keys: mx.array, values: mx.array) -> tuple[mx.array, mx.array]:
        """Write keys and values (B, H, T, D) behind each row's last position; return all that the pass may look at."""
        self._make_room(keys, values, self.window.reach)
        self.keys, self.values = self._write(self.keys, keys), self._write(self.values, values)
        return self.keys[:, :, : self.window.reach], self.values[:, :, : self.window.reach]

    def _write(self, held: mx.array, new: mx.array) -> mx.array:
        if (start := self.window.start) is not None:
            held[:, :, start : start + new.shape[2]] = new
            return held
        return mx.put_along_axis(held, mx.broadcast_to(self.window.positions, new.shape), new, axis=2)

    def _make_room(self, keys: mx.array, values: mx.array, reach: int) -> None:
        room = 0 if self.keys is None else self.keys.shape[2]
        if reach <= room:
            return
        more = -(-reach // _STEP) * _STEP - room

        def grow(held: mx.array | None, new: mx.array) -> mx.array:
            empty = mx.zeros((*new.shape[:2], more, new.shape[3]), dtype=new.dtype)
            return empty if held is None else mx.concatenate([held, empty], axis=2)

        self.keys, self.values = grow(self.keys, keys), grow(self.values, values)

    def grow(self, count: int) -> None:
        """Add empty rows."""
        if self.keys is not None:
            self.keys, self.values = (mx.concatenate([held, mx.zeros((count, *held.shape[1:]), dtype=held.dtype)])
                                      for held in (self.keys, self.values))  # fmt: skip

    def put(self, rows: mx.array, keys: mx.array, values: mx.array, batch_size: int) -> None:
        """Write the first positions of some rows of B."""
        if self.keys is None:
            self.keys, self.values = (mx.zeros((batch_size, *new.shape[1:2], 0, new.shape[3]), dtype=new.dtype)
                                      for new in (keys, values))  # fmt: skip
        self._make_room(self.keys, self.values, keys.shape[2])
        self.keys[rows, :, : keys.shape[2]] = keys
        self.values[rows, :, : keys.shape[2]] = values
