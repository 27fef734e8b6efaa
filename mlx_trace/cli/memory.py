"""`mlx-trace memory`: which models can be trained in how much memory, as planned from their shapes; nothing is loaded.

Without a configuration or a model, the bundled ones on Macs of several sizes; with one, that model and its data.
"""

import argparse
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from rich.table import Column, Table

from mlx_trace.cli.output import show
from mlx_trace.cli.screen import Screen
from mlx_trace.config import Config
from mlx_trace.config_file import find_config, load_config
from mlx_trace.errors import UserError
from mlx_trace.memory.macs import GIB, USUAL, Chip, chip, chip_of, recommended
from mlx_trace.memory.plan import PlannedRun, budget_of, gigabytes, physical_memory, settle
from mlx_trace.memory.predict import MemoryPlan, Work, predict
from mlx_trace.memory.published import PUBLISHED, published
from mlx_trace.memory.shape import shape_of
from mlx_trace.model.config_json import positions_of, read_config_json
from mlx_trace.model.hub import cached_folder, is_hub_name
from mlx_trace.model.inventory import Found
from mlx_trace.model.named import TINY, at_hand, canonical, named
from mlx_trace.model.precision import is_dequantised
from mlx_trace.notice import tell
from mlx_trace.resources import expanded

_SIZES: Final = tuple(USUAL)  # of Macs, in GiB
_USUAL: Final = "llama32-1b"  # the configuration for models that have none
_LEGEND: Final = "predicted peak (tokens learnt from at once, replies sampled at once)"


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine's memory that may be used, in bytes, whether it computes on a CPU, and a Mac's chip."""

    usable: int
    on_cpu: bool = False
    chip: Chip | None = None


Planned = Callable[[bool], PlannedRun]  # a run, given whether it is computed on a CPU


def add_memory_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-c", "--config", metavar="FILE", help="plan this configuration: a YAML file, or the name of a bundled one"
    )
    line = "plan this model, with that configuration or the bundled one of its size"
    parser.add_argument("--model", metavar="M", help=line)
    parser.add_argument("--markdown", action="store_true", help="print a table in Markdown")


def run_memory(options: argparse.Namespace) -> int:
    machines = {f"{size} GB": Machine(recommended(size * GIB), chip=chip(USUAL[size])) for size in _SIZES}
    if options.config is None and options.model is None:
        runs = dict(_bundled())
    else:
        given = {} if options.model is None else {"model": options.model}
        runs = dict(_own(load_config(find_config(options.config or configuration_of(options.model)), given)))
        machines = {"this machine": this_machine()} | machines
    print_table(runs, machines, options.markdown)
    return 0


def print_table(runs: Mapping[str, Planned], machines: Mapping[str, Machine], markdown: bool) -> None:
    """Print a row a run and a column a machine."""
    cells = {name: [_cell(run, machine) for machine in machines.values()] for name, run in runs.items()}
    if markdown:
        show("| | " + " | ".join(machines) + " |")
        show("|---" * (1 + len(machines)) + "|")
        for name, row in cells.items():
            show(f"| {name} | " + " | ".join(row) + " |")
        return
    shown = Table(
        Column("", overflow="fold"), *machines, title=_LEGEND, title_justify="left", box=None, padding=(0, 2, 0, 0)
    )
    for name, row in cells.items():
        shown.add_row(name, *row)
    Screen().print(shown)


def _cell(planned: Planned, machine: Machine) -> str:
    settled = settle_on(planned, machine)
    if settled is None:
        return "does not fit"
    peak, plan = settled
    return f"{gigabytes(peak)} ({plan.micro_tokens:,}, {plan.max_sequences})"


def settle_on(planned: Planned, machine: Machine) -> tuple[int, MemoryPlan] | None:
    """Return a run's predicted peak on a machine, in bytes, and its plan there; None if it does not fit."""
    speed = machine.chip.speed if machine.chip else 0.0
    run = replace(planned(machine.on_cpu), budget=budget_of("auto", machine.usable), speed=speed)
    if not run.fits(run.smallest):
        return None
    plan = settle(run)
    return predict(run.shape, run.work, plan).most, plan


def planned_of(content: Mapping[str, Any], config: Config, work: Work, dequantised: bool = False) -> Planned:
    """Return a model's run, given its config.json, as it is on a CPU and on a GPU."""

    def planned(on_cpu: bool) -> PlannedRun:
        shape = shape_of(content, config, on_cpu, dequantised)
        return PlannedRun(shape, replace(work, is_fused=not on_cpu), config.activation_cache, 0, config.gpu_seconds)

    return planned


def _in_4_bits(planned: Planned) -> Planned:
    def quantised(on_cpu: bool) -> PlannedRun:
        run = planned(on_cpu)
        return replace(run, shape=run.shape.quantised())

    return quantised


def _bundled() -> Iterator[tuple[str, Planned]]:
    """Yield the bundled configurations' runs, each with a base in bf16 and in 4 bits."""
    for model in PUBLISHED:
        if not model.has_rows:
            continue
        config = load_config(find_config(model.configuration), {})
        planned = planned_of(model.content, config, model.work(config))
        yield f"{model.title}, bf16", planned
        yield f"{model.title}, 4-bit", _in_4_bits(planned)


def _own(config: Config) -> Iterator[tuple[str, Planned]]:
    """Yield a configuration's run, with its base as it is and in 4 bits."""
    path, known = local_model(config.model), published(config.model)
    if path is not None:
        planned = _read(path, config)
    elif known is None:
        raise UserError(f"{config.model} is not on this machine, and is planned from its config.json and its "
                        "tokenizer; mlx-trace train downloads a model, or name a directory")  # fmt: skip
    else:
        tell(f"{config.model} is not on this machine: planned from its published shape, for data such as the bundled "
             "configurations have")  # fmt: skip
        planned = planned_of(known.content, config, known.work(config))
    yield config.model, planned
    if not planned(False).shape.is_quantised:
        yield f"{config.model}, in 4 bits", _in_4_bits(planned)


def _read(path: Path, config: Config) -> Planned:
    """Return the run of a model that is on this machine, with the data that the configuration names."""
    from mlx_trace.model.base import read_tokenizer
    from mlx_trace.model.prompts import Prompter
    from mlx_trace.train.gather import gather
    from mlx_trace.train.work import work_of

    content = read_config_json(path)
    prompter = Prompter(read_tokenizer(path, content), config.prompt)
    material = gather(config, prompter, positions=positions_of(content))
    return planned_of(content, config, work_of(config, material, prompter), is_dequantised(path))


def planned_model(listed: Found) -> Planned:
    """Return the run of a model as its bundled configuration has it, or one of its size."""
    config = load_config(find_config(configuration_of(listed.name)), {})
    lengths = published(listed.name) or next(model for model in PUBLISHED if model.configuration == _USUAL)
    return planned_of(listed.content, config, lengths.work(config), listed.dequantised)


def configuration_of(model: str) -> str:
    """Return the bundled configuration of a model, or one for models that have none."""
    known = published(model)
    return TINY if canonical(model) == TINY else known.configuration if known else _USUAL


def local_model(name: str) -> Path | None:
    """Return a model's directory if it is on this machine: named, bundled, converted or downloaded."""
    from mlx_trace.model.base import locate_model

    entry = named(name)
    is_path = expanded(name).exists() or not is_hub_name(name)
    if at_hand(entry) if entry else is_path:
        return locate_model(name)
    return cached_folder(entry.hub if entry else name)


def this_machine() -> Machine:
    """Return what this machine has."""
    from mlx_trace.memory.plan import usable_memory

    try:
        import mlx.core as mx
    except ImportError:
        return Machine(physical_memory(), on_cpu=True)
    from mlx_trace.model.bursts import device_info, on_metal

    info = device_info()
    return Machine(usable_memory(info), mx.default_device().type == mx.cpu, chip_of(info) if on_metal() else None)
