"""A sweep's runs: each arm with each seed is trained once and measured, in processes of their own.

One that fails takes nothing else along. Each leaves its result in the sweep's folder, and what is there is not done
again.
"""

import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, Final

from mlx_trace.config import Config
from mlx_trace.config_file import dump_config, load_config
from mlx_trace.errors import UserError
from mlx_trace.files import read_json, read_text, write_atomically
from mlx_trace.json_text import parse_json
from mlx_trace.run_files import CONFIG_FILE, METRICS_FILE, STATE
from mlx_trace.sweep.file import Measure, Sweep
from mlx_trace.train.interrupt import STOPS

_DONE: Final = "trained.json"
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
        """Refuse a folder in which the arm was begun with another configuration."""
        file = self._results / CONFIG_FILE
        if file.exists() and read_text(file) != dump_config(self.config):
            raise UserError(f"{self.folder}: was begun with another configuration, which {file} holds; "
                            "another --folder keeps both")  # fmt: skip

    def result(self, measure: Measure) -> Path:
        """Return the file of a measurement's counts; its records lie beside it."""
        return self._results / f"{_SLUG.sub('-', str(measure))}.json"

    def train(self, log: Path) -> str | None:
        """Train, or go on; return the line that says why it failed."""
        self._results.mkdir(parents=True, exist_ok=True)
        if (self.folder / STATE).exists():
            command = ["train", "--resume", "--adapter-path", str(self.folder)]
        else:
            file = self._results / CONFIG_FILE
            write_atomically(file, [dump_config(self.config)])
            command = ["train", "-c", str(file), "--overwrite"]
        if (fault := _run(command, log, log)) is not None:
            return fault
        rows = [parse_json(line) for line in read_text(self.folder / METRICS_FILE).splitlines()]
        took = {"updates": len(rows), "tokens": sum(row.get("tokens", 0) for row in rows),
                "seconds": round(sum(row.get("seconds", 0.0) for row in rows), 1)}  # fmt: skip
        write_atomically(self._results / _DONE, [json.dumps(took) + "\n"])
        return None

    def measure(self, measure: Measure, log: Path) -> str | None:
        """Measure what has been trained; return the line that says why it failed."""
        if self.done() is None:
            return "it is not trained"
        file = self.result(measure)
        half = file.with_suffix(".part")
        command = ["eval", "--adapter-path", str(self.folder), *measure.flags(), "--json",
                   "-o", str(file.with_suffix(".jsonl"))]  # fmt: skip
        fault = _run(command, half, log)
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
    if len({run.folder for run in runs}) < len(runs):
        faults.append(f"{file}: two arms would have one folder: name them apart in letters or digits")
    if faults:
        raise UserError(*dict.fromkeys(faults))  # what is wrong for all arms, once
    for run in runs:
        run.check_same()
    return runs


def steps(runs: Sequence[SweepRun], measures: Sequence[Measure]) -> Iterator[tuple[str, Callable[[Path], str | None]]]:
    """Yield what is left to do, each with how it is called; it takes a log, and returns why it failed."""
    for run in runs:
        name = f"{run.arm}, seed {run.seed}"
        if run.done() is None:
            yield f"{name}: training", run.train
        for measure in measures:
            if not run.result(measure).exists():
                yield f"{name}: {measure}", partial(run.measure, measure)


def _run(command: Sequence[str], output: Path, log: Path) -> str | None:
    """Run a command of ours; return the first line that it complains in if it failed.

    Ctrl-C, or what else asks for an end, is passed on, so that it comes once: training saves then; KeyboardInterrupt.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with output.open("a" if output == log else "w", encoding="utf-8") as out, log.open("a", encoding="utf-8") as err:
        begun = err.tell()
        process = subprocess.Popen(
            [sys.executable, "-m", "mlx_trace", *command], stdout=out, stderr=err, start_new_session=True
        )
        with _passing_on(process) as stopped:
            code = process.wait()
    if stopped:
        raise KeyboardInterrupt
    if code == 0:
        return None
    with log.open("rb") as file:
        file.seek(begun)
        said = file.read().decode("utf-8", errors="replace").splitlines()
    return next((line for line in said if line.startswith("mlx-trace")), f"exit code {code}")


@contextmanager
def _passing_on(process: subprocess.Popen[bytes]) -> Iterator[list[int]]:
    """Pass signals that ask for an end on to a process; give those that came."""
    came: list[int] = []

    def pass_on(number: int, _: FrameType | None) -> None:
        came.append(number)
        process.send_signal(number)

    before = {number: signal.signal(number, pass_on) for number in STOPS if signal.getsignal(number) != signal.SIG_IGN}
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
