"""What the trainers share: metrics, checkpoints, stopping, progress.

A trainer supplies phases; a phase does one update at a time and says what it measured. Knows nothing of losses.
"""

import json
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import mlx.core as mx
import mlx.optimizers as optim
from mlx.utils import tree_flatten, tree_unflatten
from pydantic import BaseModel

from mlx_trace.config import Config
from mlx_trace.errors import UserError
from mlx_trace.files import lenient_lines, sync
from mlx_trace.json_text import parse_json
from mlx_trace.model.adapter import ADAPTER_WEIGHTS, adapter_weights
from mlx_trace.model.base import Base
from mlx_trace.notice import tell
from mlx_trace.run_files import BEST, METRICS_FILE, SAMPLES_FILE, STATE
from mlx_trace.seeds import derive_seed
from mlx_trace.train import checkpoint
from mlx_trace.train.checkpoint import Arrays, Checkpoint, check_arrays
from mlx_trace.train.collapse import Collapse
from mlx_trace.train.interrupt import Interrupted, stopping
from mlx_trace.train.metrics import Metrics, verdict
from mlx_trace.train.ranks import Ranks
from mlx_trace.train.run_dir import Hold, describe_adapter
from mlx_trace.train.samples import SavedSample, lines_of, room
from mlx_trace.train.tempo import Tempo
from mlx_trace.train.validation import Validation

Report = Callable[[str, int, int, Metrics], None]  # (phase, updates done, updates in all, what was measured)


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

    @property
    def samples(self) -> Sequence[SavedSample]:
        """Return what the last update sampled, of all ranks, where that is to be saved."""

    def update(self, index: int) -> Metrics:
        """Do update `index`, counted from 0."""

    def state(self) -> dict[str, Any]:
        """Return what besides adapter, optimizer and `arrays` the phase carries from update to update."""

    def arrays(self) -> Arrays:
        """Return the arrays it carries."""

    def restore(self, state: Mapping[str, Any], arrays: Arrays) -> None:
        """Take up what was returned before."""


@dataclass
class Run:
    """A run directory, open for training: adapter, configuration, metrics and state."""

    config: Config
    base: Base
    report: Report
    ranks: Ranks
    hold: Hold | None = None  # of the process that writes
    after_phase: Callable[[str], None] = lambda _: None  # called with a phase's name once it is done and saved
    validation: Validation | None = None
    done: int = 0  # updates of all phases so far
    tempo: Tempo = field(default_factory=Tempo)
    doubts: list[str] = field(default_factory=list)  # what went wrong in phases that are done, on the first rank

    @property
    def path(self) -> Path:
        """Return the run's directory."""
        return self.config.adapter_path

    def train(self, phases: list[Phase], resumed: Checkpoint | None) -> None:
        """Run the phases in order, from where `resumed` stopped; the adapter in the directory is always whole."""
        progress = self._take_up(phases, resumed)
        with stopping() as stop:
            for index, phase in enumerate(phases):
                if progress is not None and index < progress["phase"]:
                    self._judge(phase)
                    continue
                start = progress["index"] if progress is not None and index == progress["phase"] else 0
                self._run_phase(phase, index, start, stop)
                if self.ranks.any(stop()) and phase is not phases[-1]:
                    raise Interrupted

    def _run_phase(self, phase: Phase, number: int, start: int, stop: Callable[[], bool]) -> None:
        collapse = Collapse()
        for row in self._measured(phase.name) if self.ranks.is_first and start else ():
            collapse.note(row)  # what was said before the run was stopped is not said again
        for index in range(start, phase.updates):
            if phase.is_done:
                break
            measured = self._update(phase, index)
            last = index + 1 == phase.updates or phase.is_done
            if self.ranks.is_first:
                self._log(measured, phase, index)
                for line in [*collapse.note(measured), *self.tempo.note(measured)]:
                    tell(line)
                self.report(phase.name, index + 1, phase.updates, measured)
            stopped = self.ranks.any(stop())
            has_improved = phase.has_improved if self.validation is None else bool(measured.get("is_best"))
            if self.ranks.is_first and has_improved:
                self._save_best(phase, last)  # before the checkpoint that knows of it: a kill repeats the update
            if self.ranks.is_first and (stopped or last or (index + 1) % self.config.save_every == 0):
                self._save(phase, number, index + 1)
            if stopped and not last:
                raise Interrupted
        if self.ranks.is_first and phase.name == "sft" and self.config.finish_on_all:
            describe_adapter(self.path, self.base, self.config, knows_all=True)
        self._judge(phase)
        self.after_phase(phase.name)

    def _update(self, phase: Phase, index: int) -> Metrics:
        """Do one update, and what is measured with it; before a run's first one its start is measured as well."""
        start: Metrics = {}
        if self.validation is not None and self.done == 0:
            start = {"val_accuracy_before": self.validation.measure()["val_accuracy"]}
            if self.ranks.is_first:
                self._save_best(phase)
        mx.random.seed(derive_seed("update", self.config.seed, phase.name, index))
        began = time.perf_counter()
        metrics = phase.update(index)
        seconds = round(time.perf_counter() - began, 4)
        self.done += 1
        validated: Metrics = {}
        is_last = index + 1 == phase.updates or phase.is_done
        if self.validation is not None and self.validation.is_due(index + 1, is_last):
            validated = self.validation.measure()
        return {"phase": phase.name, "update": index + 1, **metrics, **start, **validated, "seconds": seconds,
                "peak_memory": mx.get_peak_memory()}  # fmt: skip

    def _judge(self, phase: Phase) -> None:
        """Note what is doubtful of a phase that is done."""
        if self.ranks.is_first and (doubt := verdict(phase.name, self._measured(phase.name))):
            self.doubts.append(doubt)

    # --- state -----------------------------------------------------------------------------------------------

    def _take_up(self, phases: list[Phase], resumed: Checkpoint | None) -> dict[str, Any] | None:
        """Restore adapter, optimizer, phase state and the metrics file as they were at a checkpoint."""
        if resumed is None:
            return None
        progress = resumed.progress
        if progress["phase"] >= len(phases) or progress["index"] > phases[progress["phase"]].updates:
            raise UserError(f"{self.path}: its newest checkpoint stands at update {progress['index']} of phase "
                            f"{progress['phase'] + 1}, which this run does not have")  # fmt: skip
        phase = phases[progress["phase"]]
        self._check_fit(phase, resumed)
        self.base.network.load_weights(list(resumed.adapter.items()), strict=False)
        phase.optimizer.state = tree_unflatten(list(resumed.optimizer.items()))
        state = checkpoint.checked(phase.state_model, progress["state"], self.path / STATE)
        phase.restore(state.model_dump(), resumed.extra)
        self.done = progress["done"]
        if self.ranks.is_first:
            checkpoint.write_arrays(self.path / ADAPTER_WEIGHTS, dict(adapter_weights(self.base.network)))
            _cut(self.path / METRICS_FILE, progress["metrics_bytes"])
            _cut(self.path / SAMPLES_FILE, progress["samples_bytes"])
        if self.validation is not None:
            self.validation.best = progress["best_accuracy"]
        return progress

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
        progress = {
            "phase": number, "index": index, "done": self.done, "state": phase.state(),
            "metrics_bytes": _synced(self.path / METRICS_FILE), "samples_bytes": _synced(self.path / SAMPLES_FILE),
            "best_accuracy": None if self.validation is None else self.validation.best, "versions": versions(),
        }  # fmt: skip
        arrays = dict(tree_flatten(phase.optimizer.state))
        weights = dict(adapter_weights(self.base.network))
        checkpoint.save(self.path, self.done, Checkpoint(weights, arrays, progress, phase.arrays()))
        checkpoint.write_arrays(self.path / ADAPTER_WEIGHTS, weights)

    def _save_best(self, phase: Phase, is_last: bool = False) -> None:
        """Keep the adapter as it is now in a directory of its own, which serves wherever an adapter does."""
        self._check_hold()
        folder = self.path / BEST
        with checkpoint.written_whole(folder):
            folder.mkdir(exist_ok=True)
        knows_all = bool(self.config.finish_on_all) and (phase.name != "sft" or is_last)
        describe_adapter(folder, self.base, self.config, knows_all)
        checkpoint.write_arrays(folder / ADAPTER_WEIGHTS, dict(adapter_weights(self.base.network)))

    def _log(self, metrics: Metrics, phase: Phase, index: int) -> None:
        """Add an update's line to the metrics, and its samples to the samples, as many as there is room for."""
        self._check_hold()
        if phase.samples:
            path, rl = self.path / SAMPLES_FILE, self.config.reinforce
            size = path.stat().st_size if path.exists() else 0
            most = room(size, rl.samples_mb, index, phase.updates, rl.samples_every)
            self._append(path, lines_of(phase.samples, most))
        self._append(self.path / METRICS_FILE, json.dumps(metrics) + "\n")

    def _append(self, path: Path, text: str) -> None:
        with checkpoint.written_whole(path), path.open("a", encoding="utf-8") as file:
            file.write(text)

    def _measured(self, phase: str) -> list[Metrics]:
        """Return all rows of a phase, those before it was stopped too; a file that someone else changed has fewer."""
        path, rows = self.path / METRICS_FILE, []
        for _, line in lenient_lines(path) if path.is_file() else ():
            with suppress(ValueError):
                row = parse_json(line or "")
                rows += [row] if isinstance(row, dict) and row.get("phase") == phase else []
        return rows

    def _check_hold(self) -> None:
        if self.hold is not None:
            self.hold.check()


def _synced(path: Path) -> int:
    """Return the size of a file whose content is on the disk; 0 where there is none, as when someone moved it away."""
    if not path.exists():
        return 0
    with checkpoint.written_whole(path):
        sync(path)
    return path.stat().st_size


def _cut(path: Path, size: int) -> None:
    """Shorten a file, if there is one, to what it was when that was its size."""
    if path.exists():
        with path.open("ab") as file:
            file.truncate(min(size, file.tell()))  # never longer: that would add zeros


def versions() -> dict[str, str]:
    """Return what the result depends on besides data and seed."""
    packages = ("mlx-trace", "mlx", "mlx-lm", "numpy", "transformers")
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "device": str(mx.default_device()),
    } | {name: version(name) for name in packages}
