"""How much a GPU is given at once where a display waits for it: macOS ends a process whose commands keep it too long.

Takes seconds, and the device's speed as its name tells; returns a number of tokens, one layer each, or None where no
display waits. MLX cuts what it evaluates into shorter commands still (some 50 operations, or 50 MB): this is the bound
above that. What goes back through the trained layers is bounded by the size of micro-batches (`memory.plan`).
"""

from collections.abc import Iterator, Set
from contextlib import ExitStack, contextmanager, redirect_stdout
from io import StringIO
from typing import Any, Final

import mlx.core as mx

from mlx_trace.memory.macs import chip_of
from mlx_trace.notice import tell

_ENDED: Final = ("Impacting Interactivity", "kIOGPUCommandBufferCallbackErrorTimeout")
Burst = int | None  # tokens × layers


def device_info() -> dict[str, Any]:
    """Return what MLX knows of the device: its name, its memory; builds differ in what they say, or say nothing."""
    return dict(mx.device_info()) if hasattr(mx, "device_info") else {}


def on_metal() -> bool:
    """Tell whether a Mac's GPU computes."""
    return bool(mx.metal.is_available() and mx.default_device().type == mx.gpu)


def display_speed() -> float:
    """Return the FLOP/s of a GPU for which a display waits; 0 where none does."""
    return chip_of(device_info()).speed if on_metal() else 0.0


@contextmanager
def wired(network: Any) -> Iterator[None]:
    """Keep a network from being paged out meanwhile, on Metal; of one that hardly fits mlx-lm prints, which is told."""
    from mlx_lm.generate import wired_limit

    with ExitStack() as stack:
        with redirect_stdout(StringIO()) as said:
            stack.enter_context(wired_limit(network))
        if line := said.getvalue().strip():
            tell(line)
        yield


@contextmanager
def held_to(size: int) -> Iterator[None]:
    """Hold what MLX takes meanwhile on Metal, with the freed buffers that it keeps, to so many bytes.

    Above them it frees those buffers, and waits for what is under way, but fails at nothing; by itself it keeps almost
    all that the GPU may have (ml-explore/mlx#3350).
    """
    if not on_metal():
        yield
        return
    before = mx.set_memory_limit(size)
    try:
        yield
    finally:
        mx.set_memory_limit(before)


def watchdog_advice(error: Exception) -> str | None:
    """Return what to do where macOS ended the GPU's work since its display waited for it; None for other errors."""
    if not any(mark in str(error) for mark in _ENDED):
        return None
    return ("macOS stopped the GPU, whose display waited too long; let the display sleep (pmset displaysleepnow, "
            "under caffeinate -s), or give it less at once (--gpu-seconds 0.5 in a new run), and go on")  # fmt: skip


def burst_of(network: Any, seconds: float) -> Burst:
    """Return of how many tokens, one layer each, a GPU is given so many seconds of work; None without a bound."""
    speed = display_speed()
    if not speed or not seconds:
        return None
    return max(1, int(seconds * speed / (2 * _numbers(network.layers[0]))))


def burst_ends(burst: Burst, tokens: int) -> Set[int]:
    """Return after which numbers of layers a pass of so many tokens is evaluated, as range; nothing if it is short."""
    step = max(1, burst // max(1, tokens)) if burst is not None else 0
    return frozenset(range(step, 1000, step)) if step else frozenset()


def _numbers(layer: Any) -> int:
    """Return how many numbers a layer's linear parts hold, quantised or not."""
    parts = [module for _, module in layer.named_modules() if "weight" in module and module.weight.ndim == 2]
    return sum(int(part.weight.shape[0]) * _inputs(part) for part in parts)


def _inputs(part: Any) -> int:
    width = int(part.weight.shape[1])
    return width * 32 // int(part.bits) if "scales" in part else width
