"""SwiGLU and softmax by NumPy, where MLX computes in float32 on a CPU that is no Mac's.

There MLX takes exponentials one by one, and NumPy takes sixteen at once.

Anywhere else (Metal, CUDA, other types) these are MLX's and mlx-lm's own. For passes without a gradient: each waits for
what is before it, and a gradient would keep all that was computed. Knows nothing of layers.
"""

import sys
from typing import Final

import mlx.core as mx
import numpy as np
from mlx_lm.models.activations import swiglu as stock_swiglu
from numpy.typing import NDArray

_CHUNK: Final = 1 << 14  # numbers at a time: what is computed of them stays in the cache
_WORTH: Final = 1 << 16  # numbers; with fewer MLX does meanwhile what a wait would cost
_LEAST: Final = np.float32(1e-30)  # the sum of a row that sees nothing

Floats = NDArray[np.float32]


def is_slow(array: mx.array, numbers: int) -> bool:
    """Tell whether MLX takes so many exponentials one by one, and whether they are worth waiting for what is before."""
    is_cpu = mx.default_device().type == mx.DeviceType.cpu and sys.platform != "darwin"
    return is_cpu and array.dtype == mx.float32 and numbers >= _WORTH


# --- SwiGLU ----------------------------------------------------------------------------------------------------


def swiglu(gate: mx.array, up: mx.array) -> mx.array:
    """Return gate · sigmoid(gate) · up, of one shape (Shazeer 2020)."""
    return _swiglu(gate, up) if is_slow(gate, gate.size) and up.dtype == gate.dtype else stock_swiglu(gate, up)


def _swiglu(gate: mx.array, up: mx.array) -> mx.array:
    gates, ups = (np.array(array, copy=False).reshape(-1) for array in (gate, up))
    product, share = np.empty_like(gates), np.empty(min(_CHUNK, gates.size), dtype=np.float32)
    for start in range(0, gates.size, _CHUNK):
        own = slice(start, start + _CHUNK)
        part = share[: gates[own].size]
        _sigmoid(gates[own], part)
        np.multiply(gates[own], part, out=product[own])
        product[own] *= ups[own]
    return mx.array(product).reshape(gate.shape)


def _sigmoid(x: Floats, share: Floats) -> None:
    """Write 1 / (1 + e^-x) to `share`: 0 where e^-x is beyond all numbers."""
    np.negative(x, out=share)
    with np.errstate(over="ignore"):
        np.exp(share, out=share)
    share += 1
    np.reciprocal(share, out=share)


# --- softmax ---------------------------------------------------------------------------------------------------


def softmax(scores: mx.array) -> mx.array:
    """Return the softmax along the last axis, in float32; a row of −∞ alone sees nothing, 0."""
    return _softmax(scores) if is_slow(scores, scores.size) else mx.softmax(scores, axis=-1, precise=True)


def _softmax(scores: mx.array) -> mx.array:
    width = scores.shape[-1]
    rows = np.array(scores, copy=False).reshape(-1, width)
    shares, many = np.empty_like(rows), max(1, _CHUNK // max(1, width))
    for start in range(0, len(rows), many):
        own = shares[start : start + many]
        highest = rows[start : start + many].max(axis=-1, keepdims=True)
        np.subtract(rows[start : start + many], np.maximum(highest, -3e38), out=own)
        np.exp(own, out=own)
        own /= np.maximum(own.sum(axis=-1, keepdims=True), _LEAST)
    return mx.array(shares).reshape(scores.shape)


def attention(queries: mx.array, keys: mx.array, values: mx.array, scale: float, mask: mx.array) -> mx.array:
    """Return softmax(queries · keysᵀ · scale, where `mask`) · values, (B, H, T, d); keys may have fewer heads."""
    if not is_slow(queries, queries.size // queries.shape[-1] * keys.shape[2]):
        return mx.fast.scaled_dot_product_attention(queries, keys, values, scale=scale, mask=mask)
    batch, heads, width, size = queries.shape
    grouped = (queries * scale).reshape(batch, keys.shape[1], -1, size)  # the heads that share a key after one another
    scores = (grouped @ keys.swapaxes(-1, -2)).reshape(batch, heads, width, -1)
    shares = _softmax(mx.where(mask, scores, -mx.inf)).reshape(*grouped.shape[:3], -1)
    return (shares @ values).reshape(queries.shape)
