"""SwiGLU and softmax by NumPy give what MLX's own give, and other types and devices have MLX's."""

from collections.abc import Callable, Iterator

import mlx.core as mx
import numpy as np
import pytest
from mlx_lm.models.activations import swiglu as stock_swiglu

from mlx_trace.model import elementwise
from mlx_trace.model.elementwise import attention, softmax, swiglu

CLOSE = 2e-6  # to the largest number
Function = Callable[..., mx.array]


@pytest.fixture(autouse=True)
def cpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Compute on a CPU that is no Mac's, whatever this machine is."""
    before = mx.default_device()
    mx.set_default_device(mx.cpu)
    monkeypatch.setattr(elementwise, "_WORTH", 1)
    monkeypatch.setattr("sys.platform", "linux")
    yield
    mx.set_default_device(before)


def drawn(*shape: int, scale: float = 1.0, seed: int = 0) -> mx.array:
    return mx.array((np.random.default_rng(seed).normal(size=shape) * scale).astype(np.float32))


def apart(one: mx.array, other: mx.array) -> float:
    return float((mx.abs(one - other).max() / mx.maximum(mx.abs(other).max(), 1e-9)).item())


def check(own: Function, stock: Function, *inputs: mx.array) -> None:
    assert apart(own(*inputs), stock(*inputs)) < CLOSE


@pytest.mark.parametrize("rows", [1, 3, 700])  # 700 of 48 are more than one chunk
def test_swiglu(rows: int) -> None:
    check(swiglu, stock_swiglu, drawn(rows, 48, scale=4), drawn(rows, 48, seed=1))
    strided = drawn(48, rows, 2)[:, :, 0].T
    check(swiglu, stock_swiglu, strided, strided + 1)


@pytest.mark.parametrize("far", [60.0, 100.0, 1e4, 1e30])
def test_swiglu_far_out(far: float) -> None:
    gate, one = mx.array([-far, far]), mx.ones(2)
    assert mx.allclose(swiglu(gate, one), mx.array([0.0, far]), atol=1e-6)


def test_softmax() -> None:
    check(softmax, lambda x: mx.softmax(x, axis=-1), drawn(90, 3, 301, scale=6))
    assert mx.array_equal(softmax(mx.full((2, 5), -mx.inf)), mx.zeros((2, 5)))


@pytest.mark.parametrize("kv_heads", [1, 3, 6])
@pytest.mark.parametrize("rows", [1, 2])
def test_attention(kv_heads: int, rows: int) -> None:
    queries, keys, values = drawn(2, 6, 7, 8, scale=2), drawn(2, kv_heads, 11, 8, scale=2), drawn(2, kv_heads, 11, 8)
    mask = mx.array(np.random.default_rng(3).random((rows, 1, 7, 11)) < 0.6) | (mx.arange(11) == 0)
    check(lambda *x: attention(*x, 0.35, mask),
          lambda *x: mx.fast.scaled_dot_product_attention(*x, scale=0.35, mask=mask), queries, keys, values)  # fmt: skip


@pytest.mark.parametrize("dtype", [mx.bfloat16, mx.float16])
def test_other_types_are_left_alone(dtype: mx.Dtype) -> None:
    gate, up = drawn(4, 4).astype(dtype), drawn(4, 4, seed=1).astype(dtype)
    assert mx.array_equal(swiglu(gate, up), stock_swiglu(gate, up))
    assert swiglu(gate, up).dtype == softmax(gate).dtype == dtype


def test_macs_and_few_numbers_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(elementwise, "_swiglu", None)
    monkeypatch.setattr(elementwise, "_WORTH", 17)
    assert mx.array_equal(swiglu(drawn(4, 4), drawn(4, 4)), stock_swiglu(drawn(4, 4), drawn(4, 4)))
    monkeypatch.setattr("sys.platform", "darwin")
    assert mx.array_equal(swiglu(drawn(4, 5), drawn(4, 5)), stock_swiglu(drawn(4, 5), drawn(4, 5)))
