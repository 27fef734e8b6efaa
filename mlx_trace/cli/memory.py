"""`mlx-trace memory`: which models can be trained in how much memory, as planned from their shapes; nothing is loaded.

Without a configuration, the bundled ones on Macs of several sizes; with one, its model and its data.
"""

import argparse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from mlx_trace.cli.train import find_config
from mlx_trace.config import Config
from mlx_trace.config_file import load_config
from mlx_trace.errors import UserError
from mlx_trace.files import read_json
from mlx_trace.model.budget import Run, budget_of, gigabytes, physical_memory, settle
from mlx_trace.model.memory import Examples, Rollouts, Work, predict
from mlx_trace.model.shape import shape_of

_GIB: Final = 1 << 30
_SIZES: Final = (8, 16, 32, 64)  # of Macs, in GiB
_LARGE: Final = 36  # up to here macOS recommends two thirds for the GPU, above three quarters
_LEGEND: Final = "predicted peak (tokens learnt from at once, replies sampled at once)"


@dataclass(frozen=True)
class _Published:
    """A model as its config.json on the hub has it, and its bundled configuration's longest sequences in its tokens."""

    name: str
    configuration: str
    content: Mapping[str, Any]
    prompt: int
    prefix: int
    example: int
    target: int


_HEADS: Final = {"num_attention_heads": 32, "head_dim": 64, "torch_dtype": "bfloat16"}
_LLAMA: Final = _HEADS | {"intermediate_size": 8192, "num_key_value_heads": 8, "vocab_size": 128256}
_PUBLISHED: Final = (
    _Published(
        "TinyLlama 1.1B", "tinyllama",
        _HEADS | {"num_hidden_layers": 22, "hidden_size": 2048, "intermediate_size": 5632, "num_key_value_heads": 4,
                  "vocab_size": 32000, "tie_word_embeddings": False},
        prompt=138, prefix=41, example=420, target=309,
    ),
    _Published("Llama 3.2 1B", "llama32-1b", _LLAMA | {"num_hidden_layers": 16, "hidden_size": 2048},
               prompt=134, prefix=54, example=389, target=274),
    _Published("Llama 3.2 3B", "llama32-3b",
               _LLAMA | {"num_hidden_layers": 28, "hidden_size": 3072, "num_attention_heads": 24, "head_dim": 128},
               prompt=134, prefix=54, example=389, target=274),
)  # fmt: skip


def add_memory_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-c", "--config", metavar="FILE", help="plan this configuration, whose model must be here")
    parser.add_argument("--markdown", action="store_true", help="print a table in markdown")


def run_memory(options: argparse.Namespace) -> int:
    machines = {f"{size} GB": recommended(size * _GIB) for size in _SIZES}
    if options.config is None:
        runs = dict(_bundled())
    else:
        runs = dict(_own(load_config(find_config(options.config), {})))
        machines = {"this machine": _usable_here()} | machines
    print_table(runs, machines, options.markdown)
    return 0


def recommended(size: int) -> int:
    """Return what macOS recommends that the GPU takes of so many bytes of memory."""
    return size * 2 // 3 if size <= _LARGE * _GIB else size * 3 // 4


def print_table(runs: Mapping[str, Run], machines: Mapping[str, int], markdown: bool) -> None:
    """Print a row a run and a column a machine."""
    cells = {name: [_cell(run, usable) for usable in machines.values()] for name, run in runs.items()}
    if markdown:
        print("| | " + " | ".join(machines) + " |")
        print("|---" * (1 + len(machines)) + "|")
        for name, row in cells.items():
            print(f"| {name} | " + " | ".join(row) + " |")
        return
    shown = Table("", *machines, title=_LEGEND, title_justify="left", box=None, padding=(0, 2, 0, 0))
    for name, row in cells.items():
        shown.add_row(name, *row)
    Console(highlight=False).print(shown)


def _cell(run: Run, usable: int) -> str:
    planned = replace(run, budget=budget_of("auto", usable))
    try:
        plan = settle(planned)
    except UserError:
        return "does not fit"
    return f"{gigabytes(predict(run.shape, run.work, plan).most)} ({plan.micro_tokens:,}, {plan.width})"


def _bundled() -> Iterator[tuple[str, Run]]:
    """Yield the bundled configurations' runs, each with a base in bf16 and in 4 bits, on a Mac."""
    for model in _PUBLISHED:
        config = load_config(find_config(model.configuration), {})
        rl = config.reinforce
        examples = Examples(model.example, model.prefix, model.target, config.batch_size)
        rollouts = Rollouts(model.prompt, model.prefix, rl.max_tokens, rl.batch_size, rl.group_size,
                            has_reference=rl.kl > 0)  # fmt: skip
        run = Run(shape_of(model.content, config), Work(examples, rollouts, is_fused=True), config.trunk_cache, 0)
        yield f"{model.name}, bf16", run
        yield f"{model.name}, 4-bit", replace(run, shape=run.shape.quantised())


def _own(config: Config) -> Iterator[tuple[str, Run]]:
    """Yield a configuration's run, with its base as it is and in 4 bits."""
    from mlx_trace.model.base import read_tokenizer
    from mlx_trace.model.prompts import Prompter
    from mlx_trace.train.gather import gather
    from mlx_trace.train.work import work_of

    path = _local(config.model)
    content = read_json(path / "config.json")
    prompter = Prompter(read_tokenizer(path, content), config.prompt)
    run = Run(shape_of(content, config), work_of(config, gather(config, prompter), prompter), config.trunk_cache, 0)
    yield config.model, run
    if not run.shape.is_quantised:
        yield f"{config.model}, in 4 bits", replace(run, shape=run.shape.quantised())


def _local(name: str) -> Path:
    """Return a model's directory, if it is on this machine: named, bundled or downloaded."""
    from huggingface_hub import try_to_load_from_cache

    from mlx_trace.model.base import locate_model
    from mlx_trace.model.named import TINY

    if name == TINY or Path(name).expanduser().is_dir():
        return locate_model(name)
    found = try_to_load_from_cache(name, "config.json") if name.count("/") == 1 else None
    if isinstance(found, str):
        return Path(found).parent
    raise UserError(f"{name} is not on this machine, and is planned from its config.json and its tokenizer; "
                    "mlx-trace train downloads a model, or name a directory")  # fmt: skip


def _usable_here() -> int:
    from mlx_trace.model.budget import usable_memory

    try:
        import mlx.core as mx
    except ImportError:
        return physical_memory()
    return usable_memory(dict(mx.device_info()) if hasattr(mx, "device_info") else {})
