"""A folder in which runs are trained for real: started as processes, watched, and judged by what they leave.

On Linux processes are forked by a server that has imported everything and computed nothing, so that each costs little.
"""

import json
import multiprocessing
import os
import re
import sys
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from random import Random
from typing import Any, Final

import yaml
from safetensors import SafetensorError
from safetensors.numpy import load_file

ROOT: Final = Path(__file__).resolve().parents[2]
KINDS: Final = ("sft", "rl")
UPDATES: Final = 12
LIMIT: Final = 120.0  # seconds that nothing here may take
_MEASURED: Final = ("seconds", "per_second", "peak_memory")  # ends of metrics that differ from run to run
_CHECKPOINT: Final = {"adapter.safetensors", "optimizer.safetensors", "extra.safetensors", "state.json"}
_UPDATE_LINE: Final = re.compile(r"^(sft|rl) \d+/", re.MULTILINE)
_PRELOAD: Final = ["mlx_trace.train.run", "mlx_trace.cli.train", "rich.progress", "rich.table", "tests.conftest",
                   "inflect", "encodings.unicode_escape", "transformers.image_transforms"]  # fmt: skip

Outcome = tuple[bytes, list[dict[str, Any]], bytes]  # the final adapter, the metrics, and the samples


class Lost(Exception):
    """Something that a run must keep was lost."""


def expect(holds: bool, otherwise: str) -> None:
    """Raise Lost unless it holds."""
    if not holds:
        raise Lost(otherwise)


# --- processes -------------------------------------------------------------------------------------------------


def start_server() -> Any:
    """Return the context that processes are started from."""
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    if sys.platform != "linux":  # Apple's frameworks do not survive a fork
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOAD)
    return context


def be_mlx_trace(arguments: list[str], log: str, terminal: str | None) -> None:
    """Be the command, with its output in a file, or on a terminal whose Ctrl-C it gets."""
    if terminal is None:
        output = os.open(log, os.O_WRONLY | os.O_CREAT)
    else:
        os.environ["TERM"] = "xterm"
        os.setsid()  # the first terminal that is opened now is the one this process is controlled from
        output = os.open(terminal, os.O_RDWR)
    for standard in (1, 2):
        os.dup2(output, standard)
    sys.stdout = sys.stderr = os.fdopen(output, "w", buffering=1, encoding="utf-8")
    from mlx_trace.cli.main import main

    sys.exit(main(arguments))


def be_model_writer(folder: str) -> None:
    """Write a small random model."""
    from tests.conftest import byte_level_tokenizer, write_model

    write_model(Path(folder), byte_level_tokenizer())


def seen(process: BaseProcess, sign: Callable[[], bool]) -> bool:
    """Wait until a sign is seen; False if the process ended first."""
    until = time.monotonic() + LIMIT
    while process.exitcode is None:
        if sign():
            return True
        expect(time.monotonic() < until, f"{LIMIT:.0f} s of waiting for nothing")
        time.sleep(0.0002)
    return False


class Lab:
    """A folder with a model and runs."""

    def __init__(self, folder: Path, seed: int = 0) -> None:
        self.folder, self.random, self.context = folder.resolve(), Random(seed), start_server()
        self.seconds: dict[str, float] = {}  # that an uninterrupted run takes
        self._wholes: dict[str, Outcome] = {}
        writer = self.context.Process(target=be_model_writer, args=(str(self.folder / "model"),))
        writer.start()
        expect(self.wait(writer) == 0, "the model could not be written")

    def config(self, kind: str, run: Path) -> Path:
        """Write the configuration of an SFT or RL run."""
        content = {
            "model": str(self.folder / "model"), "adapter_path": str(run), "num_layers": 2, "max_seq_length": 2048,
            "lora_parameters": {"rank": 2, "scale": 2.0}, "learning_rate": 1e-3, "warmup": 2, "lr_decay": "cosine",
            "data": [{"source": "synthetic", "n": 8, "schemas": ["rate_equation"]}], "contamination": [],
            "decoding": {"max_tokens_per_pass": 8},  # narrow passes, and so more of them
            "iters": UPDATES if kind == "sft" else 0, "batch_size": 2, "save_every": 1 if kind == "sft" else 2,
            "reinforce": {"iters": UPDATES if kind == "rl" else 0, "batch_size": 2, "group_size": 2, "max_tokens": 90,
                          "learning_rate": 1e-3, "baseline": "ema", "ema_start": 0.9},
        }  # fmt: skip
        file = self.folder / f"{kind}-{run.name}.yaml"
        file.write_text(yaml.safe_dump(content), encoding="utf-8")
        return file

    def train(self, kind: str, run: Path, *arguments: str, terminal: str | None = None) -> BaseProcess:
        """Start a run, or go on with it if it has begun."""
        began = (run / "config.yaml").exists()
        how = ["--resume", "--adapter-path", str(run)] if began else ["-c", str(self.config(kind, run))]
        self._log(run).unlink(missing_ok=True)
        command = ["train", *(arguments or how)], str(self._log(run)), terminal
        process: BaseProcess = self.context.Process(target=be_mlx_trace, args=command)
        process.start()
        return process

    def told(self, run: Path) -> str:
        """Return what the run's latest process said, nothing if it was killed before it could."""
        log = self._log(run)
        return log.read_text(encoding="utf-8") if log.exists() else ""

    def has_updated(self, run: Path) -> bool:
        """Say whether the run's latest process came to an update."""
        return bool(_UPDATE_LINE.search(self.told(run)))

    def wait(self, process: BaseProcess) -> int:
        """Return the exit code of a process that ends by itself."""
        process.join(LIMIT)
        if process.exitcode is None:
            process.kill()
            raise Lost(f"a process was still there after {LIMIT:.0f} s")
        return process.exitcode

    def finish(self, kind: str, run: Path) -> None:
        """Let a run end, and compare it with one that was left alone."""
        code = self.wait(self.train(kind, run))
        expect(code == 0, f"{run.name}: exit {code}: {self.told(run)}")
        adapter, metrics, samples = self.whole(kind)
        expect((run / "adapters.safetensors").read_bytes() == adapter, f"{run.name}: other bytes than uninterrupted")
        other = [f"update {old['update']}: {key} was {old[key]}, is {new.get(key)}"
                 for old, new in zip(metrics, read_metrics(run), strict=False) for key in old if old[key] != new.get(key)]  # fmt: skip
        same = len(read_metrics(run)) == len(metrics) and not other
        expect(same, f"{run.name}: other metrics than uninterrupted: {'; '.join(other[:3])}")
        expect(read_bytes(run / "samples.jsonl") == samples, f"{run.name}: other samples than uninterrupted")
        expect(not litter(run), f"{run.name}: left behind: {sorted(litter(run))}")

    def whole(self, kind: str) -> Outcome:
        """Return what an uninterrupted run comes to."""
        if kind not in self._wholes:
            run = self.folder / f"whole-{kind}"
            began = time.monotonic()
            code = self.wait(self.train(kind, run))
            expect(code == 0, f"exit {code}: {self.told(run)}")
            self.seconds[kind] = time.monotonic() - began
            samples = read_bytes(run / "samples.jsonl")
            self._wholes[kind] = (run / "adapters.safetensors").read_bytes(), read_metrics(run), samples
        return self._wholes[kind]

    def _log(self, run: Path) -> Path:
        return self.folder / f"{run.name}.log"


# --- what a run's directory holds ------------------------------------------------------------------------------


def read_metrics(run: Path) -> list[dict[str, Any]]:
    """Return what a run measured, without times; until the resume, a kill may leave its last line torn."""
    file = run / "metrics.jsonl"
    lines = file.read_text(encoding="utf-8").split("\n")[:-1] if file.exists() else []
    rows = [json.loads(line) for line in lines]
    return [{k: v for k, v in row.items() if not k.endswith(_MEASURED)} for row in rows]


def read_bytes(file: Path) -> bytes:
    """Return what a file holds, nothing if there is none."""
    return file.read_bytes() if file.exists() else b""


def checkpoints(run: Path) -> list[Path]:
    """Return a run's checkpoints, the newest last."""
    return sorted(path for path in run.glob("state/*") if path.name.isdigit())


def is_whole(checkpoint: Path) -> bool:
    """Say whether a checkpoint has all its files."""
    return {path.name for path in checkpoint.iterdir()} >= _CHECKPOINT


def litter(run: Path) -> set[tuple[str, int]]:
    """Return what was left half written or half removed, with the time it was made."""
    found = [path for path in [*run.glob(".*"), *run.glob("state/*.tmp")] if ".tmp" in path.name]
    found += [path for path in checkpoints(run) if not is_whole(path)]
    return {(path.name, path.stat().st_mtime_ns) for path in found}


def check(run: Path) -> None:
    """Raise Lost unless what is there is whole: the adapter, the newest checkpoint, the metrics."""
    newest = checkpoints(run)[-1:]
    for file in [
        *run.glob("adapters.safetensors"),
        *(file for folder in newest for file in folder.glob("*.safetensors")),
    ]:
        try:
            load_file(file)
        except SafetensorError as error:
            raise Lost(f"{file}: torn: {error}") from None
    expect(all(map(is_whole, newest)), f"{run.name}: the newest checkpoint is not whole")
    try:
        updates = [row["update"] for row in read_metrics(run)]
    except ValueError as error:
        raise Lost(f"{run.name}: a metrics line is torn: {error}") from None
    expect(updates == list(range(1, len(updates) + 1)), f"{run.name}: metrics tell of updates {updates}")


def place(lab: Lab, run: Path) -> str:
    """Return where a kill fell, judged by what it left."""
    adapter, newest = run / "adapters.safetensors", checkpoints(run)[-1:]
    places = {
        "starting up": not run.exists(),
        "beginning the run": not (run / "config.yaml").exists() or not (run / "adapter_config.json").exists(),
        "resuming, or before an update": not lab.has_updated(run),
        "writing a checkpoint": any(run.glob("state/*.tmp")),
        "writing the adapter": any(run.glob(".adapters.tmp*")),
        "removing a checkpoint": len(checkpoints(run)) > 2 or not all(map(is_whole, checkpoints(run))),
        "between checkpoint and adapter": any(not adapter.exists() or adapter.read_bytes() !=
                                              (folder / "adapter.safetensors").read_bytes() for folder in newest),
    }  # fmt: skip
    return next((name for name, holds in places.items() if holds), "in an update")
