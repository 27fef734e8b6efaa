"""`mlx-trace train`: a configuration and its overrides become a run; progress on a terminal, lines elsewhere."""

import argparse
import contextlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel
from rich.console import Console

from mlx_trace.cli.options import add_field_option
from mlx_trace.config import Config
from mlx_trace.config_file import load_config
from mlx_trace.errors import UserError
from mlx_trace.files import read_yaml

if TYPE_CHECKING:
    from mlx_trace.problems.fields import Told
    from mlx_trace.train.loop import Metrics, Report
    from mlx_trace.train.run import Plan

_SUFFIX = ".yaml"
_DATA = ("data", "reinforce.data")
_SWITCH: dict[str, Any] = {"nargs": "?", "const": "true"}  # a flag without a value switches it on
INTERRUPTED = 130


def add_train_options(parser: argparse.ArgumentParser) -> None:
    parser.usage = "mlx-trace train [-c FILE] [--resume | --overwrite] [--KEY X ...]"
    parser.add_argument(
        "-c", "--config", metavar="FILE", help="a YAML file, or the name of a bundled one, such as tiny"
    )
    parser.add_argument("--resume", action="store_true", help="go on where the run in adapter_path was stopped")
    parser.add_argument("--overwrite", action="store_true", help="replace the run in adapter_path")
    add_field_option(parser)
    parser.add_argument("--plan", action="store_true", help="show what would be trained on, and stop")
    keys = parser.add_argument_group("any key of the configuration; values are read as YAML")
    for key, meaning in config_keys(Config):
        flag, switch = f"--{key.replace('_', '-')}", _SWITCH if meaning.endswith("(default false)") else {}
        if key in _DATA:
            switch = {"nargs": "+", "action": "extend"}
            meaning = f"files, or {meaning}"
        keys.add_argument(flag, dest=f"key:{key}", metavar="X", default=argparse.SUPPRESS,
                          help=meaning.replace("%", "%%"), **switch)  # fmt: skip


def config_keys(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield (dotted key, what it means and its default) of every section and leaf of a configuration section."""
    for name, field in model.model_fields.items():
        default, meaning = field.get_default(), field.description or name.replace("_", " ")
        if isinstance(default, BaseModel):
            yield prefix + name, f"{meaning}, together: {{key: value, …}}"
            yield from config_keys(type(default), f"{prefix}{name}.")
        else:
            shown = (
                json.dumps(default, default=str) if not isinstance(default, list) else "[{source: synthetic, n: 1000}]"
            )
            yield prefix + name, f"{meaning} (default {shown.strip(chr(34))})"


def run_train(options: argparse.Namespace) -> int:
    config = _resolve(options)
    from mlx_trace.model.gguf.convert import check_file

    check_file(config.model)
    from mlx_trace.model.base import locate_model
    from mlx_trace.train.loop import Interrupted
    from mlx_trace.train.run import plan, train

    locate_model(config.model)  # a download has a bar of its own

    console = Console(highlight=False, soft_wrap=True)
    with Console(stderr=True, highlight=False).status("loading the model, gathering and checking the data"):
        planned = plan(config, options.resume)
    console.quiet = not planned.ranks.is_first  # one voice for all processes
    layers = f"{config.fine_tune_type} on {config.num_layers} of {planned.base.num_layers} layers"
    console.print(f"{config.model}: {layers}; {'; '.join(planned.notes)}")
    show_plan(console, planned)
    if options.plan:
        return 0
    try:
        with progress(console) as report:
            train(planned, report, options.resume, options.overwrite)
    except (Interrupted, KeyboardInterrupt) as stop:
        how = "stopped and saved" if isinstance(stop, Interrupted) else "stopped at once"
        console.print(f"{how}; go on with: mlx-trace train --resume --adapter-path {config.adapter_path}")
        return INTERRUPTED
    console.print(f"done: {config.adapter_path} (try `mlx-trace chat --adapter-path {config.adapter_path}`)")
    return 0


def show_plan(console: Console, planned: "Plan") -> None:
    """Print what the run trains on: each source with its lengths in tokens, and its overlap with evaluation sets."""
    from rich.table import Table

    numbers = ("problems", "prompt", "trace", "median", "95%", "longest")
    shown = Table("data", "phase", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in numbers:
        shown.add_column(name, justify="right")
    for row in planned.material.lengths:
        shown.add_row(row.source, row.phase, f"{row.problems:,}", f"{row.prompt:.0f}", f"{row.trace:.0f}",
                      f"{row.median:,}", f"{row.most:,}", f"{row.longest:,}")  # fmt: skip
    console.print(shown)
    for row in planned.material.lengths:
        if row.note:
            console.print(f"{row.source}: {row.note}", style="dim")
    limit = planned.config.max_seq_length
    console.print(f"tokens: mean prompt and trace, then both together; all fit max_seq_length ({limit:,})", style="dim")
    from mlx_trace.model.budget import describe

    for line in describe(planned.needs, planned.memory):
        console.print(line, style="dim")
    if planned.material.constraint:
        console.print(planned.material.constraint, style="dim")
    for overlap in planned.material.overlaps:
        console.print(f"contamination, {overlap}", style="dim")


def _resolve(options: argparse.Namespace) -> Config:
    """Return the configuration of the flags and the file, or of the run that is resumed, which must agree."""
    from mlx_trace.problems.fields import parse_told

    overrides = {
        key.removeprefix("key:"): _value(key.removeprefix("key:"), value, parse_told(options.field))
        for key, value in vars(options).items()
        if key.startswith("key:")
    }
    path = None if options.config is None else find_config(options.config)
    if not options.resume:
        return load_config(path, overrides)
    if options.overwrite:
        raise UserError("--resume goes on with a run and --overwrite replaces it; give one of them")
    from mlx_trace.train.loop import read_run_config

    if path is None:
        run = overrides.get("adapter_path")
        if run is None:
            raise UserError("--resume needs the run's directory: --adapter-path RUN, or -c with its configuration")
        saved = read_run_config(Path(str(run)))
        wanted = load_config(Path(str(run)) / "config.yaml", overrides)
    else:
        wanted = load_config(path, overrides)
        saved = read_run_config(wanted.adapter_path)
    saved = saved.model_copy(update={"adapter_path": wanted.adapter_path})  # a run may have been moved
    before, after = saved.model_dump(), wanted.model_dump()
    if changed := [key for key in before if before[key] != after[key]]:
        raise UserError(*(f"{key}: the run was started with {before[key]}, not {after[key]}" for key in changed))
    return saved


def _value(key: str, text: Any, told: "Told") -> Any:
    """Return what a flag says: YAML, or for data also files, each a source."""
    if key not in _DATA:
        return read_yaml(text, f"--{key}")
    return [source for one in text for source in _sources(one, key, told)]


def _sources(text: str, key: str, told: "Told") -> list[Any]:
    if text.lstrip().startswith(("[", "{")) and not Path(text).exists():
        sources = read_yaml(text, f"--{key}")
        return sources if isinstance(sources, list) else [sources]
    from mlx_trace.problems.mixture import source_of

    if not text or (text == "synthetic" and not Path(text).exists()):
        raise UserError(f"--{key} {text!r}: is no file; sources are written '[{{source: synthetic, n: 1000}}]'")
    return [source_of(Path(text).expanduser(), told).model_dump(mode="json", exclude_defaults=True)]


def find_config(name: str) -> Path:
    """Return a configuration file: as named, or the bundled one of that name."""
    path = Path(name).expanduser()
    if path.exists():
        return path
    from mlx_trace.resources import configs_dir

    bundled = configs_dir() / f"{path.name.removesuffix(_SUFFIX)}{_SUFFIX}"
    if path.parent.name in ("", "configs") and bundled.is_file():
        return bundled
    known = ", ".join(sorted(found.stem for found in configs_dir().glob(f"*{_SUFFIX}")))
    raise UserError(f"{name}: no such file; bundled configurations are {known}")


# --- progress --------------------------------------------------------------------------------------------------

_SHOWN = {
    "sft": ("loss", "val_loss", "target_tokens", "grad_norm"),
    "rl": ("reward", "correct", "parse_failure", "dead_groups", "length", "grad_norm"),
}


def describe_update(phase: str, done: int, updates: int, metrics: "Metrics") -> str:
    """Return one update as a line: what matters in its phase, with the time it took."""
    shown = [f"{name} {_short(metrics[name])}" for name in _SHOWN.get(phase, ()) if name in metrics]
    return f"{phase} {done}/{updates}  {'  '.join(shown)}  {float(metrics['seconds']):.2f}s"


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


@contextlib.contextmanager
def progress(console: Console) -> "Iterator[Report]":
    """Show updates as they come: a live bar on a terminal, a plain line each elsewhere."""
    if not console.is_terminal:

        def line(phase: str, done: int, updates: int, metrics: "Metrics") -> None:
            with contextlib.suppress(OSError):  # a log whose reader left, or whose disk is full, does not end the run
                print(describe_update(phase, done, updates, metrics), file=sys.stdout, flush=True)

        yield line
        return
    from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(bar_width=None), TextColumn("{task.completed}/{task.total}"),
               TimeRemainingColumn(), TextColumn("{task.fields[note]}"))  # fmt: skip
    with Progress(*columns, console=console) as bars:
        tasks: dict[str, TaskID] = {}

        def bar(phase: str, done: int, updates: int, metrics: "Metrics") -> None:
            if phase not in tasks:
                tasks[phase] = bars.add_task(phase, total=updates, note="")
            shown = [name for name in _SHOWN.get(phase, ()) if name in metrics]
            note = "  ".join(f"{name} {_short(metrics[name])}" for name in shown[:3])
            bars.update(tasks[phase], completed=done, note=note)

        yield bar
