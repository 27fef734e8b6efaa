"""`mlx-trace doctor`: what this machine has, and what to do about what it lacks."""

import argparse
import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from mlx_trace.blas import INSTALL, is_wanted, load_openblas
from mlx_trace.model.budget import physical_memory

_PACKAGES: Final = ("mlx-trace", "mlx", "mlx-lm", "numpy", "transformers", "huggingface_hub")
_GIB: Final = 2**30
_LEAST_FREE: Final = 5 * _GIB  # a 1B model in bf16, its cache copy and a run's checkpoints


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report; `advice` says what to do, where something is to be done."""

    name: str
    value: str
    advice: str = ""


def add_doctor_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run_doctor(options: argparse.Namespace) -> int:
    findings = list(examine())
    if options.json:
        import json

        print(json.dumps({found.name: {"value": found.value, "advice": found.advice or None} for found in findings}))
        return 0
    console = Console(highlight=False, soft_wrap=True)
    for found in findings:
        console.print(f"{'!' if found.advice else '✓'} {found.name:<9} {found.value}", markup=False,
                      style="yellow" if found.advice else "")  # fmt: skip
        if found.advice:
            console.print(f"  {'':<9} → {found.advice}", markup=False)
    return 0


def examine() -> Iterator[Finding]:
    """Yield what was found, in the order in which it matters."""
    yield Finding("system", f"{platform.system()} {platform.release()} on {platform.machine()}")
    yield Finding("python", platform.python_version())
    yield Finding("packages", ", ".join(f"{name} {_version(name)}" for name in _PACKAGES))
    yield _blas()
    yield from _device()
    yield _disk()
    yield _hub_cache()


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "missing"


def _blas() -> Finding:
    if not is_wanted():
        return Finding("blas", "not needed: MLX computes on the GPU")
    name = load_openblas()
    if name is None:
        return Finding("blas", "MLX's reference BLAS", f"training is nine times faster with OpenBLAS: {INSTALL}")
    return Finding("blas", f"OpenBLAS ({name})")


def _device() -> Iterator[Finding]:
    try:
        import mlx.core as mx
    except ImportError as error:
        extra = "" if sys.platform == "darwin" else "; on Linux: pip install 'mlx-trace[cpu]' or 'mlx-trace[cuda]'"
        yield Finding("device", f"MLX cannot be loaded ({error})", f"install mlx{extra}")
        return
    # device_info differs between builds and may lack any of its keys
    info: dict[str, Any] = dict(mx.device_info()) if hasattr(mx, "device_info") else {}
    kind = "GPU" if mx.default_device().type == mx.gpu else "CPU"
    yield Finding("device", f"{kind} {info.get('device_name', '') or platform.processor() or ''}".strip())
    memory = int(info.get("memory_size") or physical_memory())
    if memory:
        recommended = int(info.get("max_recommended_working_set_size") or 0)
        share = f", {recommended / _GIB:.1f} GiB of it recommended for the GPU" if recommended else ""
        advice = "models above about 1B parameters will not fit; use a 4-bit one" if memory < 8 * _GIB else ""
        yield Finding("memory", f"{memory / _GIB:.1f} GiB{share}", advice)


def _disk() -> Finding:
    free = shutil.disk_usage(Path.cwd()).free
    advice = "" if free >= _LEAST_FREE else f"a run with a 1B model wants {_LEAST_FREE / _GIB:.0f} GiB; free some space"
    return Finding("disk", f"{free / _GIB:.1f} GiB free here", advice)


def _hub_cache() -> Finding:
    from huggingface_hub import constants

    offline = " (offline: HF_HUB_OFFLINE is set)" if constants.HF_HUB_OFFLINE else ""
    return Finding("hub", f"models are kept in {constants.HF_HUB_CACHE}{offline}")
