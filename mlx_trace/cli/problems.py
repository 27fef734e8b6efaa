"""`mlx-trace generate`: problems from schemas."""

import argparse

from mlx_trace.cli.options import add_schema_options, at_least
from mlx_trace.cli.output import output_file, show, shower
from mlx_trace.config import SYSTEM_PROMPT
from mlx_trace.config_sources import NUMBER_WORD_RATE
from mlx_trace.errors import UserError
from mlx_trace.numbered import numbered
from mlx_trace.problems.problem import write_problems
from mlx_trace.problems.synthetic.generator import Options, generate_balanced
from mlx_trace.problems.synthetic.schema import load_schemas, select_schemas


def add_generate_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-n", type=at_least(1), default=1000, metavar="N", help="how many problems (default %(default)s)"
    )
    parser.add_argument("-o", "--output", type=output_file, metavar="FILE.jsonl", help="where to write the problems")
    add_schema_options(parser)
    parser.add_argument("--split", choices=("train", "eval"), default="train",
                        help="training templates (default), or those kept for evaluation")  # fmt: skip
    parser.add_argument("--templates-per-schema", type=at_least(0), default=0, metavar="N",
                        help="use the first N templates of each family (default %(default)s: all)")  # fmt: skip
    parser.add_argument("--number-word-rate", type=_share, default=NUMBER_WORD_RATE, metavar="X",
                        help="how often small numbers are words (default %(default)s)")  # fmt: skip
    parser.add_argument("--form", choices=("problems", "messages"), default="problems",
                        help="problems: our own JSONL (default); messages: mlx-lm's, for stock trainers")  # fmt: skip
    parser.add_argument("--list", action="store_true", help="name the families and stop")


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not a number from 0 to 1")
    return value


def run_generate(options: argparse.Namespace) -> int:
    schemas = load_schemas(options.schemas_dir)
    if options.list:
        width = max(map(len, schemas))
        for key, schema in schemas.items():
            show(f"{key:<{width}}  {schema.description}")
        return 0
    if options.output is None:
        raise UserError("-o FILE.jsonl says where to write the problems")
    chosen = select_schemas(options.schema, schemas)
    wording = Options(options.split, options.templates_per_schema, options.number_word_rate)
    problems = generate_balanced(chosen, options.n, options.seed, wording)
    count = write_problems(options.output, problems, options.form, SYSTEM_PROMPT)
    shower(options.output)(
        f"{numbered(count, 'problem')} of {numbered(len(chosen), 'family')} written to {options.output}"
    )
    return 0
