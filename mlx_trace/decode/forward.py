"""One pass of a Llama-shaped network over rows that read different numbers of tokens, without padding.

Takes runs of ids and a ragged cache; returns the last states of the rows that are asked for. Only attention sees a
rectangle; everything else is computed for the tokens there are, and what follows the last layer's keys and values only
where it is asked for. Knows nothing of what tokens mean.
"""

from collections.abc import Sequence
from typing import Any, Final

import mlx.core as mx
import mlx.nn as nn
import numpy as np
from numpy.typing import NDArray

from mlx_trace.decode.cache import RaggedCache, Window
from mlx_trace.errors import UserError, one_line
from mlx_trace.model.bursts import Burst, burst_ends
from mlx_trace.model.config_json import ARCHITECTURES
from mlx_trace.model.elementwise import softmax
from mlx_trace.model.head import hidden_states, relative_difference
from mlx_trace.model.layer import Layer

_CLOSE: Final = 0.05  # largest difference of states, to the largest state


class CachedActivations:
    """The states (N, D) that go into one layer, of every token read since; what is below it need not run again."""

    def __init__(self, layer: int) -> None:
        self.layer, self.count = layer, 0
        self.arrays: list[mx.array] = []
        self.indexes: list[range] = []  # of each row's tokens in the last pass

    def add(self, states: mx.array, runs: Sequence[Sequence[int]]) -> None:
        """Keep a pass's states, packed as its runs are."""
        ends = self.count + np.cumsum([len(run) for run in runs])
        self.indexes = [range(end - len(run), end) for end, run in zip(ends.tolist(), runs, strict=True)]
        self.arrays.append(states)
        self.count = int(ends[-1])

    def states(self) -> mx.array:
        """Return all that was kept, (N, D)."""
        return mx.concatenate(self.arrays) if self.arrays else mx.zeros((0, 0))


class Forward:
    """A network's passes with one version of its weights: adapters are merged into weights that are fp32.

    A `burst` says after how many tokens, one layer each, what there is by then is evaluated.
    """

    def __init__(self, network: Any, activations: CachedActivations | None = None, burst: Burst = None) -> None:
        self.network, self.activations, self.burst = network, activations, burst
        is_known = getattr(network, "model_type", None) in ARCHITECTURES
        self.layers = [Layer(layer, network, merged=True) for layer in network.layers] if is_known else []

    def __call__(self, runs: Sequence[Sequence[int]], cache: RaggedCache, rows: Sequence[int]) -> mx.array:
        """Read runs of ids, one a row (some may be empty); return the states (S, D) after the last ids of some rows."""
        packing = Packing(runs, cache.lengths, rows)
        cache.open(packing.width)
        if not self.layers:
            hidden = hidden_states(self.network, packing.rectangle(), cache.layers)
            states = hidden[packing.rows, packing.used[packing.rows] - 1]
        else:
            states = self.network.model.embed_tokens(packing.ids)
            ends = burst_ends(self.burst, packing.ids.size)
            for index, layer in enumerate(self.layers):
                if index in ends:
                    mx.eval(states)
                if self.activations is not None and self.activations.layer == index:
                    self.activations.add(states, runs)
                states = _run(layer, states, packing, cache, index)
            states = self.network.model.norm(states) if rows else states
        cache.advance([len(run) for run in runs])
        return states


class Rotation:
    """By how much the tokens of a pass are rotated, at positions (N,).

    On a CPU, sines and cosines are computed once for all layers, where MLX computes them in each, with the same result;
    elsewhere its kernel is faster.
    """

    def __init__(self, positions: mx.array, is_cpu: bool) -> None:
        self.positions, self.is_cpu = positions, is_cpu
        self._turns: dict[tuple[Any, ...], tuple[mx.array, mx.array]] = {}

    def turn(self, rope: Any, size: int, dtype: mx.Dtype) -> tuple[mx.array, mx.array] | None:
        """Return what heads of a size are multiplied with, and what their swapped halves, (N, 1, d); None: ask RoPE."""
        if not self.is_cpu or type(rope) is not nn.RoPE or rope.traditional or rope.dims != size:
            return None
        key = (rope.base, rope.scale, size, dtype)
        if key not in self._turns:
            unit = mx.array(np.arange(size) < size // 2).astype(dtype)
            units = mx.broadcast_to(unit, (self.positions.size, 1, 1, size))
            cosine, sine = mx.split(rope(units, offset=self.positions)[:, :, 0], 2, axis=-1)
            self._turns[key] = mx.concatenate([cosine, cosine], axis=-1), mx.concatenate([-sine, sine], axis=-1)
        return self._turns[key]


def _is_cpu() -> bool:
    return bool(mx.default_device().type == mx.DeviceType.cpu)


def _turned(heads: mx.array, along: mx.array, across: mx.array) -> mx.array:
    """Rotate (N, H, d) by (N, 1, d) each: the halves of a head are the two coordinates."""
    first, second = mx.split(heads, 2, axis=-1)
    return heads * along + mx.concatenate([second, first], axis=-1) * across


class Packing:
    """Where the N tokens of a pass stand: packed, and in a rectangle (B, T) for attention."""

    def __init__(self, runs: Sequence[Sequence[int]], lengths: NDArray[np.int64], rows: Sequence[int]) -> None:
        used = np.array([len(run) for run in runs])
        self.batch_size, self.width = len(runs), int(used.max())
        starts = np.cumsum(used) - used
        columns = np.arange(self.width)
        inside = columns < used[:, None]
        self.ids = mx.array([token for run in runs for token in run])  # (N,)
        self.used = mx.array(used.astype(np.int32))
        self.is_full = bool(inside.all())
        self.packed = mx.array(np.where(inside, starts[:, None] + columns, 0).reshape(-1).astype(np.int32))  # (B·T,)
        self.places = mx.array(np.flatnonzero(inside).astype(np.int32))  # (N,) in the rectangle
        self.rows = mx.array(list(rows), dtype=mx.int32)  # (S,) whose last states are asked for
        ends = starts + used - 1
        self.ends = mx.array(np.maximum(ends, 0).astype(np.int32))  # (B,) each row's last token, packed
        self.last = mx.array((lengths + used - 1).astype(np.int32))  # (B,) its position
        owners = np.repeat(np.arange(len(runs)), used)
        ahead = np.arange(len(owners)) - starts[owners]
        self.owners, self.columns = mx.array(owners.astype(np.int32)), mx.array(ahead.astype(np.int32))  # (N,)
        self.positions = mx.array((lengths[owners] + ahead).astype(np.int32))  # (N,)
        self.is_cpu = _is_cpu()
        self.rotation = Rotation(self.positions, self.is_cpu)

    def rectangle(self) -> mx.array:
        """Return the ids as (B, T), filled up with whatever."""
        return self.ids[self.packed].reshape(self.batch_size, self.width)

    def spread(self, heads: mx.array) -> mx.array:
        """Turn (N, H, d) into (B, H, T, d)."""
        spread = heads if self.is_full else heads[self.packed]
        return spread.reshape(self.batch_size, self.width, *heads.shape[1:]).transpose(0, 2, 1, 3)

    def rotated(self, layer: Layer, heads: mx.array, offset: mx.array) -> mx.array:
        """Turn (N, H, d) into (B, H, T, d), rotated by their positions, which begin at each row's offset (B,)."""
        turn = self.rotation.turn(layer.attention.rope, heads.shape[-1], heads.dtype)
        return layer.rotated(self.spread(heads), offset) if turn is None else self.spread(_turned(heads, *turn))

    def rotated_last(self, layer: Layer, heads: mx.array) -> mx.array:
        """Turn (B, H, d) of each row's last token into (B, H, 1, d), rotated by its position."""
        turn = self.rotation.turn(layer.attention.rope, heads.shape[-1], heads.dtype)
        if turn is None:
            return layer.rotated(heads[:, :, None], self.last)
        return _turned(heads, *(part[self.ends] for part in turn))[:, :, None]

    def attend(self, layer: Layer, queries: mx.array, keys: mx.array, values: mx.array, window: Window) -> mx.array:
        """Return what queries (B, H, T, d) see of keys and values (B, K, S, d), as `Layer.attend` does.

        On a CPU exponentials are half of attention, and are computed of the tokens there are, with the same result.
        """
        if self.is_full or not self.is_cpu:
            return layer.attend(queries, keys, values, window.mask(layer.window))
        shape, num_keys = queries.shape, keys.shape[2]
        queries = (layer.attention.scale * queries).reshape(*keys.shape[:2], -1, *shape[2:])  # (B, K, H/K, T, d)
        scores = (queries @ keys[:, :, None].swapaxes(-1, -2)).reshape(*shape[:3], num_keys)
        scores = scores[self.owners, :, self.columns]  # (N, H, S)
        scores = mx.where(window.seen(self.positions[:, None, None], layer.window), scores, -mx.inf)
        shares = self.spread(softmax(scores)).reshape(*queries.shape[:-1], num_keys)
        return (shares @ values[:, :, None]).reshape(shape)

    def pack(self, spread: mx.array) -> mx.array:
        """Turn (B, H, T, d) into (N, H·d)."""
        packed = spread.transpose(0, 2, 1, 3).reshape(self.batch_size * self.width, -1)
        return packed if self.is_full else packed[self.places]


def _run(layer: Layer, states: mx.array, packing: Packing, cache: RaggedCache, index: int) -> mx.array:
    """Return the states (N, D) after a layer; after the last one, (S, D) of the rows that are asked for."""
    own, is_last = cache.layers[index], index + 1 == len(cache.layers)
    normed = layer.normed(states)
    keys = packing.rotated(layer, layer.keys(normed), own.offset)
    keys, values = own.update_and_fetch(keys, packing.spread(layer.values(normed)))
    if not is_last:
        queries = packing.rotated(layer, layer.queries(normed), own.offset)
        return layer.after(states, packing.pack(packing.attend(layer, queries, keys, values, own.window)))
    if not packing.rows.size:
        return states
    queries = packing.rotated_last(layer, layer.queries(normed[packing.ends]))  # (B, H, 1, d)
    mask = own.window.seen(packing.last[:, None, None, None], layer.window)
    seen = layer.attend(queries, keys, values, mask)
    return layer.after(states[packing.ends[packing.rows]], seen.reshape(packing.batch_size, -1)[packing.rows])


def check_rows(network: Any, name: str) -> None:
    """Refuse a network of another architecture that does not read rows of different lengths as it reads one alone."""
    rows = [[3, 4, 5, 6, 7], [7, 6, 5]]
    try:
        forward, cache = Forward(network), RaggedCache(len(network.layers), len(rows))
        forward([row[:-1] for row in rows], cache, [])
        states = forward([row[-1:] for row in rows], cache, range(len(rows)))
        alone = mx.stack([hidden_states(network, mx.array([row]))[0, -1] for row in rows])
        difference = relative_difference(states, alone)
    except Exception as error:  # a network of another kind, and maybe code that came with it
        raise UserError(
            f"{name}: not a Llama-shaped model, and it cannot be decoded as one: {one_line(error)}"
        ) from error
    if not difference < _CLOSE:
        raise UserError(f"{name}: not a Llama-shaped model: rows of different lengths disturb one another in it, by "
                        f"{difference:.0%}")  # fmt: skip
