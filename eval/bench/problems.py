"""Problems a second on one core: generated with all checks, compiled from worked solutions, told again.

    python eval/bench/problems.py [--rows GSM8K.jsonl] [--json] [--runs 5]

Without rows only the generator is timed. Also prints how many rows compile, how many of these are grounded, and how
many of the grounded have 20 variants. Medians over runs, the three in turn.
"""

import argparse
import json
import platform
import statistics
import time
from pathlib import Path

from mlx_trace.problems.compile.compiler import Compiled, compile_file
from mlx_trace.problems.problem import Problem
from mlx_trace.problems.synthetic.generator import generate_balanced
from mlx_trace.problems.synthetic.schema import load_schemas
from mlx_trace.problems.variants.tell import variants

GENERATED = 4000
TOLD_AGAIN = 300  # problems a run, every so-manieth of the file
VARIANTS = 20


def generate() -> float:
    """Return how many problems a second the generator gives, all families in the historical shares."""
    began = time.perf_counter()
    generate_balanced(list(load_schemas().values()), GENERATED, seed=0)
    return GENERATED / (time.perf_counter() - began)


def compile_rows(path: Path) -> tuple[float, list[Problem], dict[str, int]]:
    """Return rows a second, the grounded problems, and the counts."""
    began = time.perf_counter()
    outcomes = list(compile_file(path))
    rate = len(outcomes) / (time.perf_counter() - began)
    compiled = [outcome for outcome in outcomes if isinstance(outcome, Compiled)]
    grounded = [outcome.problem for outcome in compiled if outcome.grounded]
    return rate, grounded, {"rows": len(outcomes), "compiled": len(compiled), "grounded": len(grounded)}


def tell_again(problems: list[Problem]) -> tuple[float, float]:
    """Return variants a second, and the share of problems that have all that were wanted."""
    chosen = problems[:: max(1, len(problems) // TOLD_AGAIN)]
    began = time.perf_counter()
    counts = [len(variants(problem, VARIANTS)) for problem in chosen]
    return sum(counts) / (time.perf_counter() - began), sum(count == VARIANTS for count in counts) / len(chosen)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=Path, help="worked solutions in GSM-8K's form")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--runs", type=int, default=5, help="runs to take the median of (default 5)")
    options = parser.parse_args()
    generate_balanced(list(load_schemas().values()), 10, seed=0)  # loads what is loaded once
    rates: dict[str, list[float]] = {"generated": []}
    report: dict[str, object] = {}
    for _ in range(options.runs):
        rates["generated"].append(generate())
        if options.rows is not None:
            rate, grounded, counts = compile_rows(options.rows)
            rates.setdefault("compiled", []).append(rate)
            rate, full = tell_again(grounded)
            rates.setdefault("told again", []).append(rate)
            report |= counts | {f"share with {VARIANTS} variants": round(full, 4)}
    report["machine"] = f"{platform.processor() or platform.machine()}, Python {platform.python_version()}, one core"
    report["a second"] = {name: round(statistics.median(found)) for name, found in rates.items()}
    if options.json:
        print(json.dumps(report))
        return
    for name, found in rates.items():
        print(f"{name:<12} {statistics.median(found):>7,.0f} a second   ({min(found):,.0f} to {max(found):,.0f})")
    for name, figure in report.items():
        if name != "a second":
            print(f"{name}: {figure}")


if __name__ == "__main__":
    main()
