"""`mlx-trace audit`: whether the problem families are right, and with --diversity how varied problems are."""

import argparse
from dataclasses import asdict
from pathlib import Path

from rich.table import Table

from mlx_trace.cli.options import add_schema_options, at_least
from mlx_trace.cli.output import show, show_json
from mlx_trace.cli.screen import Screen
from mlx_trace.errors import UserError
from mlx_trace.numbered import numbered
from mlx_trace.problems.audit import audit
from mlx_trace.problems.diversity import Diversity, measure, read_kinds
from mlx_trace.problems.problem import Problem
from mlx_trace.problems.synthetic.generator import generate_balanced
from mlx_trace.problems.synthetic.schema import Schema, load_schemas, select_schemas
from mlx_trace.seeds import stream


def add_audit_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--per-schema", type=at_least(1), default=200, metavar="N",
                        help="draws of each family to check (default %(default)s)")  # fmt: skip
    add_schema_options(parser)
    parser.add_argument("--diversity", action="store_true",
                        help="measure how varied the problems are, instead of checking them")  # fmt: skip
    parser.add_argument("--against", action="append", type=Path, default=[], metavar="FILE.jsonl",
                        help="with --diversity: beside a file's; worked solutions are compiled too")  # fmt: skip
    parser.add_argument("-n", type=at_least(1), default=2000, metavar="N",
                        help="with --diversity: problems of each source (default %(default)s)")  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run_audit(options: argparse.Namespace) -> int:
    if options.against and not options.diversity:
        raise UserError("--against sets a file beside the problems for --diversity; say that too")
    chosen = select_schemas(options.schema, load_schemas(options.schemas_dir))
    return _show_diversity(chosen, options) if options.diversity else _check(chosen, options)


def _check(chosen: list[Schema], options: argparse.Namespace) -> int:
    findings = audit(chosen, options.per_schema, options.seed)
    if options.json:
        rows = [asdict(finding) for finding in findings]
        show_json({"schemas": len(chosen), "per_schema": options.per_schema, "findings": rows})
        return 1 if findings else 0
    for finding in findings:
        example = f"\n    {finding.example}" if finding.example else ""
        show(f"{finding.schema}: {finding.fault} ({finding.count} of {options.per_schema} draws){example}")
    wrong = len({finding.schema for finding in findings})
    verdict = f"{wrong} with faults" if wrong else "all clean"
    show(f"{numbered(len(chosen), 'family')}, {numbered(options.per_schema, 'draw')} each: {verdict}")
    return 1 if findings else 0


def _show_diversity(chosen: list[Schema], options: argparse.Namespace) -> int:
    """Measure as many synthetic problems as there are of each file, and show all side by side."""
    sources: dict[str, list[Problem]] = {}
    for path in options.against:
        sources |= read_kinds(path)
    n = min([options.n, *map(len, sources.values())])
    synthetic = generate_balanced(chosen, n, options.seed)
    measured = {"synthetic": measure(synthetic)}
    for name, problems in sources.items():
        measured[name] = measure(stream("diversity", options.seed, name).sample(problems, n), reference=synthetic)
    if options.json:
        show_json({name: asdict(diversity) for name, diversity in measured.items()})
        return 0
    Screen().print(_table(measured))
    return 0


def _table(measured: dict[str, Diversity]) -> Table:
    table = Table("", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in measured:
        table.add_column(name, justify="right")
    rows = {name: [_figure(name, getattr(diversity, name)) for diversity in measured.values()]
            for name in Diversity.__dataclass_fields__ if name != "experts"}  # fmt: skip
    for name, figures in rows.items():
        table.add_row(name.replace("_", " "), *figures)
    for expert in dict.fromkeys(expert for diversity in measured.values() for expert in diversity.experts):
        shares = [_figure("share", diversity.experts.get(expert)) for diversity in measured.values()]
        table.add_row(f"expert {expert}", *shares)
    return table


def _figure(name: str, value: float | None) -> str:
    if value is None:
        return "–"
    if name in ("numbers_as_words", "commonest_shape", "covered", "share"):
        return f"{value:.1%}"
    return f"{value:,}" if isinstance(value, int) else f"{value:.2f}"
