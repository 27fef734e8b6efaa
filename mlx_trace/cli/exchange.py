"""`mlx-trace export` and `mlx-trace import`: adapters as PEFT has them, and back."""

import argparse
from pathlib import Path
from typing import Final

from mlx_trace.api.loading import locate_base, settle_adapter
from mlx_trace.cli.options import ADAPTER_DEFAULT
from mlx_trace.cli.output import as_word, show
from mlx_trace.config import MODEL
from mlx_trace.errors import UserError
from mlx_trace.folders import check_free
from mlx_trace.notice import tell
from mlx_trace.run_files import ADAPTER_CONFIG

_WHAT: Final = "an adapter"


def add_export_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--adapter-path", type=Path, metavar="RUN",
                        help=f"a run's directory or any mlx-lm adapter; {ADAPTER_DEFAULT}")  # fmt: skip
    parser.add_argument("--model", metavar="M", help="the model whose adapter is meant, where none is named")
    parser.add_argument("--peft", type=Path, required=True, metavar="DIR", help="where to write the PEFT adapter")
    parser.add_argument("--base-name", metavar="NAME",
                        help="what PEFT finds the base by: a hub name or a path")  # fmt: skip


def add_import_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("peft", type=Path, metavar="PEFT_DIR",
                        help="a folder with PEFT's adapter_config.json and adapter_model.safetensors")  # fmt: skip
    parser.add_argument("--adapter-path", type=Path, required=True, metavar="DIR", help="where to write the adapter")
    parser.add_argument("--model", metavar="M", help=f"its base: {MODEL}; by default the one that PEFT's file names")
    parser.add_argument("--trust-remote-code", action="store_true", help="allow code that comes with the model")


def run_export(options: argparse.Namespace) -> int:
    check_free(options.peft, _WHAT)
    run = settle_adapter(options.model, options.adapter_path)
    if run is None:
        raise UserError("which adapter? --adapter-path RUN names it")
    from mlx_trace.model.adapter import read_adapter_config
    from mlx_trace.model.exchange import export_peft, name_for_peft

    adapter = read_adapter_config(run)
    base_name = options.base_name or name_for_peft(adapter.model)
    count = export_peft(run, options.peft, base_name)
    show(f"{run} is now {options.peft}, for PEFT: {count} modules adapted, for the base {base_name or '(unnamed)'}")
    if base_name is None:
        tell(f"{adapter.model or 'its base'} is on no hub, and PEFT would not find it by a name: load it yourself, or "
             "say --base-name NAME")  # fmt: skip
    return 0


def run_import(options: argparse.Namespace) -> int:
    check_free(options.adapter_path, _WHAT)
    from mlx_trace.model.base import load_base
    from mlx_trace.model.exchange import import_peft, read_peft

    config, modules = read_peft(options.peft)
    name = options.model or config.base_model_name_or_path
    if not name:
        raise UserError(f"{options.peft}: its adapter_config.json names no base; --model names it")
    if not options.model:
        locate_base(name, options.peft / ADAPTER_CONFIG)
    import_peft(options.peft, config, modules, load_base(name, options.trust_remote_code), options.adapter_path)
    show(f"{options.peft} is now {options.adapter_path}, for {name}: {len(modules)} modules adapted")
    show(f"try: mlx-trace chat --adapter-path {as_word(options.adapter_path)}")
    return 0
