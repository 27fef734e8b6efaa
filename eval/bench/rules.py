"""What the rules would forbid: the share of gold traces that cannot be written under each, and the time they take.

    python eval/bench/rules.py [--rows WORKED.jsonl …] [--model NAME] [-n 2] [--form commented] [--show K]

On problems of every schema and, with rows, on what worked solutions compile to, where grounded. No model is run; a
trace is read by the automaton, in the tokens of that model. `--show` prints what each rule forbids first.
"""

import argparse
import time
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

from rich.console import Console
from rich.table import Table

from mlx_trace.config import OPERATION_FIRST, TraceForm
from mlx_trace.config_decoding import RULES, Rule
from mlx_trace.decode.grammar.follow import can_write
from mlx_trace.decode.grammar.vocabulary import Vocabulary, vocabulary_of
from mlx_trace.model.base import read_outline
from mlx_trace.model.prompts import CLOSING
from mlx_trace.problems.compile.compiler import Compiled, compile_file
from mlx_trace.problems.forms import in_form
from mlx_trace.problems.problem import Problem
from mlx_trace.problems.synthetic.generator import draw
from mlx_trace.problems.synthetic.schema import load_schemas

TESTED: dict[str, frozenset[Rule]] = {
    "none": frozenset(), **{rule: frozenset([rule]) for rule in RULES}, "all": frozenset(RULES)
}  # fmt: skip


def sets(rows: list[Path], each: int) -> Iterator[tuple[str, list[Problem]]]:
    """Yield each set's name and its problems with gold traces."""
    yield "synthetic", [draw(schema, 11, k) for schema in load_schemas().values() for k in range(each)]
    for path in rows:
        compiled = [found for found in compile_file(path) if isinstance(found, Compiled) and found.grounded]
        yield path.name, [found.problem for found in compiled]


def forbidden(problems: list[Problem], words: Vocabulary, names: frozenset[Rule], form: TraceForm) -> list[Problem]:
    """Return the problems whose gold trace, in a form, cannot be written under some rules."""
    found = []
    for problem in problems:
        ids = words.word((in_form(problem, form) or "") + CLOSING)
        if not can_write(words, problem.question, ids, names, form):
            found.append(problem)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--rows", type=Path, nargs="*", default=[], metavar="FILE", help="problems with worked solutions"
    )
    parser.add_argument("--model", default="tiny", metavar="NAME", help="whose tokens (default tiny)")
    parser.add_argument("-n", type=int, default=2, metavar="N", help="problems of each schema (default 2)")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="take one of so many (default 1: all)")
    parser.add_argument("--form", choices=get_args(TraceForm), default=OPERATION_FIRST, help="of the golds")
    parser.add_argument("--show", type=int, default=0, metavar="K", help="forbidden golds to print of each rule")
    options = parser.parse_args()
    console, words = Console(highlight=False, width=160), vocabulary_of(read_outline(options.model).tokenizer)
    shown = Table("", "rule", "golds", "forbidden", "ms a trace", box=None, pad_edge=False)
    for name, problems in ((name, problems[:: options.every]) for name, problems in sets(options.rows, options.n)):
        for label, names in TESTED.items():
            began = time.perf_counter()
            found = forbidden(problems, words, names, options.form)
            each = 1000 * (time.perf_counter() - began) / max(1, len(problems))
            share = f"{len(found):,} = {len(found) / max(1, len(problems)):.2%}"
            shown.add_row(name, label, f"{len(problems):,}", share, f"{each:.1f}")
            for problem in found[: options.show]:
                told = in_form(problem, options.form)
                console.print(f"{label}: {problem.question}\n{told}\n", markup=False)
    console.print(shown)


if __name__ == "__main__":
    main()
