"""`mlx-trace fuse`: an adapter and its base become one model directory."""

import argparse
from pathlib import Path
from typing import Final

from mlx_trace.cli.options import add_model_options, load_named

_LOST: Final = 0.05  # a change of probabilities that shows


def add_fuse_options(parser: argparse.ArgumentParser) -> None:
    add_model_options(parser, needs_adapter=True)
    parser.add_argument("--save-path", type=Path, required=True, metavar="DIR", help="where to write the model")
    parser.add_argument("--dequantize", action="store_true", help="write full-precision weights of a quantised base")


def run_fuse(options: argparse.Namespace) -> int:
    base, prompt = load_named(options)
    from mlx_trace.fuse import fuse
    from mlx_trace.model.prompts import Prompter

    distance = fuse(base, Prompter(base.tokenizer, prompt), options.save_path, options.dequantize)
    print(f"{base.name} with {options.adapter_path} is now {options.save_path}, in {base.written_type}")
    print(f"on a probe, its next-token probabilities differ from the adapter's by at most {distance:.1e}")
    if distance > _LOST:
        print("that is enough to show: a quantised base rounds small changes away; --dequantize keeps them")
    print(f"try: mlx-trace chat --model {options.save_path}")
    return 0
