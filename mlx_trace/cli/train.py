"""`mlx-trace train`: a configuration and its overrides become a run; progress on a terminal, lines elsewhere."""

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import BaseModel

from mlx_trace.cli.options import add_field_option
from mlx_trace.cli.output import as_word
from mlx_trace.cli.plan import show_example, show_time
from mlx_trace.cli.progress import progress, watching
from mlx_trace.cli.screen import Screen, patient_screen
from mlx_trace.config import RENAMED, Config
from mlx_trace.config_file import find_config, load_config, unallowed
from mlx_trace.errors import UserError
from mlx_trace.resources import expanded
from mlx_trace.run_files import CONFIG_FILE
from mlx_trace.yaml_text import read_yaml

if TYPE_CHECKING:
    from mlx_trace.problems.fields import Told
    from mlx_trace.train.run import Plan

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
    for key in RENAMED:
        keys.add_argument(f"--{key.replace('_', '-')}", dest=f"key:{key}", default=argparse.SUPPRESS,
                          help=argparse.SUPPRESS)  # fmt: skip


def config_keys(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield (dotted key, what it means and its default) of every section and leaf of a configuration section."""
    for name, field in model.model_fields.items():
        default, meaning = field.get_default(), field.description or name.replace("_", " ")
        if isinstance(default, BaseModel):
            yield prefix + name, f"{meaning}, together: {{key: value, …}}"
            yield from config_keys(type(default), f"{prefix}{name}.")
        else:
            yield prefix + name, f"{meaning} (default {_shown(default)})"


def _shown(default: Any) -> str:
    """Return a default as one would write it behind a flag."""
    if isinstance(default, list):
        items = [item.model_dump(exclude_unset=True) if isinstance(item, BaseModel) else item for item in default]
        return yaml.safe_dump(items, default_flow_style=True, sort_keys=False, width=1000).strip()
    if isinstance(default, str) and yaml.safe_load(default) != default:
        return json.dumps(default)
    return json.dumps(default, default=str).strip('"')


def run_train(options: argparse.Namespace) -> int:
    config = _resolve(options)
    from mlx_trace.model.gguf.convert import check_file
    from mlx_trace.tracking.trackers import check_installed

    check_file(config.model)
    check_installed(config.report_to)
    from mlx_trace.api.loading import locate_base
    from mlx_trace.cli.macs import elsewhere, show_elsewhere, show_macs
    from mlx_trace.model.base import locate_model
    from mlx_trace.train.run import check_folder, plan

    if options.plan and (known := elsewhere(config)) is not None:
        show_elsewhere(Screen(soft_wrap=True), config, known)
        return 0
    if not options.plan:
        check_folder(config, options.resume, options.overwrite)
    if options.resume:
        locate_base(config.model, config.adapter_path / CONFIG_FILE)
    else:
        locate_model(config.model)  # a download has a bar of its own

    console = patient_screen()
    with watching() as watch:
        planned = plan(config, options.resume, watch)
    console.quiet = not planned.ranks.is_first  # one voice for all processes
    _introduce(console, planned)
    show_plan(console, planned)
    if not options.plan:
        return _train(console, planned, options)
    show_example(console, planned)
    show_time(console, planned)
    show_macs(console, planned)
    return 0


def _introduce(console: Screen, planned: "Plan") -> None:
    """Say what is trained of which model, and what each phase will do."""
    config = planned.config
    trained, count = config.num_layers, planned.base.num_layers
    part = f"all {count}" if trained in (-1, count) else f"{trained} of {count}"
    console.print(f"{config.model}: {config.fine_tune_type} on {part} layers; {'; '.join(planned.notes)}")


def _train(console: Screen, planned: "Plan", options: argparse.Namespace) -> int:
    """Train what was planned, and say how that ended and what comes next."""
    from mlx_trace.model.bursts import watchdog_advice
    from mlx_trace.train.interrupt import Interrupted
    from mlx_trace.train.tracked import train

    again = f"mlx-trace train --resume --adapter-path {as_word(planned.config.adapter_path)}"
    try:
        with progress(console) as report:
            doubts = train(planned, report, options.resume, options.overwrite)
    except (Interrupted, KeyboardInterrupt) as stop:
        how = "stopped and saved" if isinstance(stop, Interrupted) else "stopped at once"
        console.print(f"{how}; go on with: {again}")
        return INTERRUPTED
    except RuntimeError as error:
        if (advice := watchdog_advice(error)) is None:
            raise
        raise UserError(f"{advice}: {again}") from error
    _tell_done(console, planned, doubts)
    return 0


def _tell_done(console: Screen, planned: "Plan", doubts: Sequence[str]) -> None:
    """Say what a run that is done has left, and what is doubtful of it."""
    from mlx_trace.run_files import BEST

    path, validation = planned.config.adapter_path, planned.validation
    for doubt in doubts:
        console.print(f"done, but {doubt}")
    if validation is not None and validation.best is not None:
        told = f"right on {validation.best:.0%} of {len(validation.problems):,} problems of {validation.suite}"
        console.print(f"best: {path / BEST}, {told}")
    console.print(f"done: {path} (try `mlx-trace chat --adapter-path {as_word(path)}`)")


def show_plan(console: Screen, planned: "Plan") -> None:
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
    if (validation := planned.validation) is not None:
        asked = f"{len(validation.problems):,} problems of {validation.suite}, {validation.max_sequences} at once"
        times = validation.times([phase.updates for phase in planned.phases])
        when = f"before training, every {validation.every:,} updates and at each phase's end"
        console.print(f"accuracy: {asked}, {times:,} times: {when}; the best adapter is kept", style="dim")
    from mlx_trace.memory.plan import describe

    for line in describe(planned.needs, planned.memory):
        console.print(line, style="dim")
    if planned.material.constraint:
        console.print(planned.material.constraint, style="dim")
    for overlap in planned.material.overlaps:
        console.print(f"contamination, {overlap}", style="dim")


def _resolve(options: argparse.Namespace) -> Config:
    """Return the configuration of the flags and the file, or of the run that is resumed."""
    from mlx_trace.problems.fields import parse_told

    told = parse_told(options.field)
    overrides = {
        key.removeprefix("key:"): _value(key.removeprefix("key:"), value, told)
        for key, value in vars(options).items()
        if key.startswith("key:")
    }
    path = None if options.config is None else find_config(options.config)
    if options.resume:
        from mlx_trace.train.resuming import resumed

        config = resumed(path, overrides, options.overwrite)
    else:
        config = load_config(path, overrides)
    if faults := [f"{key}: {what}; {_flag(key, value)} allows it, which only a command line can"
                  for key, value, what in unallowed(config, overrides)]:  # fmt: skip
        raise UserError(*faults)
    return config


def _flag(key: str, value: object) -> str:
    """Return the flag that sets a key."""
    return f"--{key.replace('_', '-')}" + ("" if value is True else f" {value}")


def _value(key: str, text: Any, told: "Told") -> Any:
    """Return what a flag says: YAML, or for data also files, each a source."""
    if key not in _DATA:
        return _read_flag(key, text)
    return [source for given in text for source in _sources(given, key, told)]


def _sources(text: str, key: str, told: "Told") -> list[Any]:
    if text.lstrip().startswith(("[", "{")) and not Path(text).exists():
        sources = read_yaml(text, f"--{key}")
        return sources if isinstance(sources, list) else [sources]
    from mlx_trace.problems.mixture import source_of

    if not text or (text == "synthetic" and not Path(text).exists()):
        raise UserError(f"--{key} {text!r}: is no file; sources are written '[{{source: synthetic, n: 1000}}]'")
    return [source_of(expanded(text), told).model_dump(mode="json", exclude_defaults=True)]


def _read_flag(key: str, value: str) -> Any:
    """Return a flag's value: a name or a path as it stands, anything else read as YAML."""
    model: type[BaseModel] = Config
    *sections, last = key.split(".")
    for section in sections:
        model = type(model.model_fields[section].get_default())
    kind = model.model_fields[last].annotation
    is_text = kind in (str, Path) or (kind in (str | None, Path | None) and value != "null")
    flag = f"--{key.replace('_', '-')}"
    if not (is_text or value.strip()):
        raise UserError(f"{flag}: the value is empty; null is none")
    return value if is_text else read_yaml(value, flag)
