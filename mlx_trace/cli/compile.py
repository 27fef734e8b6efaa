"""`mlx-trace compile` and `mlx-trace variants`: worked solutions become traces, and one problem becomes many."""

import argparse
import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from mlx_trace.cli.options import FORMATS, add_field_option, add_seed_option, at_least
from mlx_trace.cli.output import output_file, show_json, shower
from mlx_trace.cli.screen import Screen
from mlx_trace.destination import check_apart
from mlx_trace.errors import UserError
from mlx_trace.numbered import numbered
from mlx_trace.problems import gsm8k
from mlx_trace.problems.compile.compiler import NO_SOLUTION, Compiled, compile_file
from mlx_trace.problems.fields import GOLD_MARK, Fields, Told, missing, parse_told
from mlx_trace.problems.problem import Problem, write_problems
from mlx_trace.problems.rows import read_rows
from mlx_trace.problems.variants.tell import Tally, tell_again

T = TypeVar("T")
_WATCHED_EVERY = 50  # items between two lines of progress


def add_compile_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("rows", type=Path, metavar="FILE",
                        help="questions with worked solutions (GSM-8K's form, or a field for each) or equations: "
                             + FORMATS)  # fmt: skip
    add_field_option(parser)
    parser.add_argument(
        "-o", "--output", type=output_file, required=True, metavar="FILE.jsonl", help="where to write the problems"
    )
    parser.add_argument("--grounded", action="store_true",
                        help="write only problems whose numbers are all stated or common knowledge")  # fmt: skip
    parser.add_argument("--part", choices=("all", "train", "held-out"), default="all",
                        help="all (default), what training takes, or the wordings kept for validation")  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run_compile(options: argparse.Namespace) -> int:
    told, tally = parse_told(options.field), _Outcomes()
    check_apart(options.output, [options.rows])
    started = time.perf_counter()
    written = write_problems(options.output, _chosen(options, told, tally))
    seconds = time.perf_counter() - started
    if options.json:
        figures = {name: tally.counts[name] for name in ("rows", "compiled", "grounded", "doubtful")}
        listed = {"reasons": tally.reasons, "doubts": tally.doubts, "experts": tally.experts}
        show_json(figures | {"seconds": round(seconds, 3)}
                  | {name: dict(counts.most_common()) for name, counts in listed.items()})  # fmt: skip
        return 0
    rows, show = tally.counts["rows"], shower(options.output)
    show(f"{numbered(rows, 'row')} in {seconds:.1f} s ({rows / max(seconds, 1e-9):,.0f} a second)")
    for name in ("compiled", "grounded", "doubtful"):
        show(f"  {name:<10} {tally.counts[name]:>7,}  {_share(tally.counts[name], rows)}")
    _print_counts(show, "doubtful (not trained on)", tally.doubts)
    _print_counts(show, "by expert", tally.experts)
    _print_counts(show, "not compiled", tally.reasons)
    show(f"{numbered(written, 'problem')} written to {options.output}")
    return 0


@dataclass
class _Outcomes:
    """What came of a file's rows: how many of each kind, why others do not compile or are doubtful, by expert."""

    counts: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    doubts: Counter[str] = field(default_factory=Counter)
    experts: Counter[str] = field(default_factory=Counter)


def _chosen(options: argparse.Namespace, told: Told, tally: _Outcomes) -> Iterator[Problem]:
    """Yield the problems that are asked for, and count all; UserError if there are none."""
    for outcome in _watched(compile_file(options.rows, told), "rows"):
        tally.counts["rows"] += 1
        if not isinstance(outcome, Compiled):
            tally.reasons[outcome.reason] += 1
            continue
        tally.counts["compiled"] += 1
        tally.counts["grounded"] += outcome.grounded
        tally.experts[outcome.expert] += 1
        if outcome.problem.doubt:
            tally.counts["doubtful"] += 1
            tally.doubts[outcome.problem.doubt] += 1
        wanted = options.part in ("all", "held-out" if gsm8k.is_held_out(outcome.problem) else "train")
        if wanted and (outcome.grounded or not options.grounded):
            tally.counts["written"] += 1
            yield outcome.problem
    if not tally.counts["rows"]:
        raise UserError(f"{options.rows}: holds no rows")
    if not tally.counts["compiled"]:
        raise UserError(*_why_none(options.rows, tally.counts["rows"], tally.reasons, told))
    if not tally.counts["written"]:
        which = " and ".join(["grounded"] * options.grounded + [options.part] * (options.part != "all"))
        raise UserError(f"{options.rows}: none of the {tally.counts['compiled']:,} compiled problems is {which}")


def _why_none(path: Path, rows: int, reasons: Counter[str], told: Told) -> list[str]:
    """Return the lines that say why no row compiled, and what to do about it."""
    why = ", ".join(f"{count:,} {reason}" for reason, count in reasons.most_common(5))
    lines = [f"{path}: none of its {rows:,} rows compiles: {why}"]
    if reasons["no question"] or reasons["no answer"]:
        row = next((row for _, row, _ in read_rows(path) if row), {})
        name = "question" if reasons["no question"] else "answer"
        with contextlib.suppress(ValueError):  # a told field that it lacks is among the reasons already
            if name not in Fields(told).read(row):
                lines.append(f"  {missing(name, row)}")
    if reasons[NO_SOLUTION]:
        lines.append(
            f"  a solution ends in {GOLD_MARK} and its answer, or has a field of its own (--field solution=NAME), "
            "as an equation has (--field equation=NAME); "
            "rows with answers alone serve reinforcement and evaluation as they are"
        )
    return lines


def add_variants_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("problems", type=Path, metavar="FILE", help="problems with traces, as compile writes them")
    add_field_option(parser)
    parser.add_argument(
        "-k", type=at_least(1), default=20, metavar="N", help="variants of each problem (default %(default)s)"
    )
    parser.add_argument(
        "-o", "--output", type=output_file, required=True, metavar="FILE.jsonl", help="where to write them"
    )
    add_seed_option(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run_variants(options: argparse.Namespace) -> int:
    told, tally = parse_told(options.field), Tally()
    check_apart(options.output, [options.problems])

    def problems() -> Iterator[Problem]:
        yield from _watched(tell_again(options.problems, options.k, options.seed, tally, told), "variants")
        if not tally.problems:
            raise UserError(f"{options.problems}: holds no problems")
        if not tally.variants:
            why = ", ".join(f"{count:,} {reason}" for reason, count in tally.reasons.most_common(5))
            raise UserError(f"{options.problems}: none of its {tally.problems:,} problems has a variant"
                            + (f": {why}" if why else ""))  # fmt: skip

    started = time.perf_counter()
    written = write_problems(options.output, problems())
    seconds = time.perf_counter() - started
    if options.json:
        show_json({
            "problems": tally.problems, "grounded": tally.grounded, f"with_{options.k}": tally.full,
            "yield": round(tally.full / max(1, tally.grounded), 4), "variants": written, "seconds": round(seconds, 3),
            "reasons": dict(tally.reasons.most_common()),
        })  # fmt: skip
        return 0
    show = shower(options.output)
    show(f"{numbered(tally.problems, 'problem')}, {tally.grounded:,} of them grounded, in {seconds:.1f} s")
    show(f"  with {options.k} variants {tally.full:>7,}  {_share(tally.full, tally.grounded)} of the grounded")
    _print_counts(show, "of no use", tally.reasons)
    show(f"{numbered(written, 'variant')} written to {options.output}")
    return 0


def _share(part: int, whole: int) -> str:
    return f"{part / whole:6.1%}" if whole else "     –"


def _print_counts(show: Callable[[str], None], title: str, counts: Counter[str]) -> None:
    total = counts.total()
    if counts:
        show(f"{title}:")
    for name, number in counts.most_common():
        show(f"  {name:<38} {number:>7,}  {_share(number, total)}")


def _watched(items: Iterable[T], noun: str) -> Iterator[T]:
    """Yield items, and say on a terminal how many there were."""
    with Screen(stderr=True).status("") as status:
        for number, item in enumerate(items, start=1):
            if number % _WATCHED_EVERY == 0:
                status.update(f"{number:,} {noun}")
            yield item
