"""A sweep's runs: each arm with each seed is trained once and measured, in processes of their own.

One that fails takes nothing else along. Each leaves its result in the sweep's folder, and what is there is not done
again.
"""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from mlx_trace.config import Config
from mlx_trace.config_file import dump_config, load_config
from mlx_trace.errors import UserError
from mlx_trace.files import read_json, read_text, write_atomically
from mlx_trace.json_text import parse_json
from mlx_trace.run_files import CONFIG_FILE, METRICS_FILE, STATE
from mlx_trace.sweep.file import Measure, Sweep
from mlx_trace.sweep.processes import SweepLog, run_command

_DONE: Final = "trained.json"
Step = tuple[str, Callable[[SweepLog], str | None]]  # what is done, and how: it returns why it failed
_SLUG: Final = re.compile(r"[^A-Za-z0-9._=-]+")


@dataclass(frozen=True)
class SweepRun:
    """One arm with one seed: its configuration, whose `adapter_path` is its folder."""

    arm: str
    seed: int
    config: Config

    @property
    def folder(self) -> Path:
        """Return where the run and what was measured of it are."""
        return self.config.adapter_path

    @property
    def _results(self) -> Path:
        return self.folder.with_name(f"{self.folder.name}.results")

    def done(self) -> dict[str, Any] | None:
        """Return what training took, if it has ended."""
        file = self._results / _DONE
        return read_json(file) if file.exists() else None

    def check_same(self) -> None:
        """Refuse a folder in which the arm was begun with another configuration, or that holds something else."""
        if not (self._results.exists() or self.folder.exists()):
            return
        from mlx_trace.train.resuming import changes
        from mlx_trace.train.run_dir import check_new, read_run_config

        for folder in (self._results, self.folder):
            if not (folder / CONFIG_FILE).is_file():
                continue
            begun = read_run_config(folder).model_copy(update={"adapter_path": self.folder})  # it may have been moved
            if differs := list(changes(begun.model_dump(mode="json"), self.config.model_dump(mode="json"))):
                raise UserError(f"{self.folder}: was begun with another configuration, which {folder / CONFIG_FILE} "
                                "holds; another --folder keeps both. What is not as it was:", *differs)  # fmt: skip
        check_new(self.folder, overwrite=True)

    def result(self, measure: Measure) -> Path:
        """Return the file of a measurement's counts; its records lie beside it."""
        return self._results / f"{_SLUG.sub('-', str(measure))}.json"

    def is_measured(self, measure: Measure) -> bool:
        """Tell whether a measurement is there, and of this file: another folder's may have the same name."""
        file = self.result(measure)
        content = read_json(file) if file.exists() else None
        return isinstance(content, dict) and content.get("data") == measure.data

    def train(self, log: SweepLog) -> str | None:
        """Train, or go on; return the line that says why it failed."""
        self._results.mkdir(parents=True, exist_ok=True)
        if (self.folder / STATE).exists() and (self.folder / CONFIG_FILE).exists():
            command = ["train", "--resume", "--adapter-path", str(self.folder)]
        else:  # it is new, or ended before its first file was whole
            file = self._results / CONFIG_FILE
            write_atomically(file, [dump_config(self.config)])
            command = ["train", "-c", str(file), "--overwrite"]
        if (fault := run_command(command, log)) is not None:
            return fault
        rows = [parse_json(line) for line in read_text(self.folder / METRICS_FILE).splitlines()]
        took = {"updates": len(rows), "tokens": sum(row.get("tokens", 0) for row in rows),
                "seconds": round(sum(row.get("seconds", 0.0) for row in rows), 1)}  # fmt: skip
        write_atomically(self._results / _DONE, [json.dumps(took) + "\n"])
        return None

    def measure(self, measure: Measure, log: SweepLog) -> str | None:
        """Measure what has been trained; return the line that says why it failed."""
        if self.done() is None:
            return "it is not trained"
        file = self.result(measure)
        half = file.with_suffix(".part")
        command = ["eval", "--adapter-path", str(self.folder), *measure.flags(), "--json",
                   "-o", str(file.with_suffix(".jsonl"))]  # fmt: skip
        file.unlink(missing_ok=True)  # of other data than its records are now
        fault = run_command(command, log, half)
        if fault is None:
            half.replace(file)
        return fault


def runs_of(content: Sweep, file: Path, folder: Path) -> list[SweepRun]:
    """Return every arm with every seed; UserError if a configuration is wrong, or two folders would be one."""
    runs: list[SweepRun] = []
    faults: list[str] = []
    for arm, (base, change) in content.changes().items():
        for seed in content.seeds:
            path = folder / f"{_SLUG.sub('-', arm)}-{seed}"
            settings = {**content.set, **change, "seed": seed, "adapter_path": str(path)}
            try:
                origin = partial(content.origin, arm, seed)
                runs.append(SweepRun(arm, seed, load_config(base, settings, as_flags=False, origin=origin)))
            except UserError as error:
                faults += error.faults
                break
    if len({str(run.folder).casefold() for run in runs}) < len(runs):
        faults.append(f"{file}: two arms would have one folder (A and a are one name on a Mac's disk): name them apart "
                      "in letters or digits")  # fmt: skip
    if faults:
        raise UserError(*dict.fromkeys(faults))  # what is wrong for all arms, once
    for run in runs:
        try:
            run.check_same()
        except UserError as error:
            faults += error.faults
    if faults:
        raise UserError(*faults)
    return runs


def steps(runs: Sequence[SweepRun], measures: Sequence[Measure]) -> Iterator[Step]:
    """Yield what is left to do, in order, as it stands when its turn comes."""
    for run in runs:
        name = f"{run.arm}, seed {run.seed}"
        if run.done() is None:
            yield f"{name}: training", run.train
        for measure in measures:
            if not run.is_measured(measure):
                yield f"{name}: {measure}", partial(run.measure, measure)
