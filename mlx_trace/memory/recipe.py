"""What a configuration comes to on Macs of several sizes: peak of memory, what is done at once, and about how long.

Takes a model's config.json, a configuration and what its run does. Everything is computed, nothing measured on Macs.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from mlx_trace.config import Config
from mlx_trace.memory.duration import Load, seconds
from mlx_trace.memory.macs import GIB, USUAL, Chip, chip, recommended
from mlx_trace.memory.plan import PlannedRun, budget_of, gigabytes, settle
from mlx_trace.memory.predict import MemoryPlan, Work, predict
from mlx_trace.memory.shape import shape_of
from mlx_trace.times import roughly

SIZES: Final = (8, 16, 32)  # GiB
TITLE: Final = "on Macs, computed and not measured (peak of memory; time, and the GPU busy with nothing else):"


@dataclass(frozen=True, slots=True)
class OnMac:
    """A run on a Mac of so many GiB: its predicted peak in bytes and its plan, None where it does not fit."""

    size: int
    chip: Chip
    peak: int | None
    plan: MemoryPlan | None
    seconds: Mapping[str, float] | None  # by phase; None where how much there is to do is not known

    def in_words(self) -> str:
        """Return it as a line."""
        where = f"{self.size} GB, {self.chip.name}"
        if self.peak is None or self.plan is None:
            return f"{where}: does not fit"
        line = f"{where}: {gigabytes(self.peak)}"
        if self.seconds is None:
            return f"{line}; how long depends on files that are not read here"
        parts = ", ".join(f"{name} {roughly(spent)}" for name, spent in self.seconds.items())
        if len(self.seconds) < 2:
            return f"{line}; about {parts.partition(' ')[2]}"
        return f"{line}; about {roughly(sum(self.seconds.values()))} ({parts})"


def on_mac(
    content: Mapping[str, Any], config: Config, work: Work, load: Load | None, size: int, kind: Chip | None = None,
    dequantised: bool = False,
) -> OnMac:  # fmt: skip
    """Plan a run on a Mac of so many GiB, by default with the least chip that such a Mac has."""
    used = kind or chip(USUAL.get(size, "")) or chip(USUAL[8])
    assert used is not None
    shape = shape_of(content, config, dequantised=dequantised)
    run = PlannedRun(shape, replace(work, is_fused=True), config.activation_cache,
                     budget_of("auto", recommended(size * GIB)), config.gpu_seconds, used.speed)  # fmt: skip
    if not run.fits(run.smallest):
        return OnMac(size, used, None, None, None)
    plan = settle(run)
    spent = None if load is None else seconds(shape, run.work, plan, load, used)
    return OnMac(size, used, predict(shape, run.work, plan).most, plan, spent)


def recipe(
    content: Mapping[str, Any], config: Config, work: Work, load: Load | None, dequantised: bool = False
) -> Iterator[str]:
    """Yield a configuration's lines: what they are, and one a Mac; 4 bits where the base does not fit as it is."""
    yield TITLE
    for size in SIZES:
        mac = on_mac(content, config, work, load, size, dequantised=dequantised)
        line = f"  {mac.in_words()}"
        if mac.peak is None and "quantization" not in content and config.fine_tune_type != "full":
            smaller = on_mac({**content, "quantization": {"bits": 4, "group_size": 64}}, config, work, load, size)
            line += f", a 4-bit base {smaller.in_words().partition(': ')[2]}"
        yield line
