"""Traces a second from text to grade, on one core: canonical text, the same through the YAML path, and broken text.

    python eval/bench/language.py [--json] [-n 5000] [--runs 7]

The texts are gold traces of the bundled families, in the historical shares, each once a run; medians over runs.
"""

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from fractions import Fraction

from mlx_trace.language.grade import Grade, grade, grade_outcome
from mlx_trace.language.solver import solve
from mlx_trace.language.syntax import Trace, _parse_yaml
from mlx_trace.problems.synthetic.generator import generate_balanced
from mlx_trace.problems.synthetic.schema import load_schemas

Case = tuple[str, Fraction]


def yaml_grade(text: str, expected: Fraction) -> Grade | None:
    """Grade without the fast path."""
    trace = _parse_yaml(text)
    return grade_outcome(solve(trace), expected) if isinstance(trace, Trace) else None


def rate(function: Callable[[str, Fraction], object], cases: list[Case], runs: int) -> dict[str, float]:
    """Return the median, least and greatest number of traces a second."""
    rates = []
    for _ in range(runs):
        began = time.perf_counter()
        for text, expected in cases:
            function(text, expected)
        rates.append(len(cases) / (time.perf_counter() - began))
    return {"median": round(statistics.median(rates)), "least": round(min(rates)), "greatest": round(max(rates))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("-n", type=int, default=5000, help="how many traces (default 5000)")
    parser.add_argument("--runs", type=int, default=7, help="runs to take the median of (default 7)")
    options = parser.parse_args()
    problems = generate_balanced(list(load_schemas().values()), options.n, seed=0)
    canonical = [(problem.trace or "", problem.expected or Fraction(0)) for problem in problems]
    broken = [(text.replace("result", "results", 1), expected) for text, expected in canonical]
    if not all(grade(text, expected).kind == "correct" for text, expected in canonical):
        raise SystemExit("a gold trace is not correct: these rates would mean nothing")
    rates = {
        "canonical": rate(grade, canonical, options.runs),
        "canonical with its fence": rate(grade, [(text + "\n```", gold) for text, gold in canonical], options.runs),
        "broken": rate(grade, broken, options.runs),
        "through YAML": rate(yaml_grade, canonical[:1000], options.runs),
    }
    machine = f"{platform.processor() or platform.machine()}, Python {platform.python_version()}"
    steps = statistics.mean(text.count("{op:") for text, _ in canonical)
    if options.json:
        print(json.dumps({"machine": machine, "steps": round(steps, 2), "traces_per_second": rates}))
        return
    print(f"{options.n} traces, {steps:.1f} steps on average; medians of {options.runs} runs on one core; {machine}")
    for name, found in rates.items():
        print(f"  {name:<26} {found['median']:>7,} traces/s   ({found['least']:,} to {found['greatest']:,})")


if __name__ == "__main__":
    main()
