"""SwiGLU, attention and cross-entropy with a cheap exponential give what MLX's own give, gradients included."""

import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest
from mlx_lm.models.activations import swiglu as stock_swiglu

from mlx_trace.model import exponentials
from mlx_trace.model.exponentials import attention, cross_entropy, swiglu

CLOSE = 2e-6  # to the largest number


@pytest.fixture(autouse=True)
def cpu():
    before = mx.default_device()
    mx.set_default_device(mx.cpu)
    yield
    mx.set_default_device(before)


def drawn(*shape: int, scale: float = 1.0, seed: int = 0) -> mx.array:
    return mx.array((np.random.default_rng(seed).normal(size=shape) * scale).astype(np.float32))


def apart(found: mx.array, expected: mx.array) -> float:
    return float((mx.abs(found - expected).max() / mx.maximum(mx.abs(expected).max(), 1e-9)).item())


def same_slopes(own, stock, *inputs: mx.array) -> None:
    weight = drawn(*own(*inputs).shape, seed=9)
    numbers = tuple(range(len(inputs)))
    slopes = [mx.grad(lambda *x, f=f: (f(*x) * weight).sum(), argnums=numbers)(*inputs) for f in (own, stock)]
    for found, expected in zip(*slopes, strict=True):
        assert apart(found, expected) < CLOSE


def test_exponential():
    x = np.linspace(-50, 50, 100_001).astype(np.float32)
    ratio = np.array(exponentials._exp(mx.array(x)), dtype=np.float64) / np.exp(x.astype(np.float64))
    assert np.abs(ratio - 1).max() < 5e-6
    assert np.abs(ratio - 1)[np.abs(x) < 5].max() < 1e-6


def test_swiglu():
    gate, up = drawn(64, 48, scale=4), drawn(64, 48, seed=1)
    assert apart(swiglu(gate, up), stock_swiglu(gate, up)) < CLOSE
    same_slopes(swiglu, stock_swiglu, gate, up)


@pytest.mark.parametrize("far", [60.0, 100.0, 1e4])
def test_swiglu_far_out(far):
    gate, one = mx.array([-far, far]), mx.ones(2)
    assert mx.allclose(swiglu(gate, one), mx.array([0.0, far]), atol=1e-6)
    assert mx.allclose(mx.grad(lambda g: swiglu(g, one).sum())(gate), mx.array([0.0, 1.0]), atol=1e-6)


@pytest.mark.parametrize("kv_heads", [1, 3, 6])
def test_attention(kv_heads):
    queries, keys, values = drawn(2, 6, 7, 8, scale=2), drawn(2, kv_heads, 11, 8, scale=2), drawn(2, kv_heads, 11, 8)
    mask = mx.array(np.random.default_rng(3).random((2, 1, 7, 11)) < 0.6) | (mx.arange(11) == 0)

    def own(*x):
        return attention(*x, 0.35, mask)

    def stock(*x):
        return mx.fast.scaled_dot_product_attention(*x, scale=0.35, mask=mask)

    assert apart(own(queries, keys, values), stock(queries, keys, values)) < CLOSE
    same_slopes(own, stock, queries, keys, values)


def test_cross_entropy():
    logits, targets = drawn(9, 301, scale=6), mx.array([0, 300, 5, 7, 7, 100, 200, 3, 4])
    assert apart(cross_entropy(logits, targets), nn.losses.cross_entropy(logits, targets)) < CLOSE
    same_slopes(lambda x: cross_entropy(x, targets), lambda x: nn.losses.cross_entropy(x, targets), logits)


def test_other_dtypes_are_left_alone():
    gate, up = drawn(4, 4).astype(mx.bfloat16), drawn(4, 4).astype(mx.bfloat16)
    assert mx.array_equal(swiglu(gate, up), stock_swiglu(gate, up))
    assert not exponentials.is_cheaper(gate)
