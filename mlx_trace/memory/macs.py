"""Macs: how fast their GPUs compute and read memory, as published, and how much of it a run may take.

Data alone, and no measurement of ours. Imports no MLX.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

GIB: Final = 1 << 30
_LARGE: Final = 36  # GiB; up to here macOS recommends two thirds for the GPU, above three quarters
# Of a chip's peak, what training comes to: mlx-lm's LORA.md has 250 tokens/s for Mistral 7B (4 of 32 layers) on an
# M1 Max, which is 16.5 GFLOP each: 4.1 of 10.4 TFLOP/s.
_COMPUTED: Final = 0.4
_READ: Final = 0.75  # of its bandwidth, what decoding comes to (arXiv 2502.05317 has 85% for a plain copy on a GPU)


@dataclass(frozen=True, slots=True)
class Chip:
    """A chip's GPU at its largest: fp32 TFLOP/s and GB/s of memory, at most."""

    name: str
    teraflops: float
    bandwidth: float

    @property
    def speed(self) -> float:
        """Return the FLOP/s that training comes to."""
        return _COMPUTED * self.teraflops * 1e12

    @property
    def reading(self) -> float:
        """Return the bytes/s that decoding comes to."""
        return _READ * self.bandwidth * 1e9


# TFLOP/s: Apple's announcements (M1 to M2 Max), the others as in huggingface.js (packages/tasks/src/hardware.ts).
# GB/s: Apple's technical specifications; where a chip is sold with two, the lower one.
CHIPS: Final = (
    Chip("M1", 2.6, 68.25), Chip("M1 Pro", 5.2, 200), Chip("M1 Max", 10.4, 400), Chip("M1 Ultra", 21.0, 800),
    Chip("M2", 3.6, 100), Chip("M2 Pro", 6.8, 200), Chip("M2 Max", 13.5, 400), Chip("M2 Ultra", 27.2, 800),
    Chip("M3", 4.1, 100), Chip("M3 Pro", 7.4, 150), Chip("M3 Max", 14.2, 300), Chip("M3 Ultra", 28.4, 819),
    Chip("M4", 4.6, 120), Chip("M4 Pro", 9.2, 273), Chip("M4 Max", 18.4, 410),
    Chip("M5", 5.7, 153), Chip("M5 Pro", 11.4, 307), Chip("M5 Max", 22.8, 460),  # without their matrix units for bf16
)  # fmt: skip
_SLOWEST: Final = CHIPS[0]
USUAL: Final = {8: "M1", 16: "M2", 32: "M1 Pro", 64: "M1 Max"}  # by memory in GiB: what such a Mac has at the least


def chip(name: str) -> Chip | None:
    """Return a chip by its name, with or without Apple's before it; None if it is not in the table."""
    wanted = name.casefold().removeprefix("apple").strip()
    return next((known for known in CHIPS if known.name.casefold() == wanted), None)


def chip_of(device: Mapping[str, Any]) -> Chip:
    """Return the chip that MLX's info of a device names; the slowest there is, where the table has none of that name.

    A bound that is computed from it is then kept, only more than kept.
    """
    return chip(str(device.get("device_name", ""))) or _SLOWEST


def recommended(size: int) -> int:
    """Return what macOS recommends that the GPU takes of so many bytes of memory."""
    return size * 2 // 3 if size <= _LARGE * GIB else size * 3 // 4
