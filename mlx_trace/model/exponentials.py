"""SwiGLU, attention and cross-entropy with a cheap exponential, where MLX computes on a CPU in float32.

MLX's CPU backend evaluates transcendental functions one number at a time; a polynomial in plain operations is four
times faster. Anywhere else (Metal, CUDA, other dtypes) these are MLX's and mlx-lm's own. Knows nothing of layers.
"""

from math import log
from typing import Any, Final

import mlx.core as mx
import mlx.nn as nn
import numpy as np
from mlx_lm.models.activations import swiglu as stock_swiglu

_LOG2_E: Final = 1 / log(2)
_ROUND: Final = 1.5 * 2**23 + 127  # added, it rounds a float32 to a whole number n, and leaves n + 127 in its last bits
_FRACTION: Final = 23  # bits of a float32 below its exponent
_FARTHEST: Final = 50.0  # e^-50 adds nothing to a sum in float32, and its products are no denormals, which are slow
_MASKED: Final = -1e9
_DEGREE: Final = 5


def _coefficients() -> list[float]:
    """Return a polynomial of 2^x for |x| ≤ 1/2, the lowest power first, fitted in Chebyshev's points."""
    points = np.cos(np.pi * (np.arange(64) + 0.5) / 64) / 2
    fitted = np.polynomial.chebyshev.Chebyshev.fit(points, 2.0**points, _DEGREE, domain=[-0.5, 0.5])
    return [float(one) for one in fitted.convert(kind=np.polynomial.Polynomial).coef]


_POLYNOMIAL: Final = _coefficients()


def _exp(x: mx.array) -> mx.array:
    """Return e^x for |x| ≤ 87: a power of 2 by its bits, times a polynomial of the rest."""
    power = x * _LOG2_E
    rounded = power + _ROUND
    rest = power - (rounded - _ROUND)
    found = rest * _POLYNOMIAL[-1] + _POLYNOMIAL[-2]
    for coefficient in _POLYNOMIAL[-3::-1]:
        found = found * rest + coefficient
    return found * (rounded.view(mx.int32) << _FRACTION).view(mx.float32)


@mx.compile  # type: ignore[untyped-decorator]
def _exp_of_negative(x: mx.array) -> mx.array:
    return _exp(mx.maximum(x, -_FARTHEST))


def _sigmoid(x: mx.array) -> mx.array:
    return 1.0 / (1.0 + _exp(mx.maximum(mx.minimum(-x, _FARTHEST), -_FARTHEST)))


def is_cheaper(*arrays: mx.array) -> bool:
    """Tell whether these are computed on a CPU, in float32."""
    return mx.default_device().type == mx.DeviceType.cpu and all(one.dtype == mx.float32 for one in arrays)


# --- SwiGLU ----------------------------------------------------------------------------------------------------


def swiglu(gate: mx.array, up: mx.array) -> mx.array:
    """Return gate · sigmoid(gate) · up."""
    return _swiglu(gate, up)[0] if is_cheaper(gate, up) else stock_swiglu(gate, up)


@mx.compile  # type: ignore[untyped-decorator]
def _forward(gate: mx.array, up: mx.array) -> tuple[mx.array, mx.array]:
    share = _sigmoid(gate)
    return gate * share * up, share


@mx.compile  # type: ignore[untyped-decorator]
def _backward(gate: mx.array, up: mx.array, share: mx.array, slope: mx.array) -> tuple[mx.array, mx.array]:
    silu = gate * share
    return slope * up * (share + silu * (1.0 - share)), slope * silu


@mx.custom_function  # type: ignore[untyped-decorator]
def _swiglu(gate: mx.array, up: mx.array) -> tuple[mx.array, mx.array]:
    """Return what is asked for, and sigmoid(gate), which the gradient needs again."""
    return _forward(gate, up)  # type: ignore[no-any-return]


@_swiglu.vjp  # type: ignore[untyped-decorator]
def _swiglu_vjp(primals: Any, slopes: Any, outputs: Any) -> tuple[mx.array, mx.array]:
    return _backward(*primals, outputs[1], slopes[0])  # type: ignore[no-any-return]


# --- softmax and attention -------------------------------------------------------------------------------------


@mx.custom_function  # type: ignore[untyped-decorator]
def _softmax(scores: mx.array) -> mx.array:
    raised = _exp_of_negative(scores - scores.max(axis=-1, keepdims=True))
    return raised * (1.0 / raised.sum(axis=-1, keepdims=True))


@_softmax.vjp  # type: ignore[untyped-decorator]
def _softmax_vjp(_: Any, slope: mx.array, shares: mx.array) -> mx.array:
    weighted = slope * shares
    return weighted - shares * weighted.sum(axis=-1, keepdims=True)


def attention(queries: mx.array, keys: mx.array, values: mx.array, scale: float, mask: mx.array) -> mx.array:
    """Return softmax(queries · keysᵀ · scale, where `mask`) · values, all (R, H, T, d); keys may have fewer heads."""
    if not is_cheaper(queries, keys, values):
        return mx.fast.scaled_dot_product_attention(queries, keys, values, scale=scale, mask=mask)
    rows, heads, width, size = queries.shape
    groups = heads // keys.shape[1]
    together = (queries * scale).reshape(rows, keys.shape[1], groups * width, size)
    scores = (together @ keys.swapaxes(-1, -2)).reshape(rows, heads, width, -1)
    shares = _softmax(scores + mx.where(mask, 0.0, _MASKED))
    return (shares.reshape(rows, keys.shape[1], groups * width, -1) @ values).reshape(queries.shape)


# --- cross-entropy ---------------------------------------------------------------------------------------------


def cross_entropy(logits: mx.array, targets: mx.array) -> mx.array:
    """Return −log p(target), (K,), from logits (K, V) in fp32."""
    if not is_cheaper(logits):
        return nn.losses.cross_entropy(logits, targets)
    return _cross_entropy(logits, targets)[0]


@mx.custom_function  # type: ignore[untyped-decorator]
def _cross_entropy(logits: mx.array, targets: mx.array) -> tuple[mx.array, mx.array, mx.array]:
    """Return the losses, and for the gradient each token's weight and their sum."""
    highest = logits.max(axis=-1, keepdims=True)
    raised = _exp_of_negative(logits - highest)
    total = raised.sum(axis=-1)
    chosen = mx.take_along_axis(logits, targets[:, None], axis=-1)[:, 0]
    return mx.log(total) + highest[:, 0] - chosen, raised, total


@_cross_entropy.vjp  # type: ignore[untyped-decorator]
def _cross_entropy_vjp(primals: Any, slopes: Any, outputs: Any) -> tuple[mx.array, mx.array]:
    (_, targets), (slope, *_), (_, raised, total) = primals, slopes, outputs
    found = raised * (slope / total)[:, None]
    found = found.at[mx.arange(targets.size), targets].add(-slope)
    return found, mx.zeros_like(targets)
