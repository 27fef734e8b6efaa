"""What a Mac makes of mlx-trace, in ten minutes and one text to paste back: make mac-check, or

python eval/mac_check.py [--model smollm2-135m]

Versions, speed, memory predicted and measured, and a short SFT, reinforcement and evaluation. It says no names, paths
and tokens; a step that fails says its last line, and the others go on. Without a GPU the bundled tiny model does it.
"""

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

import mlx_trace.model  # before MLX: it loads OpenBLAS where that is wanted

import mlx.core as mx  # isort: skip

from mlx_trace.config_file import find_config, load_config
from mlx_trace.memory.macs import chip_of
from mlx_trace.memory.plan import budget_of, device_memory, gigabytes, usable_memory
from mlx_trace.model.bursts import burst_of, device_info, display_speed
from mlx_trace.notice import safe

assert mlx_trace.model is not None
PACKAGES: Final = ("mlx-trace", "mlx", "mlx-metal", "mlx-lm", "numpy", "transformers")
LIMIT: Final = 240  # seconds of a step
SECONDS: Final = 1.0  # that a speed is measured for
_SECRET: Final = re.compile(r"\b(hf_|sk-|ghp_)[A-Za-z0-9]+")
_PATH: Final = re.compile(r"(?<![\w/])(?:/[\w.@ -]+){2,}/?")


def anonymous(text: str) -> str:
    """Return text without tokens, paths, and the names of who runs it and of the machine."""
    text = _PATH.sub("PATH", _SECRET.sub("TOKEN", safe(text)))
    names = {os.environ.get("USER", ""), os.environ.get("LOGNAME", ""), Path.home().name, platform.node(),
             platform.node().partition(".")[0]}  # fmt: skip
    for name in sorted((name for name in names if len(name) > 1), key=len, reverse=True):
        text = re.sub(rf"\b{re.escape(name)}\b", "NAME", text)
    return text


def machine() -> Iterator[str]:
    """Yield what this machine is."""
    info = device_info()
    system = f"macOS {platform.mac_ver()[0]}" if sys.platform == "darwin" else platform.system()
    yield f"system: {system}, {platform.machine()}, Python {platform.python_version()}"
    yield "packages: " + ", ".join(f"{name} {_version(name)}" for name in PACKAGES)
    kind = "GPU" if mx.default_device().type == mx.gpu else "CPU"
    yield f"device: {kind} {info.get('device_name', '')}; metal {mx.metal.is_available()}"
    total, usable = device_memory(info), usable_memory(info)
    yield f"memory: {gigabytes(total)}, usable {gigabytes(usable)}, planned {gigabytes(budget_of('auto', usable))}"
    known = f"{chip_of(info).name}, {chip_of(info).speed / 1e12:.2f} TFLOP/s" if display_speed() else "no Mac's GPU"
    yield f"as computed: {known}"


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "none"


def speed() -> Iterator[str]:
    """Yield what matrix products and a plain copy come to."""
    for dtype in (mx.float32, mx.bfloat16) if mx.metal.is_available() else (mx.float32,):
        for tokens, before, after in ((2048, 576, 1536), (2048, 2048, 8192))[: 1 + mx.metal.is_available()]:
            left, right = mx.ones((tokens, before), dtype=dtype), mx.ones((before, after), dtype=dtype)
            each = _timed(lambda left=left, right=right: mx.eval(left @ right))
            name = str(dtype).removeprefix("mlx.core.")
            flops = 2 * tokens * before * after
            yield f"matmul {tokens} x {before} x {after} {name}: {flops / each / 1e9:,.0f} GFLOP/s"
    array = mx.ones((1 << 25,), dtype=mx.float32)
    mx.eval(array)
    yield f"copy: {2 * array.nbytes / _timed(lambda: mx.eval(array + 1)) / 1e9:.3g} GB/s"


def _timed(work: Callable[[], object]) -> float:
    """Return the seconds of a call, the fastest of what there is time for."""
    work()
    best, began = float("inf"), time.perf_counter()
    while time.perf_counter() - began < SECONDS:
        start = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - start)
    return best


def run(model: str, folder: Path, iters: int, rollouts: int) -> Iterator[str]:
    """Yield what a short run of a model takes beside what was planned, and what it then answers."""
    config = load_config(find_config("tiny" if model == "tiny" else model), {})
    size = {"--iters": iters, "--reinforce.iters": rollouts, "--warmup": 2, "--finish-on-all": 0,
            "--reinforce.batch-size": 2, "--reinforce.max-tokens": 220,
            "--data": "[{source: synthetic, n: 400}]", "--contamination": "[]"}  # fmt: skip
    flags = [str(part) for pair in size.items() for part in pair]
    code, text = command("train", "-c", "tiny" if model == "tiny" else model, *flags, "--adapter-path", str(folder))
    yield from (f"  {line}" for line in text if line.startswith(("memory:", "micro-batches", "one sequence")))
    if code:
        yield f"training failed ({code}): {text[-1] if text else 'it said nothing'}"
    metrics = folder / "metrics.jsonl"
    lines = metrics.read_text(encoding="utf-8").splitlines() if metrics.is_file() else []
    yield from (f"  {line}" for line in measured([json.loads(line) for line in lines if line.endswith("}")]))
    if code:
        return
    code, text = command("eval", "--adapter-path", str(folder), "--data", "everyday", "-n", "10", "--max-tokens", "200",
                         "--batch-size", "10", "--json")  # fmt: skip
    found = json.loads(text[-1]) if not code and text and text[-1].startswith("{") else {}
    right = found.get("correct", {})
    yield f"  eval: {json.dumps(right) if right else (text[-1] if text else 'nothing')}"
    yield f"  gpu_seconds {config.gpu_seconds:g}"


def measured(rows: list[dict[str, Any]]) -> Iterator[str]:
    """Yield what a run's metrics say, phase by phase."""
    for phase in dict.fromkeys(row["phase"] for row in rows):
        own = [row for row in rows if row["phase"] == phase]
        each = sorted(row["seconds"] for row in own)[len(own) // 2]
        peak = gigabytes(max(row["peak_memory"] for row in own))
        speeds = {name: [row[f"{name}_tokens_per_second"] for row in own if f"{name}_tokens_per_second" in row]
                  for name in ("learn", "rollout")}  # fmt: skip
        told = ", ".join(
            f"{name} {sum(values) / len(values):,.0f} tokens/s" for name, values in speeds.items() if values
        )
        name = "loss" if phase == "sft" else "reward"
        ends = f"{name} {own[0][name]:.3f} to {own[-1][name]:.3f}"
        yield f"{phase}: {len(own)} updates, {each:.2f} s in the median, {told}; measured peak {peak}; {ends}"


def command(*arguments: str) -> tuple[int, list[str]]:
    """Run a command of mlx-trace; return its exit code and what it said."""
    try:
        done = subprocess.run([sys.executable, "-m", "mlx_trace", *arguments], capture_output=True, text=True,
                              timeout=LIMIT, check=False, errors="replace")  # fmt: skip
    except subprocess.TimeoutExpired:
        return 124, [f"took longer than {LIMIT} s"]
    return done.returncode, (done.stderr + done.stdout).strip().splitlines()


def bursts(network_name: str) -> Iterator[str]:
    """Yield how much the GPU is given at once, for a network of the given name."""
    from mlx_trace.model.base import load_base

    burst = burst_of(load_base(network_name).network, 2.0)
    yield f"a burst: {'no bound, as no display waits' if burst is None else f'{burst:,} tokens of a layer'}"


def main() -> None:
    """Print the text."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    usual = "smollm2-135m" if mx.metal.is_available() else "tiny"
    parser.add_argument(
        "--model", default=usual, help="which model, by the name of its configuration (default %(default)s)"
    )
    options = parser.parse_args()
    began = time.perf_counter()
    print("```\nmlx-trace mac-check")
    with tempfile.TemporaryDirectory() as folder:
        updates = 20 if mx.metal.is_available() else 6
        steps = [machine(), speed(), iter(["tiny:"]), bursts("tiny"), run("tiny", Path(folder) / "tiny", updates, 2)]
        if options.model != "tiny":
            steps += [iter([f"{options.model}:"]), run(options.model, Path(folder) / "other", 20, 2)]
        for step in steps:
            for line in step:
                print(anonymous(line), flush=True)
    print(f"took {(time.perf_counter() - began) / 60:.1f} min\n```")


if __name__ == "__main__":
    main()
