"""First weights for the tiny base, in which copying is already laid out: previous-token and matching heads.

A small network needs tens of millions of tokens to find by itself that a token may be answered by what followed its
last occurrence. Starting from heads that do so (the induction circuit of Olsson et al. 2022, laid out by hand in the
spirit of mimetic initialisation, Trockman & Kolter 2023) it copies after half a million, and then learns the rest.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

# Heads of layer 0 that look a fixed number of tokens back, and heads of later layers that look for a token whose
# predecessor (as head `of` of layer 0 wrote it) is the present token, and copy it.
_BACK: Final = ((0, 1), (1, 1), (2, 2))  # (head, tokens back)
_MATCH: Final = ((1, 0, 0), (1, 1, 1), (1, 2, 2), (2, 0, 0), (2, 1, 1))  # (layer, head, of)

_COMMON: Final = 0.5  # share of every embedding that is one common direction, on which position heads feed
_SHARP_BACK: Final = 48.0  # attention logit of the token that a position head looks at, above the mean
_SHARP_MATCH: Final = 18.0  # and of a matching token
_COPY: Final = 3.0  # how strongly a matching head writes what it found


@dataclass(frozen=True, slots=True)
class _Head:
    """What a position head carries: `read` (n, D) takes it from a state, `written` (D, n) is where it puts it."""

    read: Array
    written: Array


def initial_weights(shapes: dict[str, tuple[int, ...]], args: Any, seed: int) -> dict[str, Array]:
    """Return weights for every name in `shapes` of a Llama with `args`; arrays are float32."""
    rng = np.random.default_rng(seed)
    weights = {name: _random(name, shape, args.num_hidden_layers, rng) for name, shape in shapes.items()}
    embeddings, common = _embeddings(args, rng)
    weights["model.embed_tokens.weight"] = embeddings
    layout = _Layout(weights, args, common, rng)
    heads = [layout.look_back(head, back) for head, back in _BACK]
    for layer, head, of in _MATCH:
        layout.match(layer, head, heads[of])
    return {name: value.astype(np.float32) for name, value in weights.items()}


def _random(name: str, shape: tuple[int, ...], num_layers: int, rng: np.random.Generator) -> Array:
    if len(shape) == 1:
        return np.ones(shape, dtype=np.float32)  # norms
    out = 0.5 / np.sqrt(2 * num_layers) if "o_proj" in name or "down_proj" in name else 0.7
    values: Array = (rng.standard_normal(shape) * (out * shape[1] ** -0.5)).astype(np.float32)
    return values


def _embeddings(args: Any, rng: np.random.Generator) -> tuple[Array, Array]:
    """Return unit rows that share a common direction and are otherwise random, and that direction."""
    common = rng.standard_normal(args.hidden_size)
    common /= np.linalg.norm(common)
    own = rng.standard_normal((args.vocab_size, args.hidden_size))
    own -= np.outer(own @ common, common)
    own /= np.linalg.norm(own, axis=1, keepdims=True)
    return np.sqrt(1 - _COMMON) * own + np.sqrt(_COMMON) * common, common


class _Layout:
    """Writes heads into weights. D is the width, H the size of a head; rotary pairs are (f, f + H/2)."""

    def __init__(self, weights: dict[str, Array], args: Any, common: Array, rng: np.random.Generator) -> None:
        self.weights, self.common, self.rng = weights, common, rng
        self.width, self.size = args.hidden_size, args.head_dim or args.hidden_size // args.num_attention_heads
        self.angles = args.rope_theta ** (-np.arange(0, self.size, 2) / self.size)  # radians a token
        self.scale = np.sqrt(self.width)  # what the norm multiplies a unit vector by
        slow = np.flatnonzero(self.angles < 0.02)  # pairs that hardly turn within a problem carry content
        self.content = np.concatenate([slow, slow + self.size // 2])

    def look_back(self, head: int, back: int) -> _Head:
        """Make a head of layer 0 attend `back` tokens back, and write a projection of that token."""
        half, fast = self.size // 2, np.flatnonzero(self.angles > 0.1)
        query = np.zeros(self.size)
        query[fast] = len(fast) ** -0.5
        turn = back * self.angles  # the key is turned so that the dot product peaks at this distance
        key = np.concatenate(
            [
                query[:half] * np.cos(turn) - query[half:] * np.sin(turn),
                query[half:] * np.cos(turn) + query[:half] * np.sin(turn),
            ]
        )
        strength = np.sqrt(_SHARP_BACK * np.sqrt(self.size)) / (self.scale * np.sqrt(_COMMON))
        read = self._basis(len(self.content)).T
        written = self._basis(self.size)
        values = np.zeros((self.size, self.width))
        values[: len(read)] = read
        common = self.common * strength
        self._put(0, head, np.outer(query, common), np.outer(key, common), values, written / self.scale)
        return _Head(read, written[:, : len(read)])

    def match(self, layer: int, head: int, carried: _Head) -> None:
        """Make a head attend where the carried token is the present one, and add what stands there to the state."""
        query, key = np.zeros((self.size, self.width)), np.zeros((self.size, self.width))
        strength = np.sqrt(_SHARP_MATCH * np.sqrt(self.size) / len(self.content))
        query[self.content] = carried.read * strength
        key[self.content] = carried.written.T * strength * 1.5
        copied = self._basis(self.size)
        self._put(layer, head, query, key, copied.T, copied * _COPY / self.scale)

    def _basis(self, size: int) -> Array:
        """Return `size` random orthonormal columns (D, size), less the common direction."""
        columns, _ = np.linalg.qr(self.rng.standard_normal((self.width, size)))
        return columns - np.outer(self.common, self.common @ columns)

    def _put(self, layer: int, head: int, query: Array, key: Array, value: Array, output: Array) -> None:
        rows = slice(head * self.size, (head + 1) * self.size)
        attention = f"model.layers.{layer}.self_attn."
        self.weights[attention + "q_proj.weight"][rows] = query
        self.weights[attention + "k_proj.weight"][rows] = key
        self.weights[attention + "v_proj.weight"][rows] = value
        self.weights[attention + "o_proj.weight"][:, rows] = output
