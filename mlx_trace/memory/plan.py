"""The plan that fits a budget: how much is learnt from and sampled at once, and where activations are kept.

Takes a network's shape, a run's figures and so many bytes; refuses a run that cannot fit, and says what would: each
piece of advice is planned itself before it is given. Imports no MLX.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from mlx_trace.errors import UserError
from mlx_trace.memory.duration import update_flops
from mlx_trace.memory.predict import MemoryPlan, Peaks, Work, cache_size, predict
from mlx_trace.memory.shape import Shape

GB: Final = 10**9
SHARE: Final = 0.75  # of what the device recommends
_CACHE_SHARE: Final = 0.25  # of what the smallest plan leaves of the budget
_DISK_SHARE: Final = 0.2  # of what is free
_WIDTHS: Final = (64, 48, 32, 24, 16, 12, 8, 6, 4, 3, 2, 1)
_MOST: Final = MemoryPlan().micro_tokens  # more is no faster, and no command is to hold a GPU for long
_RANK: Final = 8

Keep = Literal["auto", "memory", "disk", "off"]


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """A run that is to fit: its network, what it does, where it may keep states, and what it may take."""

    shape: Shape
    work: Work
    keep: Keep
    budget: int
    gpu_seconds: float = 0.0  # most of one evaluation; 0 is no bound
    speed: float = 0.0  # of a GPU for which a display waits, in FLOP/s; 0 where none does

    def fits(self, plan: MemoryPlan) -> bool:
        """Tell whether a plan stays within the budget."""
        return predict(self.shape, self.work, plan).most <= self.budget

    def is_short(self, plan: MemoryPlan) -> bool:
        """Tell whether no evaluation of a plan keeps a display waiting."""
        most = self.gpu_seconds * self.speed
        return not most or update_flops(self.shape, self.work, plan.micro_tokens) <= most

    @property
    def smallest(self) -> MemoryPlan:
        """Return the plan that takes least: one sequence at a time."""
        return MemoryPlan(self.work.longest, 1, self.keep if self.keep != "auto" else "off")


def physical_memory() -> int:
    """Return this machine's memory in bytes, 0 if the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return 0


def device_memory(device: Mapping[str, Any]) -> int:
    """Return a device's memory in bytes, by MLX's info: a Mac's, an NVIDIA GPU's own, or else this machine's."""
    return int(device.get("memory_size") or device.get("total_memory") or physical_memory())


def usable_memory(device: Mapping[str, Any]) -> int:
    """Return what there is to be used: what the device recommends, where it does, or all; `device` is MLX's info."""
    return int(device.get("max_recommended_working_set_size") or device_memory(device))


def budget_of(memory: float | Literal["auto"], usable: int) -> int:
    """Return the bytes that a configuration's `memory` allows; where nothing is known, auto allows all."""
    if memory == "auto":
        return int(SHARE * usable) or 1 << 62
    return int(memory * GB)


def settle(run: PlannedRun, free_disk: int = 0, usable: int = 0) -> MemoryPlan:
    """Return the plan for a run; UserError if it cannot fit, with what would, up to `usable` bytes."""
    if not run.fits(run.smallest):
        raise UserError(*_refusal(run, usable))
    plan = replace(run.smallest, activation_cache=_cache(run, free_disk) if run.keep == "auto" else run.keep)
    plan = next(wider for width in _widths(run.work) if run.fits(wider := replace(plan, max_sequences=width)))
    larger = (replace(plan, micro_tokens=tokens) for tokens in _micro_batches(run.work))
    return next((candidate for candidate in larger if run.fits(candidate) and run.is_short(candidate)), plan)


def _widths(work: Work) -> Iterator[int]:
    """Yield how many replies may be sampled at once, many first: no more than a rollout has."""
    most = min(_WIDTHS[0], work.rollouts.prompts * work.rollouts.group) if work.rollouts else _WIDTHS[0]
    yield most
    yield from (width for width in _WIDTHS if width < most)


def _micro_batches(work: Work) -> Iterator[int]:
    """Yield sizes of micro-batches, large ones first: a whole number of the longest sequences."""
    if work.longest < _MOST:
        yield _MOST
        yield from (rows * work.longest for rows in range(_MOST // work.longest, 1, -1))


def _cache(run: PlannedRun, free_disk: int) -> Literal["memory", "disk", "off"]:
    """Return where the frozen layers' activations are kept: nowhere if not needed twice, or if there are none."""
    examples = run.work.examples
    if examples is None or not (examples.has_phase and examples.repeats and run.shape.has_frozen_layers):
        return "off"
    size = cache_size(run.shape, run.work)
    spare = run.budget - predict(run.shape, run.work, run.smallest).most
    if size <= _CACHE_SHARE * spare and run.fits(replace(run.smallest, activation_cache="memory")):
        return "memory"
    return "disk" if size <= _DISK_SHARE * free_disk else "off"


# --- refusal ---------------------------------------------------------------------------------------------------

Change = tuple[str, PlannedRun]  # what to do, and the run that it makes


def _refusal(run: PlannedRun, usable: int) -> list[str]:
    peaks = predict(run.shape, run.work, run.smallest)
    lines = [f"memory: this run needs {gigabytes(peaks.most)}, one sequence at a time ({_phases(peaks)}), and may take "
             f"{gigabytes(run.budget)}"]  # fmt: skip
    single = [text for change in _CHANGES if (text := _first_fit(change(run, usable)))]
    if single:
        return [*lines, *(f"it fits with {text}" for text in single)]
    together = _together(run, usable)
    if together:
        return [*lines, f"it fits with {', '.join(together)}, all together"]
    return [*lines, "no setting makes it fit; a smaller model would, or a machine with more memory"]


def _first_fit(change: Iterator[Change]) -> str | None:
    return next((text for text, changed in change if changed.fits(changed.smallest)), None)


def _together(run: PlannedRun, usable: int) -> list[str]:
    """Return changes that make a run fit when each is made as far as it goes; none if they do not."""
    made: list[str] = []
    for change in _CHANGES:
        steps = list(change(run, usable))
        if text := _first_fit(iter(steps)):
            return [*made, text]
        if steps:
            text, run = steps[-1]
            made.append(text)
    return []


def _raised(run: PlannedRun, usable: int) -> Iterator[Change]:
    need = -(-predict(run.shape, run.work, run.smallest).most // (GB // 10)) / 10
    if need * GB <= usable:
        yield f"memory: {need:g} (there are {gigabytes(usable)} in all)", replace(run, budget=int(need * GB))


def _moved_cache(run: PlannedRun, _: int) -> Iterator[Change]:
    if run.keep == "memory":
        yield "activation_cache: disk", replace(run, keep="disk")


def _adapted(run: PlannedRun, _: int) -> Iterator[Change]:
    if not run.shape.rank:
        yield "fine_tune_type: lora", replace(run, shape=run.shape.adapted(_RANK))


def _recomputed(run: PlannedRun, _: int) -> Iterator[Change]:
    if not run.shape.recompute:
        yield "grad_checkpoint: true", replace(run, shape=replace(run.shape, recompute=True))


def _fewer_layers(run: PlannedRun, _: int) -> Iterator[Change]:
    for layers in range(run.shape.trained_layers - 1, 0, -1):
        yield f"num_layers: {layers}", replace(run, shape=replace(run.shape, trained_layers=layers))


def _quantised(run: PlannedRun, _: int) -> Iterator[Change]:
    if not run.shape.is_quantised:
        yield "a 4-bit base", replace(run, shape=run.shape.quantised())


def _shorter_replies(run: PlannedRun, _: int) -> Iterator[Change]:
    if rollouts := run.work.rollouts:
        for reply in range(rollouts.reply // 20 * 20 - 20, 79, -20):
            yield f"reinforce.max_tokens: {reply}", _with(run, rollouts=replace(rollouts, reply=reply))


def _fewer_prompts(run: PlannedRun, _: int) -> Iterator[Change]:
    if rollouts := run.work.rollouts:
        for prompts in range(rollouts.prompts - 1, 0, -1):
            yield f"reinforce.batch_size: {prompts}", _with(run, rollouts=replace(rollouts, prompts=prompts))


def _shorter_examples(run: PlannedRun, _: int) -> Iterator[Change]:
    if examples := run.work.examples:
        for longest in range(examples.longest - 16, examples.shared + 64, -16):
            text = f"no example longer than {longest + 1} tokens (the longest has {examples.longest + 1})"
            target = min(examples.target, longest - examples.shared)
            yield text, _with(run, examples=replace(examples, longest=longest, target=target))


_CHANGES: Final[tuple[Callable[[PlannedRun, int], Iterator[Change]], ...]] = (
    _moved_cache, _adapted, _recomputed, _fewer_layers, _shorter_replies, _fewer_prompts, _quantised, _shorter_examples,
    _raised,
)  # fmt: skip


def _with(run: PlannedRun, **changes: Any) -> PlannedRun:
    return replace(run, work=replace(run.work, **changes))


# --- in words --------------------------------------------------------------------------------------------------


def gigabytes(size: float) -> str:
    """Return a size in units of a thousand million bytes, in three digits; small ones in millions."""
    amount = size / GB
    if amount < 0.1:
        return f"{size / 1e6:.0f} MB"
    return f"{amount:.{0 if amount >= 99.5 else 1 if amount >= 9.95 else 2}f} GB"


def _phases(peaks: Peaks) -> str:
    parts = {"SFT": peaks.sft, "rollouts": peaks.rollout, "learning from them": peaks.learning}
    return ", ".join(f"{name} {gigabytes(size)}" for name, size in parts.items() if size)


def describe(run: PlannedRun, plan: MemoryPlan) -> list[str]:
    """Return a plan in lines: what it takes of the budget and in which phase, and what is done at once."""
    peaks = predict(run.shape, run.work, plan)
    lines = [f"memory: about {gigabytes(peaks.most)} of {gigabytes(run.budget)} at the peak ({_phases(peaks)})"]
    at_once = [f"micro-batches of {plan.micro_tokens:,} tokens"]
    if run.work.rollouts:
        at_once.append(f"{plan.max_sequences} replies sampled at once")
    if run.work.examples and run.work.examples.has_phase:
        size = f", {gigabytes(cache_size(run.shape, run.work))}" if plan.activation_cache != "off" else ""
        at_once.append(f"activation cache {plan.activation_cache}{size}")
    lines.append("; ".join(at_once))
    if not run.is_short(plan):
        spent = update_flops(run.shape, run.work, plan.micro_tokens) / run.speed
        lines.append(f"one sequence alone keeps the GPU busy for {spent:.1f} s, as computed, and gpu_seconds is "
                     f"{run.gpu_seconds:g}: the display may stutter; fewer num_layers would do")  # fmt: skip
    return lines
