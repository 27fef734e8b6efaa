"""A sweep: one configuration, changed in several ways, each trained with several seeds and measured alike.

A file names the base, the arms and what to measure. Every run and every measurement is a process of its own, so that
one that fails takes nothing else along, and leaves its result in the sweep's folder; what is there is not done again.
"""

import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, partial
from itertools import product
from pathlib import Path
from statistics import fmean
from types import FrameType
from typing import Annotated, Any, Final, Literal, Self

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from mlx_trace.config import Config, unquoted_off
from mlx_trace.config_file import dump_config, find_config, load_config
from mlx_trace.errors import UserError
from mlx_trace.evaluate.stats import Mean, mean_interval, sign_test
from mlx_trace.faults import faults_of
from mlx_trace.files import read_json, read_text, read_yaml, write_atomically
from mlx_trace.train.interrupt import STOPS
from mlx_trace.train.run_dir import CONFIG_FILE, METRICS_FILE, STATE

TABLE: Final = "table.md"
_DONE: Final = "trained.json"
_SLUG: Final = re.compile(r"[^A-Za-z0-9._=-]+")


class Measure(BaseModel):
    """A set that every run is measured on, with the flags of `mlx-trace eval`; `gold_loss` measures that instead."""

    model_config = ConfigDict(extra="forbid", strict=True)

    data: str
    n: int | None = Field(None, ge=1)
    gold_loss: bool = False
    constraint: Literal["scope", "none"] = "scope"
    grounding: Annotated[Literal["hard", "off"], BeforeValidator(unquoted_off)] = "hard"
    rules: Annotated[str, BeforeValidator(unquoted_off)] = "all"
    max_tokens: int = Field(400, ge=1)
    samples: int = Field(1, ge=1)
    temperature: float | None = Field(None, ge=0)
    batch_size: int = Field(64, ge=1)

    def flags(self) -> list[str]:
        """Return the flags of eval that say so."""
        told = self.model_dump(exclude={"gold_loss"}, exclude_none=True)
        flags = [
            part
            for name, value in told.items()
            for part in ("-n" if name == "n" else f"--{name.replace('_', '-')}", str(value))
        ]
        return flags + ["--gold-loss"] * self.gold_loss

    def __str__(self) -> str:
        own = self.model_dump(exclude={"data", "gold_loss"}, exclude_defaults=True, exclude_none=True)
        name = Path(self.data).stem + (", gold loss" if self.gold_loss else "")
        return name + "".join(f", {key} {value}" for key, value in own.items())


class SweepFile(BaseModel):
    """What is compared: `arms` by name, or every combination of what `grid` lists, over `base` and `set`."""

    model_config = ConfigDict(extra="forbid", strict=True)

    base: str
    set: dict[str, Any] = Field(default_factory=dict)
    arms: dict[str, dict[str, Any]] = Field(default_factory=dict)
    grid: dict[str, list[Any]] = Field(default_factory=dict)
    seeds: list[int] = Field(default_factory=lambda: [0], min_length=1)
    measure: list[Measure] = Field(min_length=1)

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if bool(self.arms) == bool(self.grid):
            raise ValueError("give arms (names with changes) or grid (keys with lists of values)")
        if any(not values for values in self.grid.values()):
            raise ValueError("grid: a key has no values")
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError("seeds: one is given twice")
        if len(set(map(str, self.measure))) < len(self.measure):
            raise ValueError("measure: one is given twice")
        return self

    def changes(self) -> dict[str, dict[str, Any]]:
        """Return what each arm changes, by its name."""
        if self.arms:
            return self.arms
        drawn = [dict(zip(self.grid, values, strict=True)) for values in product(*self.grid.values())]
        return {", ".join(f"{key} {_brief(value)}" for key, value in change.items()): change for change in drawn}


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
        rows = [json.loads(line) for line in read_text(self.folder / METRICS_FILE).splitlines()]
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


class Sweep:
    """A sweep file with its folder: which runs there are, what is left to do, and what came out."""

    def __init__(self, file: Path, folder: Path) -> None:
        content = read_yaml(read_text(file), str(file))
        if not isinstance(content, dict):
            raise UserError(f"{file}: is no sweep: keys such as base, arms and measure, with their values")
        try:
            self.content = SweepFile.model_validate(content)
        except ValidationError as error:
            raise UserError(*faults_of(error, str(file))) from None
        self.file, self.folder = file, folder

    def runs(self) -> list[SweepRun]:
        """Return every arm with every seed; UserError if a configuration is wrong, or two folders would be one."""
        base, runs, faults = find_config(self.content.base), [], []
        for arm, change in self.content.changes().items():
            for seed in self.content.seeds:
                path = self.folder / f"{_SLUG.sub('-', arm)}-{seed}"
                settings = {**self.content.set, **change, "seed": seed, "adapter_path": str(path)}
                try:
                    runs.append(SweepRun(arm, seed, load_config(base, settings)))
                except UserError as error:
                    faults += [f"{self.file}: {arm}: {fault}" for fault in error.faults]
                    break
        if faults:
            raise UserError(*faults)
        for run in runs:
            run.check_same()
        if len({run.folder for run in runs}) < len(runs):
            raise UserError(f"{self.file}: two arms would have one folder: name them apart in letters or digits")
        return runs

    def steps(self, runs: Sequence[SweepRun]) -> Iterator[tuple[str, Callable[[Path], str | None]]]:
        """Yield what is left to do, each with how it is called; it takes a log, and returns why it failed."""
        for run in runs:
            name = f"{run.arm}, seed {run.seed}"
            if run.done() is None:
                yield f"{name}: training", run.train
            for measure in self.content.measure:
                if not run.result(measure).exists():
                    yield f"{name}: {measure}", partial(run.measure, measure)

    def outcomes(self, runs: Sequence[SweepRun]) -> list["Outcome"]:
        """Return what came out, an arm each, the first to be compared with."""
        arms = dict.fromkeys(run.arm for run in runs)
        return [Outcome(arm, [run for run in runs if run.arm == arm], self.content.measure) for arm in arms]


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


# --- what came out ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Outcome:
    """An arm's runs, and what was measured of them, a problem by a problem."""

    arm: str
    runs: Sequence[SweepRun]
    measures: Sequence[Measure]

    @cached_property
    def took(self) -> dict[str, float]:
        """Return the mean updates, tokens and seconds of the runs that are done; nothing if none is."""
        done = [took for run in self.runs if (took := run.done()) is not None]
        return {key: fmean(took[key] for took in done) for key in done[0]} if done else {}

    def seeds(self, number: int) -> int:
        """Return how many runs were measured on a set."""
        return sum(run.result(self.measures[number]).exists() for run in self.runs)

    def scores(self, number: int) -> dict[str, Fraction]:
        """Return the mean score over seeds by problem: 1 if it is right, or the mean loss of what decides."""
        found: dict[str, list[Fraction]] = {}
        for run in self.runs:
            if (file := run.result(self.measures[number])).exists():
                for line in read_text(file.with_suffix(".jsonl")).splitlines():
                    row = json.loads(line)
                    found.setdefault(row["id"], []).append(Fraction(_score(row)))
        return {name: sum(scores, Fraction()) / len(scores) for name, scores in found.items()}

    def cell(self, number: int) -> str:
        """Return the mean with its 95% interval over problems, and n; a dash if nothing was measured."""
        scores = list(self.scores(number).values())
        if not scores:
            return "–"
        if self.measures[number].gold_loss:
            mean, low, high = mean_interval(list(map(float, scores)))
            return f"{mean:.3f} [{low:.3f}, {high:.3f}]"
        return Mean.of(scores).brief()

    def against(self, first: "Outcome", number: int) -> str:
        """Return how it differs from another arm on the problems that both were measured on."""
        own, other = self.scores(number), first.scores(number)
        both = [(float(other[name]), float(own[name])) for name in own if name in other]
        if not both:
            return "–"
        if self.measures[number].gold_loss:
            mean, low, high = mean_interval([after - before for before, after in both])
            return f"{mean:+.3f} [{low:+.3f}, {high:+.3f}]"
        better, worse = (sum(after > before for before, after in both), sum(after < before for before, after in both))
        return f"+{better} −{worse}, p = {sign_test(better, worse):.2g}"


def _score(row: Mapping[str, Any]) -> float:
    """Return one record's score: of a vote, whether the vote is right."""
    if "losses" in row:
        losses = [loss for kind, own in row["losses"].items() if not kind.endswith(": spelled") for loss in own]
        return fmean(losses) if losses else 0.0
    return float(row["correct"])


def table(outcomes: Sequence[Outcome]) -> tuple[list[str], list[list[str]]]:
    """Return the headings and a row an arm: what training took, each measurement, and how it differs from the first."""
    first = outcomes[0]
    headings = ["", "seeds", "updates", "tokens", "minutes"]
    for number, measure in enumerate(first.measures):
        headings += [f"{measure} (n {len(first.scores(number))})", f"against {first.arm}"]
    rows = []
    for outcome in outcomes:
        took = outcome.took
        row = [outcome.arm, str(max(outcome.seeds(number) for number in range(len(outcome.measures))))]
        row += [f"{took[key]:,.0f}" if took else "–" for key in ("updates", "tokens")]
        row.append(f"{took['seconds'] / 60:.1f}" if took else "–")
        for number in range(len(outcome.measures)):
            row += [outcome.cell(number), "" if outcome is first else outcome.against(first, number)]
        rows.append(row)
    return headings, rows


def markdown(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return a table as lines of Markdown."""
    lines = [headings, ["---"] * len(headings), *rows]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines]


def _brief(value: Any) -> str:
    return yaml.safe_dump(value, default_flow_style=True, width=1000).strip().removesuffix("...").strip()
