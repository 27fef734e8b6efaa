"""What the trainers share: the learning-rate schedule, metrics, checkpoints, stopping, progress.

A trainer supplies phases; a phase does one update at a time and says what it measured. Knows nothing of losses.
"""

import json
import math
import platform
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import Any, Final, Protocol

import mlx.core as mx
import mlx.optimizers as optim
from mlx.utils import tree_flatten, tree_unflatten
from pydantic import BaseModel

from mlx_trace.config import Config
from mlx_trace.errors import UserError
from mlx_trace.files import sync
from mlx_trace.model.adapter import ADAPTER_WEIGHTS, adapter_weights
from mlx_trace.model.base import Base
from mlx_trace.notice import tell
from mlx_trace.seeds import derive_seed
from mlx_trace.train import checkpoint
from mlx_trace.train.checkpoint import Arrays, Checkpoint, check_arrays
from mlx_trace.train.ranks import Ranks
from mlx_trace.train.run_dir import BEST, METRICS_FILE, STATE, Hold, describe_adapter

_FEW: Final = 3  # updates whose mean loss says nothing
_STOPS: Final = (signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else []))

Metrics = dict[str, float | int | str]


class Interrupted(Exception):
    """Training was stopped by the user after a finished, saved update."""


class Phase(Protocol):
    """A stage of training, such as SFT: `updates` of them, each deterministic in its index and the state."""

    name: str
    updates: int
    optimizer: optim.Optimizer

    @property
    def state_model(self) -> type[BaseModel]:
        """Return the model of what `state` returns, to check what was read again."""

    @property
    def is_done(self) -> bool:
        """Tell whether the phase wants no more updates, though there are some left."""

    @property
    def has_improved(self) -> bool:
        """Tell whether the last update measured a better adapter than any before it."""

    def update(self, index: int) -> Metrics:
        """Do update `index`, counted from 0."""

    def state(self) -> dict[str, Any]:
        """Return what besides adapter, optimizer and `arrays` the phase carries from update to update."""

    def arrays(self) -> Arrays:
        """Return the arrays it carries."""

    def restore(self, state: Mapping[str, Any], arrays: Arrays) -> None:
        """Take up what was returned before."""


Report = Callable[[str, int, int, Metrics], None]  # (phase, updates done, updates in all, what was measured)


@dataclass
class Run:
    """A run directory, open for training: adapter, configuration, metrics and state."""

    config: Config
    base: Base
    report: Report
    ranks: Ranks
    hold: Hold | None = None  # of the process that writes
    after_phase: Callable[[str], None] = lambda _: None  # called with a phase's name once it is done and saved
    done: int = 0  # updates of all phases so far

    @property
    def path(self) -> Path:
        """Return the run's directory."""
        return self.config.adapter_path

    def train(self, phases: list[Phase], resumed: Checkpoint | None) -> None:
        """Run the phases in order, from where `resumed` stopped; the adapter in the directory is always whole."""
        at = self._take_up(phases, resumed)
        with stopping() as stop:
            for index, phase in enumerate(phases):
                if at is not None and index < at["phase"]:
                    continue
                start = at["index"] if at is not None and index == at["phase"] else 0
                self._run_phase(phase, index, start, stop)
                if self.ranks.any(stop()) and phase is not phases[-1]:
                    raise Interrupted

    def _run_phase(self, phase: Phase, number: int, start: int, stop: Callable[[], bool]) -> None:
        losses: list[float] = []
        norms: list[float] = []
        for index in range(start, phase.updates):
            if phase.is_done:
                break
            mx.random.seed(derive_seed("update", self.config.seed, phase.name, index))
            began = time.perf_counter()
            metrics = phase.update(index)
            self.done += 1
            losses.append(float(metrics.get("loss", 0.0)))
            norms.append(float(metrics.get("grad_norm", 1.0)))
            measured: Metrics = {
                "phase": phase.name, "update": index + 1, **metrics,
                "seconds": round(time.perf_counter() - began, 4), "peak_memory": mx.get_peak_memory(),
            }  # fmt: skip
            last = index + 1 == phase.updates or phase.is_done
            if self.ranks.is_first:
                self._log(measured)
                self.report(phase.name, index + 1, phase.updates, measured)
            stopped = self.ranks.any(stop())
            if self.ranks.is_first and phase.has_improved:
                self._save_best()  # before the checkpoint that knows of it: a kill between the two repeats the update
            if self.ranks.is_first and (stopped or last or (index + 1) % self.config.save_every == 0):
                self._save(phase, number, index + 1)
            if stopped and not last:
                raise Interrupted
        if self.ranks.is_first and (line := verdict(phase.name, losses, norms)):
            tell(line)
        self.after_phase(phase.name)

    # --- state -----------------------------------------------------------------------------------------------

    def _take_up(self, phases: list[Phase], resumed: Checkpoint | None) -> dict[str, Any] | None:
        """Restore adapter, optimizer, phase state and the metrics file as they were at a checkpoint."""
        if resumed is None:
            return None
        at = resumed.progress
        if at["phase"] >= len(phases) or at["index"] > phases[at["phase"]].updates:
            raise UserError(f"{self.path}: its newest checkpoint stands at update {at['index']} of phase "
                            f"{at['phase'] + 1}, which this run does not have")  # fmt: skip
        phase = phases[at["phase"]]
        self._check_fit(phase, resumed)
        self.base.network.load_weights(list(resumed.adapter.items()), strict=False)
        phase.optimizer.state = tree_unflatten(list(resumed.optimizer.items()))
        phase.restore(checkpoint.checked(phase.state_model, at["state"], self.path / STATE).model_dump(), resumed.extra)
        self.done = at["done"]
        if self.ranks.is_first:
            checkpoint.write_arrays(self.path / ADAPTER_WEIGHTS, dict(adapter_weights(self.base.network)))
            with (self.path / METRICS_FILE).open("ab") as file:
                file.truncate(min(at["metrics_bytes"], file.tell()))  # never longer: that would add zeros
        return at

    def _check_fit(self, phase: Phase, resumed: Checkpoint) -> None:
        """Raise UserError unless a checkpoint's arrays are those of this network and optimizer."""
        where, weights = f"{self.path}: its newest checkpoint's", dict(adapter_weights(self.base.network))
        check_arrays(resumed.adapter, weights, f"{where} adapter")
        bare = dict(tree_flatten(phase.optimizer.state))
        if set(resumed.optimizer) != set(bare):  # it has taken a step
            phase.optimizer.init(self.base.network.trainable_parameters())
        check_arrays(resumed.optimizer, dict(tree_flatten(phase.optimizer.state)), f"{where} optimizer")
        if resumed.extra:
            check_arrays(resumed.extra, weights, f"{where} reference")

    def _save(self, phase: Phase, number: int, index: int) -> None:
        self._check_hold()
        metrics = self.path / METRICS_FILE
        with checkpoint.written_whole(metrics):
            metrics.touch()  # someone may have moved it away
            sync(metrics)
        progress = {
            "phase": number, "index": index, "done": self.done, "state": phase.state(),
            "metrics_bytes": metrics.stat().st_size, "versions": versions(),
        }  # fmt: skip
        arrays = dict(tree_flatten(phase.optimizer.state))
        weights = dict(adapter_weights(self.base.network))
        checkpoint.save(self.path, self.done, Checkpoint(weights, arrays, progress, phase.arrays()))
        checkpoint.write_arrays(self.path / ADAPTER_WEIGHTS, weights)

    def _save_best(self) -> None:
        """Keep the adapter as it is now in a directory of its own, which serves wherever an adapter does."""
        self._check_hold()
        folder = self.path / BEST
        with checkpoint.written_whole(folder):
            folder.mkdir(exist_ok=True)
        describe_adapter(folder, self.base, self.config)
        checkpoint.write_arrays(folder / ADAPTER_WEIGHTS, dict(adapter_weights(self.base.network)))

    def _log(self, metrics: Metrics) -> None:
        self._check_hold()
        path = self.path / METRICS_FILE
        with checkpoint.written_whole(path), path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(metrics) + "\n")

    def _check_hold(self) -> None:
        if self.hold is not None:
            self.hold.check()


def verdict(phase: str, losses: Sequence[float], norms: Sequence[float]) -> str | None:
    """Return a line for who trained and learnt nothing; None where that cannot be said, or is not so."""
    tenth = len(losses) // 10
    if norms and not any(norms):
        return f"{phase}: nothing was learnt: every gradient was 0 (in reinforcement, all rewards of each group alike)"
    if phase != "sft" or tenth < _FEW:
        return None
    first, last = sum(losses[:tenth]) / tenth, sum(losses[-tenth:]) / tenth
    if last < first:
        return None
    return (f"sft: the loss did not fall, from {first:.4g} to {last:.4g}: nothing was learnt; "
            "another learning_rate may do")  # fmt: skip


def versions() -> dict[str, str]:
    """Return what the result depends on besides data and seed."""
    packages = ("mlx-trace", "mlx", "mlx-lm", "numpy", "transformers")
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "device": str(mx.default_device()),
    } | {name: version(name) for name in packages}


# --- schedule and stopping -------------------------------------------------------------------------------------


def learning_rate(index: int, updates: int, peak: float, warmup: int, decay: str) -> float:
    """Return the rate of an update: a linear warm-up, then constant, or down to a tenth by cosine or linearly."""
    if index < warmup:
        return peak * (index + 1) / warmup
    done = (index - warmup) / max(1, updates - warmup)
    match decay:
        case "cosine":
            return peak * (0.1 + 0.45 * (1 + math.cos(math.pi * done)))
        case "linear":
            return peak * (1 - 0.9 * done)
    return peak


@contextmanager
def stopping() -> Iterator[Callable[[], bool]]:
    """Turn the first Ctrl-C (or SIGTERM, or a terminal that closes) into a wish to stop after this update.

    A second Ctrl-C or SIGTERM stops at once, as a KeyboardInterrupt, so that the terminal is put in order; a third ends
    the process wherever it is. A closing terminal may say so twice, and says nothing to who started this with nohup.
    """
    wished = False

    def wish(number: int, _: FrameType | None) -> None:
        nonlocal wished
        if wished and number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
            raise KeyboardInterrupt
        if not wished:
            wished = True
            tell("finishing this update; once more stops at once")

    ignored = [number for number in _STOPS[2:] if signal.getsignal(number) == signal.SIG_IGN]
    before = {number: signal.signal(number, wish) for number in _STOPS if number not in ignored}
    try:
        yield lambda: wished
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
