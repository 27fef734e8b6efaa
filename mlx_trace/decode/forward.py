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
from mlx_lm.models.activations import swiglu
from mlx_lm.tuner.dora import DoRALinear
from mlx_lm.tuner.lora import LoRALinear
from numpy.typing import NDArray

from mlx_trace.decode.cache import RaggedCache
from mlx_trace.errors import UserError
from mlx_trace.model.base import hidden_states
from mlx_trace.model.config_json import ARCHITECTURES
from mlx_trace.model.hub import one_line

_CLOSE: Final = 0.05  # largest difference of states, to the largest state


class Kept:
    """The states (N, D) that go into one layer, of every token read since; what is below it need not run again."""

    def __init__(self, layer: int) -> None:
        self.layer, self.count = layer, 0
        self.arrays: list[mx.array] = []
        self.places: list[range] = []  # of each row's tokens in the last pass

    def add(self, states: mx.array, runs: Sequence[Sequence[int]]) -> None:
        """Keep a pass's states, packed as its runs are."""
        ends = self.count + np.cumsum([len(run) for run in runs])
        self.places = [range(end - len(run), end) for end, run in zip(ends.tolist(), runs, strict=True)]
        self.arrays.append(states)
        self.count = int(ends[-1])

    def states(self) -> mx.array:
        """Return all that was kept, (N, D)."""
        return mx.concatenate(self.arrays)


class Forward:
    """A network's passes with one version of its weights: adapters are folded into weights that are fp32."""

    def __init__(self, network: Any, kept: Kept | None = None) -> None:
        self.network, self.kept = network, kept
        is_known = getattr(network, "model_type", None) in ARCHITECTURES
        self.blocks = [_Block(layer, network) for layer in network.layers] if is_known else []

    def __call__(self, runs: Sequence[Sequence[int]], cache: RaggedCache, wanted: Sequence[int]) -> mx.array:
        """Read runs of ids, one a row (some may be empty); return the states (S, D) after the wanted rows' last ids."""
        layout = _Layout(runs, cache.lengths, wanted)
        cache.open(layout.width)
        if not self.blocks:
            hidden = hidden_states(self.network, layout.rectangle(), cache.layers)
            states = hidden[layout.wanted, layout.used[layout.wanted] - 1]
        else:
            states = self.network.model.embed_tokens(layout.ids)
            for at, block in enumerate(self.blocks):
                if self.kept is not None and self.kept.layer == at:
                    self.kept.add(states, runs)
                states = block(states, layout, cache, at)
            states = self.network.model.norm(states) if wanted else states
        cache.advance([len(run) for run in runs])
        return states


class _Layout:
    """Where the N tokens of a pass stand: packed, and in a rectangle (B, T) for attention."""

    def __init__(self, runs: Sequence[Sequence[int]], lengths: NDArray[np.int64], wanted: Sequence[int]) -> None:
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
        self.wanted = mx.array(list(wanted), dtype=mx.int32)  # (S,) rows
        ends = starts + used - 1
        self.ends = mx.array(np.maximum(ends, 0).astype(np.int32))  # (B,) each row's last token, packed
        self.last = mx.array((lengths + used - 1).astype(np.int32))  # (B,) its position

    def rectangle(self) -> mx.array:
        """Return the ids as (B, T), filled up with whatever."""
        return self.ids[self.packed].reshape(self.batch_size, self.width)

    def spread(self, packed: mx.array, num_heads: int) -> mx.array:
        """Turn (N, H·D) into (B, H, T, D)."""
        spread = packed if self.is_full else packed[self.packed]
        return spread.reshape(self.batch_size, self.width, num_heads, -1).transpose(0, 2, 1, 3)

    def pack(self, spread: mx.array) -> mx.array:
        """Turn (B, H, T, D) into (N, H·D)."""
        packed = spread.transpose(0, 2, 1, 3).reshape(self.batch_size * self.width, -1)
        return packed if self.is_full else packed[self.places]


class _Block:
    """One layer, with its adapters folded in where that loses nothing."""

    def __init__(self, layer: Any, network: Any) -> None:
        attention, mlp = layer.self_attn, layer.mlp
        self.layer, self.attention = layer, attention
        self.query, self.key, self.value, self.output = (
            _folded(attention[name]) for name in ("q_proj", "k_proj", "v_proj", "o_proj")
        )
        self.gate, self.up, self.down = (_folded(mlp[name]) for name in ("gate_proj", "up_proj", "down_proj"))
        self.window = network.model.sliding_window if getattr(layer, "use_sliding", False) else None

    def __call__(self, states: mx.array, layout: _Layout, cache: RaggedCache, at: int) -> mx.array:
        """Return the states (N, D) after this layer; after the last one, (S, D) of the wanted rows."""
        attention, own = self.attention, cache.layers[at]
        is_last = at + 1 == len(cache.layers)
        normed = self.layer.input_layernorm(states)
        keys = self._heads(layout, self.key(normed), attention.n_kv_heads, "k_norm")
        values = layout.spread(self.value(normed), attention.n_kv_heads)
        keys, values = own.update_and_fetch(attention.rope(keys, offset=own.offset), values)
        if is_last:
            if not layout.wanted.size:
                return states
            states, normed = states[layout.ends[layout.wanted]], normed[layout.ends]
            queries = self._normed(self.query(normed).reshape(layout.batch_size, 1, attention.n_heads, -1), "q_norm")
            queries = attention.rope(queries.transpose(0, 2, 1, 3), offset=layout.last)
            mask = own.window.seen(layout.last[:, None, None, None], self.window)
        else:
            queries = self._heads(layout, self.query(normed), attention.n_heads, "q_norm")
            queries = attention.rope(queries, offset=own.offset)
            mask = own.window.mask(self.window)
        seen = mx.fast.scaled_dot_product_attention(queries, keys, values, scale=attention.scale, mask=mask)
        seen = seen.reshape(layout.batch_size, -1)[layout.wanted] if is_last else layout.pack(seen)
        states = states + self.output(seen)
        normed = self.layer.post_attention_layernorm(states)
        return states + self.down(swiglu(self.gate(normed), self.up(normed)))

    def _heads(self, layout: _Layout, packed: mx.array, num_heads: int, norm: str) -> mx.array:
        heads = self._normed(packed.reshape(packed.shape[0], num_heads, -1), norm)
        return layout.spread(heads.reshape(packed.shape), num_heads)

    def _normed(self, heads: mx.array, norm: str) -> mx.array:
        return self.attention[norm](heads) if norm in self.attention else heads


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


def _folded(module: Any) -> Any:
    """Return an adapted fp32 layer as one linear layer; others as they are, since rounding would change them."""
    is_adapted = isinstance(module, LoRALinear | DoRALinear) and type(module.linear) is nn.Linear
    return module.fuse() if is_adapted and module.linear.weight.dtype == mx.float32 else module
