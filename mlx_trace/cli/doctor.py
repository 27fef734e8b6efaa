"""`mlx-trace doctor`: what this machine has, what to do about what it lacks, and which models it has and can train."""

import argparse
import platform
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

from rich.table import Column, Table

from mlx_trace.blas import INSTALL, is_wanted, kernels, load_openblas
from mlx_trace.cli.memory import Machine, planned_model, settle_on, this_machine
from mlx_trace.cli.output import show_json
from mlx_trace.cli.screen import Screen
from mlx_trace.errors import UserError
from mlx_trace.memory.macs import GIB
from mlx_trace.memory.plan import budget_of, device_memory, gigabytes
from mlx_trace.model.inventory import Found, models, others_in_hub_cache
from mlx_trace.model.named import megabytes

_PACKAGES: Final = ("mlx-trace", "mlx", "mlx-lm", "numpy", "transformers", "huggingface_hub")
_LEAST_FREE: Final = 5 * GIB  # a 1B model in bf16, its cache copy and a run's checkpoints


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the report; `advice` says what to do, where something is to be done."""

    name: str
    value: str
    advice: str = ""


def add_doctor_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run_doctor(options: argparse.Namespace) -> int:
    findings = list(examine())
    machine = this_machine()
    trained = [Trained(model, *_peak(model, machine)) for model in models()]
    if options.json:
        report = {finding.name: {"value": finding.value, "advice": finding.advice or None} for finding in findings}
        show_json(report | {"models": {"value": [row.row() for row in trained], "advice": None}})
        return 0
    console = Screen(soft_wrap=True)
    for finding in findings:
        console.print(f"{'!' if finding.advice else '✓'} {finding.name:<9} {finding.value}", markup=False,
                      style="yellow" if finding.advice else "")  # fmt: skip
        if finding.advice:
            console.print(f"  {'':<9} → {finding.advice}", markup=False)
    console.print()
    _show(console, trained, machine)
    return 0


@dataclass(frozen=True, slots=True)
class Trained:
    """A model, and what training it takes here: the peak of memory in bytes, None where it does not fit."""

    model: Found
    peak: int | None
    fault: str = ""

    @property
    def said(self) -> str:
        """Return what training it takes, in words."""
        if self.model.fault or self.fault:
            return self.model.fault or self.fault
        return "does not fit" if self.peak is None else gigabytes(self.peak)

    def row(self) -> dict[str, Any]:
        """Return all that is known, for JSON."""
        here = str(self.model.path) if self.model.path else None
        return {"name": self.model.name, "bytes": self.model.size, "source": self.model.source, "path": here,
                "fault": self.model.fault or self.fault or None, "training_bytes": self.peak}  # fmt: skip


def _peak(model: Found, machine: Machine) -> tuple[int | None, str]:
    """Return the peak of training a model here, or why that is not known."""
    try:
        settled = settle_on(planned_model(model), machine)
    except UserError as error:
        return None, error.faults[0]
    return (settled[0] if settled else None), ""


def _show(console: Screen, trained: Sequence[Trained], machine: Machine) -> None:
    """Print a row a model; those at hand, then those that may be had."""
    for title, rows in (
        ("model at hand", [row for row in trained if row.model.path]),
        ("to be had", [row for row in trained if not row.model.path]),
    ):
        if rows:
            shown = Table(Column(title, overflow="fold"), box=None, pad_edge=False, padding=(0, 2, 0, 0))
            shown.add_column("size", justify="right")
            shown.add_column("from")
            shown.add_column("training takes", justify="right")
            for row in rows:
                shown.add_row(row.model.name, megabytes(row.model.size), row.model.source, row.said)
            console.print(shown)
            console.print()
    allowed, kind = budget_of("auto", machine.usable), "float32, on the CPU" if machine.on_cpu else "its own type"
    console.print(f"Training (LoRA, by a model's bundled configuration, in {kind}) may take {gigabytes(allowed)} here.")
    if others := others_in_hub_cache():
        console.print(f"The hub's cache holds {others} more, of kinds that mlx-trace does not train.")
    name = next((row.model.name for row in trained if not row.model.path and row.peak), trained[-1].model.name)
    console.print(f"--model takes any of these names, and fetches what is not here: mlx-trace chat --model {name}")


def examine() -> Iterator[Check]:
    """Yield what was found, in the order in which it matters."""
    yield Check("system", f"{platform.system()} {platform.release()} on {platform.machine()}")
    yield Check("python", platform.python_version())
    yield Check("packages", ", ".join(f"{name} {_version(name)}" for name in _PACKAGES))
    yield _blas()
    yield from _device()
    yield _disk()
    yield _hub_cache()


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "missing"


def _blas() -> Check:
    if not is_wanted():
        return Check("blas", "not needed: MLX computes on the GPU")
    name = load_openblas()
    if name is None:
        return Check("blas", "MLX's reference BLAS", f"training is nine times faster with OpenBLAS: {INSTALL}")
    return Check("blas", f"OpenBLAS ({name}, kernels for {kernels() or 'one processor'})")


def _device() -> Iterator[Check]:
    try:
        import mlx.core as mx
    except ImportError as error:
        extra = "" if sys.platform == "darwin" else "; on Linux: pip install 'mlx-trace[cpu]' or 'mlx-trace[cuda]'"
        yield Check("device", f"MLX cannot be loaded ({error})", f"install mlx{extra}")
        return
    # device_info differs between builds and may lack any of its keys
    info: dict[str, Any] = dict(mx.device_info()) if hasattr(mx, "device_info") else {}
    kind = "GPU" if mx.default_device().type == mx.gpu else "CPU"
    yield Check("device", f"{kind} {info.get('device_name', '') or platform.processor() or ''}".strip())
    memory = device_memory(info)
    if memory:
        recommended = int(info.get("max_recommended_working_set_size") or 0)
        share = f", {recommended / GIB:.1f} GiB of it recommended for the GPU" if recommended else ""
        advice = "models above about 1B parameters will not fit; use a 4-bit one" if memory < 8 * GIB else ""
        yield Check("memory", f"{memory / GIB:.1f} GiB{share}", advice)


def _disk() -> Check:
    free = shutil.disk_usage(Path.cwd()).free
    advice = "" if free >= _LEAST_FREE else f"a run with a 1B model wants {_LEAST_FREE / GIB:.0f} GiB; free some space"
    return Check("disk", f"{free / GIB:.1f} GiB free here", advice)


def _hub_cache() -> Check:
    from huggingface_hub import constants

    offline = " (offline: HF_HUB_OFFLINE is set)" if constants.HF_HUB_OFFLINE else ""
    return Check("hub", f"models are kept in {constants.HF_HUB_CACHE}{offline}")
