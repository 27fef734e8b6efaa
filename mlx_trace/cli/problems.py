"""`mlx-trace generate` and `mlx-trace audit`: problems from schemas, and their quality."""

import argparse
import json
import sys
from pathlib import Path

from mlx_trace.cli.options import at_least
from mlx_trace.config import NUMBER_WORD_RATE, SYSTEM_PROMPT
from mlx_trace.errors import UserError
from mlx_trace.problems.audit import audit
from mlx_trace.problems.generator import Options, generate_balanced
from mlx_trace.problems.problem import write_problems
from mlx_trace.problems.schema import load_schemas, select_schemas


def _add_schema_options(parser: argparse.ArgumentParser) -> None:
    which = "a family: its name, expert/name, or an expert for all of its; may be repeated"
    parser.add_argument("--schema", action="append", default=[], metavar="NAME", help=which)
    parser.add_argument("--schemas-dir", type=Path, metavar="DIR", help="families of your own")
    parser.add_argument("--seed", type=at_least(0), default=0, metavar="N", help="default 0")


def add_generate_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-n", type=at_least(1), default=1000, metavar="N", help="how many problems (default 1000)")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE.jsonl", help="where to write them")
    _add_schema_options(parser)
    parser.add_argument("--split", choices=("train", "eval"), default="train",
                        help="training templates (default), or those kept for evaluation")  # fmt: skip
    parser.add_argument("--templates-per-schema", type=at_least(0), default=0, metavar="N",
                        help="use the first N templates of each family (default 0: all)")  # fmt: skip
    parser.add_argument("--number-word-rate", type=_share, default=NUMBER_WORD_RATE, metavar="X",
                        help=f"how often small numbers are words (default {NUMBER_WORD_RATE})")  # fmt: skip
    parser.add_argument("--form", choices=("problems", "messages"), default="problems",
                        help="our own JSONL, or mlx-lm's messages for stock trainers")  # fmt: skip
    parser.add_argument("--list", action="store_true", help="name the families and stop")


def _share(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return value


def run_generate(options: argparse.Namespace) -> int:
    schemas = load_schemas(options.schemas_dir)
    if options.list:
        width = max(map(len, schemas))
        for key, schema in schemas.items():
            print(f"{key:<{width}}  {schema.description}")
        return 0
    if options.output is None:
        raise UserError("-o FILE.jsonl says where to write the problems")
    chosen = select_schemas(options.schema, schemas)
    wording = Options(options.split, options.templates_per_schema, options.number_word_rate)
    problems = generate_balanced(chosen, options.n, options.seed, wording)
    count = write_problems(options.output, problems, options.form, SYSTEM_PROMPT)
    print(f"{count} problems of {len(chosen)} families written to {options.output}")
    return 0


def add_audit_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--per-schema", type=at_least(1), default=200, metavar="N",
                        help="draws of each family to check (default 200)")  # fmt: skip
    _add_schema_options(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run_audit(options: argparse.Namespace) -> int:
    chosen = select_schemas(options.schema, load_schemas(options.schemas_dir))
    findings = audit(chosen, options.per_schema, options.seed)
    if options.json:
        rows = [{"schema": f.schema, "fault": f.fault, "count": f.count, "example": f.example} for f in findings]
        json.dump({"schemas": len(chosen), "per_schema": options.per_schema, "findings": rows}, sys.stdout)
        print()
        return 1 if findings else 0
    for finding in findings:
        example = f"\n    {finding.example}" if finding.example else ""
        print(f"{finding.schema}: {finding.fault} ({finding.count} of {options.per_schema} draws){example}")
    wrong = len({finding.schema for finding in findings})
    print(
        f"{len(chosen)} families, {options.per_schema} draws each: "
        + (f"{wrong} with faults" if wrong else "all clean")
    )
    return 1 if findings else 0
