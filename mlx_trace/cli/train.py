"""`mlx-trace train`: a configuration and its overrides become a run; progress on a terminal, lines elsewhere."""

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import BaseModel

from mlx_trace.cli.options import add_field_option
from mlx_trace.cli.plan import show_example, show_time
from mlx_trace.cli.progress import progress, watching
from mlx_trace.cli.screen import Screen, patient_screen
from mlx_trace.config import RENAMED, Config
from mlx_trace.config_file import find_config, load_config
from mlx_trace.errors import UserError
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

    check_file(config.model)
    from mlx_trace.model.base import locate_model
    from mlx_trace.train.interrupt import Interrupted
    from mlx_trace.train.run import check_folder, plan, train

    if not options.plan:
        check_folder(config, options.resume, options.overwrite)
    locate_model(config.model)  # a download has a bar of its own

    console = patient_screen()
    with watching() as watch:
        planned = plan(config, options.resume, watch)
    console.quiet = not planned.ranks.is_first  # one voice for all processes
    trained, count = planned.config.num_layers, planned.base.num_layers
    part = f"all {count}" if trained in (-1, count) else f"{trained} of {count}"
    layers = f"{config.fine_tune_type} on {part} layers"
    console.print(f"{config.model}: {layers}; {'; '.join(planned.notes)}")
    show_plan(console, planned)
    if options.plan:
        show_example(console, planned)
        show_time(console, planned)
        return 0
    try:
        with progress(console) as report:
            doubts = train(planned, report, options.resume, options.overwrite)
    except (Interrupted, KeyboardInterrupt) as stop:
        how = "stopped and saved" if isinstance(stop, Interrupted) else "stopped at once"
        console.print(f"{how}; go on with: mlx-trace train --resume --adapter-path {config.adapter_path}")
        return INTERRUPTED
    _tell_done(console, planned, doubts)
    return 0


def _tell_done(console: Screen, planned: "Plan", doubts: Sequence[str]) -> None:
    """Say what a run that is done has left, and what is doubtful of it."""
    from mlx_trace.train.run_dir import BEST

    path, validation = planned.config.adapter_path, planned.validation
    for doubt in doubts:
        console.print(f"done, but {doubt}")
    if validation is not None and validation.best is not None:
        told = f"right on {validation.best:.0%} of {len(validation.problems):,} problems of {validation.suite}"
        console.print(f"best: {path / BEST}, {told}")
    console.print(f"done: {path} (try `mlx-trace chat --adapter-path {path}`)")


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
    config = _resumed(options, path, overrides) if options.resume else load_config(path, overrides)
    _check_consent(config, overrides)
    return config


def _check_consent(config: Config, overrides: Mapping[str, Any]) -> None:
    """Refuse to run code that a configuration names, be it a run folder's from somewhere, unless the flags do, too."""
    section = overrides.get("reinforce")
    named = section.get("reward_function") if isinstance(section, dict) else None
    function, faults = config.reinforce.reward_function, []
    if config.trust_remote_code and overrides.get("trust_remote_code") is not True:
        faults.append("trust_remote_code: runs code that comes with the model; --trust-remote-code allows it")
    if function is not None and function != overrides.get("reinforce.reward_function", named):
        faults.append(f"reinforce.reward_function: runs code; --reinforce.reward-function {function} allows it")
    if faults:
        raise UserError(*(f"{fault}, which only a command line can" for fault in faults))


def _resumed(options: argparse.Namespace, path: Path | None, overrides: Mapping[str, Any]) -> Config:
    """Return the configuration of the run that is resumed, with which the flags and the file must agree."""
    if options.overwrite:
        raise UserError("--resume goes on with a run and --overwrite replaces it; give one of them")
    from mlx_trace.train.run_dir import read_run_config

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
    if changes := list(_changes(saved.model_dump(mode="json"), wanted.model_dump(mode="json"))):
        raise UserError(
            f"{saved.adapter_path}: --resume goes on with a run as it was started; without -c and other flags it does. "
            "What is not as it was:",
            *changes,
        )
    return saved


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
    return [source_of(Path(text).expanduser(), told).model_dump(mode="json", exclude_defaults=True)]


def _read_flag(key: str, value: str) -> Any:
    """Return a flag's value: a name or a path as it stands, anything else read as YAML."""
    model: type[BaseModel] = Config
    *sections, last = key.split(".")
    for section in sections:
        model = type(model.model_fields[section].get_default())
    kind = model.model_fields[last].annotation
    is_text = kind in (str, Path) or (kind in (str | None, Path | None) and value != "null")
    return value if is_text else read_yaml(value, f"--{key.replace('_', '-')}")


def _changes(before: dict[str, Any], after: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """Yield in words which keys of a run are wanted otherwise than it was started with."""
    for key, value in before.items():
        other = after[key]
        if isinstance(value, dict) and isinstance(other, dict):
            yield from _changes(value, other, f"{prefix}{key}.")
        elif value != other:
            yield f"{prefix}{key}: the run was started with {_in_words(value)}, not {_in_words(other)}"


def _in_words(value: Any) -> str:
    """Return a value as YAML would say it, in a line; of sources only what was said of them."""
    if isinstance(value, list):
        return "; ".join(map(_in_words, value)) or "none"
    if isinstance(value, dict):
        said = {key: inner for key, inner in value.items() if inner not in (None, [], {}, 0)}
        return ", ".join(f"{key} {_in_words(inner)}" for key, inner in said.items())
    return str(yaml.safe_dump(value, width=1000, allow_unicode=True)).removesuffix("\n").removesuffix("\n...")
