"""The network in two: frozen lower layers, run once a token, and trained layers above them, run as often as needed.

Takes sequences that share prefixes, as a `PrefixTree`: what they share is computed once, in both halves and in the
backward pass. Gives the gradients that the whole network gives. Knows nothing of what tokens mean, or of losses.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import mlx.core as mx
import numpy as np
from numpy.typing import NDArray

from mlx_trace.errors import UserError
from mlx_trace.model.bursts import Burst, burst_ends
from mlx_trace.model.head import hidden_states, is_exact, relative_difference
from mlx_trace.model.layer import Layer

_PARTS: Final = {
    "self_attn": ("q_proj", "k_proj", "v_proj", "o_proj", "rope", "n_heads", "n_kv_heads", "scale"),
    "mlp": ("gate_proj", "up_proj", "down_proj"),
    "input_layernorm": (),
    "post_attention_layernorm": (),
}
_PROBED: Final = 12  # tokens on which both ways are compared
_CLOSE: Final = 1e-3, 0.05  # largest difference of states, to the largest state: of exact ones, and of others

Indexes = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Level:
    """Rows of a tree that go on from rows of the level above: the length of each (R,), and its parent (R,)."""

    lengths: Indexes
    parents: Indexes

    @property
    def width(self) -> int:
        """Return T, the longest row's length."""
        return int(self.lengths.max(initial=0))


class PrefixTree:
    """Sequences with shared beginnings: each row of the last level is one, after its ancestors.

    A level's tokens are an array (R, T, …) of its rows side by side, short ones filled up with whatever.
    """

    def __init__(self, levels: Sequence[Level]) -> None:
        self.levels = list(levels)
        starts: list[Indexes] = []
        self.ancestors: list[list[Indexes]] = []  # of each level's rows, one array (R,) a level above
        for index, level in enumerate(self.levels):
            above = self.ancestors[-1] if index else []
            own = [rows[level.parents] for rows in above] + ([level.parents] if index else [])
            self.ancestors.append(own)
            before = starts[-1][level.parents] + self.levels[index - 1].lengths[level.parents] if index else None
            starts.append(np.zeros(len(level.lengths), dtype=np.int64) if before is None else before)
        self.starts = [mx.array(start.astype(np.int32)) for start in starts]  # each row's first position
        self._masks: dict[tuple[int, int | None], mx.array] = {}

    def mask(self, index: int, window: int | None) -> mx.array:
        """Return which keys the tokens of a level see, its ancestors' before its own: (R, 1, T, keys) booleans."""
        if (index, window) not in self._masks:
            queries = (self.starts[index][:, None] + mx.arange(self.levels[index].width))[:, None, :, None]
            seen = []
            for above, rows in enumerate(self.ancestors[index]):
                level, chosen = self.levels[above], mx.array(rows)
                places = mx.arange(level.width)
                keys = (self.starts[above][chosen][:, None] + places)[:, None, None, :]
                is_there = places < mx.array(level.lengths)[chosen][:, None]
                seen.append(self._see(keys, queries, window) & is_there[:, None, None, :])
            seen.append(self._see(queries.transpose(0, 1, 3, 2), queries, window))
            self._masks[index, window] = mx.concatenate(seen, axis=-1)
        return self._masks[index, window]

    @staticmethod
    def _see(keys: mx.array, queries: mx.array, window: int | None) -> mx.array:
        return keys <= queries if window is None else (keys <= queries) & (keys > queries - window)

    def with_ancestors(self, index: int, values: Sequence[mx.array]) -> mx.array:
        """Return a level's keys or values (R, H, T, d) behind those of its rows' ancestors."""
        parts = []
        for above, rows in enumerate(self.ancestors[index]):
            value = values[above]
            shape = (len(rows), *value.shape[1:])
            parts.append(mx.broadcast_to(value, shape) if value.shape[0] == 1 else value[mx.array(rows)])
        return mx.concatenate([*parts, values[index]], axis=2) if parts else values[index]


class LossPositions:
    """The tokens of the last level whose states are asked for: `places` (K,) in R · T, in rising order."""

    def __init__(self, places: Indexes, num_rows: int, width: int) -> None:
        rows, columns = np.divmod(places, width)
        counts = np.bincount(rows, minlength=num_rows)
        within = np.arange(len(places)) - (np.cumsum(counts) - counts)[rows]
        size = max(1, int(counts.max(initial=0)))
        chosen = np.zeros((num_rows, size), dtype=np.int32)
        chosen[rows, within] = columns
        self.places = mx.array(places.astype(np.int32))
        self.columns = mx.array(chosen)  # (R, W) of each row, filled up with 0
        self.packed = mx.array((rows * size + within).astype(np.int32))  # (K,) in R · W


class Split:
    """A network's frozen lower layers and its top `num_layers`, which are trained (-1 for all).

    A `burst` says after how many tokens, one layer each, the frozen layers' states are evaluated.
    """

    def __init__(self, network: Any, num_layers: int, recompute: bool = False, burst: Burst = None) -> None:
        layers = list(network.layers)
        self.network, self.recompute, self.burst = network, recompute, burst
        self.first = 0 if num_layers < 0 else len(layers) - num_layers  # the lowest trained layer
        self.lower, self.upper = layers[: self.first], layers[self.first :]

    def frozen(self, ids: Sequence[mx.array], tree: PrefixTree) -> list[mx.array]:
        """Return each level's states (R, T, D) below the trained layers, from its ids (R, T); no gradient."""
        states = [self.network.model.embed_tokens(level) for level in ids]
        ends = burst_ends(self.burst, sum(level.size for level in ids))
        for number, layer in enumerate(self.lower, start=1):
            states = _run(Layer(layer, self.network), states, tree)
            if number in ends:
                mx.eval(states)
        return states

    def trained(self, states: Sequence[mx.array], tree: PrefixTree, positions: LossPositions) -> mx.array:
        """Return the last layer's normed states (K, D) of the positions, from each level's (R, T, D)."""
        states = list(states)
        for index, layer in enumerate(self.upper):
            states = self._layer(layer)(states, tree, positions if index + 1 == len(self.upper) else None)
        return self.network.model.norm(states[-1])

    def _layer(self, layer: Any) -> Callable[..., list[mx.array]]:
        """Return a layer's pass; where activations are recomputed, one that keeps only what goes into it."""
        own = Layer(layer, self.network, has_gradient=True)
        if not self.recompute:
            return partial(_run, own)

        def inner(
            parameters: Any, states: list[mx.array], tree: PrefixTree, positions: LossPositions | None
        ) -> list[mx.array]:
            layer.update(parameters)
            return _run(own, states, tree, positions)

        def outer(states: list[mx.array], tree: PrefixTree, positions: LossPositions | None) -> list[mx.array]:
            trained = layer.trainable_parameters()
            again = mx.checkpoint(lambda parameters, states: inner(parameters, states, tree, positions))
            try:
                return list(again(trained, states))
            finally:
                layer.update(trained)

        return outer


def _run(
    layer: Layer, states: Sequence[mx.array], tree: PrefixTree, positions: LossPositions | None = None
) -> list[mx.array]:
    """Return a layer's states of every level; with `positions`, of those of the last level (K, D) alone."""
    last = len(states) - 1
    normed = [layer.normed(level) for level in states]
    keys = [layer.rotated(_spread(layer.keys(level)), tree.starts[index]) for index, level in enumerate(normed)]
    values = [_spread(layer.values(level)) for level in normed]
    after = []
    for index in [last] if positions else range(last + 1):
        queries = layer.rotated(_spread(layer.queries(normed[index])), tree.starts[index])
        mask, before = tree.mask(index, layer.window), states[index]
        if positions:
            columns = positions.columns[:, None, :, None]
            queries = mx.take_along_axis(queries, columns, axis=2)
            mask = mx.take_along_axis(mask, columns, axis=2)
            before = before.reshape(-1, before.shape[-1])[positions.places]
        seen = layer.attend(queries, tree.with_ancestors(index, keys), tree.with_ancestors(index, values), mask)
        seen = seen.transpose(0, 2, 1, 3).reshape(*seen.shape[::2], -1)  # (R, T, H·d)
        if positions:
            seen = seen.reshape(-1, seen.shape[-1])[positions.packed]
        after.append(layer.after(before, seen))
    return after


def _spread(heads: mx.array) -> mx.array:
    """Turn (R, T, H, d) into (R, H, T, d)."""
    return heads.transpose(0, 2, 1, 3)


def gather(states: mx.array, index: Indexes) -> mx.array:
    """Return packed states (N, D) as a level's (R, T, D), by each token's place."""
    rows, width = index.shape
    return states[mx.array(index.reshape(-1).astype(np.int32))].reshape(rows, width, -1)


def rectangle(rows: Sequence[Sequence[int]]) -> Indexes:
    """Return rows of whole numbers side by side (R, T), short ones filled up with 0."""
    grid = np.zeros((len(rows), max(map(len, rows), default=0)), dtype=np.int64)
    for index, row in enumerate(rows):
        grid[index, : len(row)] = row
    return grid


def shared_length(rows: Sequence[Sequence[int]]) -> int:
    """Return how many tokens all rows begin with, leaving each at least one of its own."""
    first, last = min(map(list, rows)), max(map(list, rows))
    most = min(map(len, rows)) - 1
    return next((place for place in range(most) if first[place] != last[place]), max(0, most))


def check_split(network: Any, name: str) -> None:
    """Raise UserError unless the two halves give what the whole network gives, on a probe."""
    lacking = sorted({f"{part}.{leaf}" if leaf else part for layer in network.layers for part, leaf in _lacking(layer)})
    if lacking:
        raise UserError(
            f"{name}: its layers are not Llama-shaped, so it cannot be trained here: no {', '.join(lacking)}"
        )
    ids = mx.array([[place % 7 + 3 for place in range(_PROBED)]])
    whole = hidden_states(network, ids)[0]
    split = Split(network, 1)
    tree = PrefixTree([Level(np.array([4]), np.array([0])), Level(np.array([_PROBED - 4]), np.array([0]))])
    states = split.frozen([ids[:, :4], ids[:, 4:]], tree)
    ours = split.trained(states, tree, LossPositions(np.arange(_PROBED - 4), 1, _PROBED - 4))
    difference = relative_difference(ours, whole[4:])
    if not difference <= _CLOSE[not is_exact(network)]:
        raise UserError(f"{name}: its layers compute something that is not known here (states differ by "
                        f"{difference:.1%}), so it cannot be trained here")  # fmt: skip


def _lacking(layer: Any) -> list[tuple[str, str]]:
    lacking = []
    for part, leaves in _PARTS.items():
        if not hasattr(layer, part):
            lacking.append((part, ""))
        else:
            lacking += [(part, leaf) for leaf in leaves if not hasattr(getattr(layer, part), leaf)]
    return lacking
