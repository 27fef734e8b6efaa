"""`mlx-trace tiny rebuild`: make the bundled tiny base again, from generated text."""

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING

from mlx_trace.cli.options import add_seed_option, at_least
from mlx_trace.cli.output import as_word, show
from mlx_trace.folders import check_free

if TYPE_CHECKING:
    from mlx_trace.tiny.pretrain import Progress

MILLION = 1_000_000


def add_tiny_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=("rebuild",), help="the one thing there is to do")
    parser.add_argument("--save-path", type=Path, required=True, metavar="DIR", help="where to write the model")
    parser.add_argument("--tokens", type=at_least(1), metavar="MILLIONS",
                        help="how many million tokens to read; by default as many as the bundled one")  # fmt: skip
    add_seed_option(parser)
    parser.add_argument(
        "--gsm8k", type=Path, metavar="FILE.jsonl", help="read the questions of this file of GSM-8K's, too"
    )


def run_tiny(options: argparse.Namespace) -> int:
    check_free(options.save_path)
    questions = []
    if options.gsm8k is not None:
        from mlx_trace.problems.mixture import read_file

        questions = [problem.question for problem in read_file(options.gsm8k)]
    from mlx_trace.tiny.pretrain import Recipe, rebuild

    default = Recipe()
    tokens = default.tokens if options.tokens is None else options.tokens * MILLION
    show(f"reading {tokens / MILLION:.0f} million tokens; the model is written every million", flush=True)
    recipe = Recipe(seed=options.seed, tokens=tokens)
    done = rebuild(options.save_path, recipe, questions, _report)
    _line(done)
    if done.drills_until is not None:
        show(f"drills alone until {done.drills_until / MILLION:.2f}M tokens")
    show(f"written to {options.save_path}; try --model {as_word(options.save_path)}")
    return 0


def _report(progress: "Progress") -> None:
    if progress.updates % 100 == 0:
        _line(progress)


def _line(progress: "Progress") -> None:
    seconds = time.perf_counter() - progress.began
    show(f"{progress.tokens / MILLION:.2f}M tokens  {progress.updates} updates  loss {progress.loss:.3f}  "
          f"accuracy {progress.accuracy:.1%}  {progress.tokens / seconds:.0f} tokens/s", flush=True)  # fmt: skip
