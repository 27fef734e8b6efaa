"""One pass of a Llama-shaped network over rows that read different numbers of tokens, without padding.

Takes runs of ids and a ragged cache; returns the last states of the rows that are asked for. Only attention sees a
rectangle; everything else is computed for the tokens there are, and what follows the last layer's keys and values only
where it is asked for. Knows nothing of what tokens mean.
"""

from collections.abc import Sequence
from typing import Any, Final

import mlx.core as mx
import numpy as np
from numpy.typing import NDArray

from mlx_trace.decode.cache import RaggedCache
from mlx_trace.errors import UserError
from mlx_trace.model.config_json import ARCHITECTURES
from mlx_trace.model.head import hidden_states
from mlx_trace.model.hub import one_line
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
    """A network's passes with one version of its weights: adapters are merged into weights that are fp32."""

    def __init__(self, network: Any, activations: CachedActivations | None = None) -> None:
        self.network, self.activations = network, activations
        is_known = getattr(network, "model_type", None) in ARCHITECTURES
        self.layers = [Layer(layer, network, merged=True) for layer in network.layers] if is_known else []

    def __call__(self, runs: Sequence[Sequence[int]], cache: RaggedCache, rows: Sequence[int]) -> mx.array:
        """Read runs of ids, one a row (some may be empty); return the states (S, D) after the last ids of some rows."""
        packing = _Packing(runs, cache.lengths, rows)
        cache.open(packing.width)
        if not self.layers:
            hidden = hidden_states(self.network, packing.rectangle(), cache.layers)
            states = hidden[packing.rows, packing.used[packing.rows] - 1]
        else:
            states = self.network.model.embed_tokens(packing.ids)
            for index, layer in enumerate(self.layers):
                if self.activations is not None and self.activations.layer == index:
                    self.activations.add(states, runs)
                states = _run(layer, states, packing, cache, index)
            states = self.network.model.norm(states) if rows else states
        cache.advance([len(run) for run in runs])
        return states


class _Packing:
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

    def rectangle(self) -> mx.array:
        """Return the ids as (B, T), filled up with whatever."""
        return self.ids[self.packed].reshape(self.batch_size, self.width)

    def spread(self, heads: mx.array) -> mx.array:
        """Turn (N, H, d) into (B, H, T, d)."""
        spread = heads if self.is_full else heads[self.packed]
        return spread.reshape(self.batch_size, self.width, *heads.shape[1:]).transpose(0, 2, 1, 3)

    def pack(self, spread: mx.array) -> mx.array:
        """Turn (B, H, T, d) into (N, H·d)."""
        packed = spread.transpose(0, 2, 1, 3).reshape(self.batch_size * self.width, -1)
        return packed if self.is_full else packed[self.places]


def _run(layer: Layer, states: mx.array, packing: _Packing, cache: RaggedCache, index: int) -> mx.array:
    """Return the states (N, D) after a layer; after the last one, (S, D) of the rows that are asked for."""
    own, is_last = cache.layers[index], index + 1 == len(cache.layers)
    normed = layer.normed(states)
    keys = layer.rotated(packing.spread(layer.keys(normed)), own.offset)
    keys, values = own.update_and_fetch(keys, packing.spread(layer.values(normed)))
    if not is_last:
        queries = layer.rotated(packing.spread(layer.queries(normed)), own.offset)
        seen = layer.attend(queries, keys, values, own.window.mask(layer.window))
        return layer.after(states, packing.pack(seen))
    if not packing.rows.size:
        return states
    queries = layer.queries(normed[packing.ends])[:, :, None]  # (B, H, 1, d)
    mask = own.window.seen(packing.last[:, None, None, None], layer.window)
    seen = layer.attend(layer.rotated(queries, packing.last), keys, values, mask)
    return layer.after(states[packing.ends[packing.rows]], seen.reshape(packing.batch_size, -1)[packing.rows])


def check_rows(network: Any, name: str) -> None:
    """Refuse a network of another architecture that does not read rows of different lengths as it reads one alone."""
    rows = [[3, 4, 5, 6, 7], [7, 6, 5]]
    try:
        forward, cache = Forward(network), RaggedCache(len(network.layers), len(rows))
        forward([row[:-1] for row in rows], cache, [])
        states = forward([row[-1:] for row in rows], cache, range(len(rows))).astype(mx.float32)
        alone = mx.stack([hidden_states(network, mx.array([row]))[0, -1] for row in rows]).astype(mx.float32)
        apart = (mx.abs(states - alone).max() / mx.maximum(mx.abs(alone).max(), 1e-6)).item()
    except Exception as error:  # a network of another kind, and maybe code that came with it
        raise UserError(
            f"{name}: not a Llama-shaped model, and it cannot be decoded as one: {one_line(error)}"
        ) from error
    if not apart < _CLOSE:
        raise UserError(f"{name}: not a Llama-shaped model: rows of different lengths disturb one another in it, by "
                        f"{apart:.0%}")  # fmt: skip
