"""Whether the cause of a wrong reply is named right: gold traces broken on purpose, in each way, and their names.

    python eval/bench/causes.py [--rows WORKED.jsonl …] [-n 2] [--json]

On problems of every schema and, with rows, on what worked solutions compile to. A line is how traces were broken, a
column what the classifier says; a break that leaves the answer right is none. No model is run.
"""

import argparse
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from random import Random
from typing import Final

from rich.console import Console
from rich.table import Table

from mlx_trace.evaluate.causes import CAUSES, Cause, cause_of
from mlx_trace.evaluate.stats import Rate
from mlx_trace.language.experts import EXPERTS
from mlx_trace.language.grade import grade
from mlx_trace.language.knowledge import called_numbers
from mlx_trace.language.mentions import find_numbers
from mlx_trace.language.steps import Compute, Init, Percent, Query, Step
from mlx_trace.language.syntax import Part, Trace, parse, render
from mlx_trace.problems.compile.compiler import Compiled, compile_file
from mlx_trace.problems.problem import Problem
from mlx_trace.problems.synthetic.generator import draw
from mlx_trace.problems.synthetic.schema import load_schemas

OTHER: Final = {"add": ("mul", "div"), "sub": ("mul", "div"), "mul": ("add", "sub"), "div": ("add", "sub")}
INVERSE: Final = {"add": "sub", "sub": "add", "mul": "div", "div": "mul"}
RELATED: Final = (" more ", " fewer ", " less ", " older ", " younger ", " times as ", "twice as ", " times the ")
Text = str | None


def problems(rows: list[Path], each: int) -> Iterator[Problem]:
    """Yield problems with gold traces."""
    yield from (draw(schema, 23, k) for schema in load_schemas().values() for k in range(each))
    for path in rows:
        compiled = (found for found in compile_file(path) if isinstance(found, Compiled))
        yield from (one.problem for one in compiled if one.grounded and not one.problem.doubt)


class Gold:
    """A gold trace to break, and its question."""

    def __init__(self, problem: Problem, rng: Random) -> None:
        trace = parse(problem.trace or "")
        assert isinstance(trace, Trace)
        self.problem, self.trace, self.rng = problem, trace, rng
        self.steps = list(trace.parts[-1].steps)
        self.computes = [at for at, step in enumerate(self.steps) if isinstance(step, Compute | Percent)]
        self.inits = [at for at, step in enumerate(self.steps) if isinstance(step, Init)]
        self.stated = {n for mention in find_numbers(problem.question) for n in mention.readings}

    def text(self, steps: list[Step], expert: str | None = None) -> str:
        """Return the trace with other steps in its last part."""
        last = self.trace.parts[-1]
        part = Part(expert or last.expert, tuple(steps))
        return render(Trace((*self.trace.parts[:-1], part)))

    def changed(self, at: int, step: Step) -> str:
        """Return the trace with another step in one place."""
        return self.text([*self.steps[:at], step, *self.steps[at + 1 :]])

    def value(self, name: object) -> Fraction | None:
        """Return the number that a variable is given, if it is."""
        given = [step.value for step in self.steps if isinstance(step, Init) and step.var == name]
        return given[0] if given else None


def not_parsed(gold: Gold) -> Text:
    return gold.text(gold.steps).replace("trace:", gold.rng.choice(("", "steps:", "trace"))).replace("- {", "{", 1)


def cut(gold: Gold) -> Text:
    text = gold.text(gold.steps)
    return text[: gold.rng.randrange(len(text) // 2, len(text) - 8)]


def invalid(gold: Gold) -> Text:
    if not gold.computes or gold.rng.random() < 0.3:
        return gold.text(gold.steps[:-1])
    at = gold.rng.choice(gold.computes)
    step = gold.steps[at]
    if isinstance(step, Percent):
        return gold.changed(at, replace(step, base="nowhere"))
    return gold.changed(at, replace(step, args=(*step.args[:-1], "nowhere"))) if isinstance(step, Compute) else None


def wrong_expert(gold: Gold) -> Text:
    ops = {step.op for step in gold.steps}
    lacking = [name for name, can in EXPERTS.items() if not ops <= can]
    return gold.text(gold.steps, gold.rng.choice(lacking)) if lacking else None


def strange_value(gold: Gold) -> Text:
    given = {step.value for step in gold.steps if isinstance(step, Init)}
    known = gold.stated | {*called_numbers(gold.problem.question)} | given
    numbers = [Fraction(n) for n in range(2, 400) if n not in known and not any(_slips(Fraction(n), x) for x in known)]
    at = gold.rng.choice(gold.inits)
    return gold.changed(at, replace(gold.steps[at], value=gold.rng.choice(numbers)))


def other_value(gold: Gold) -> Text:
    at = gold.rng.choice(gold.inits)
    before = gold.value(gold.steps[at].var)
    others = [n for n in gold.stated if n != before and not _slips(n, before)]
    return gold.changed(at, replace(gold.steps[at], value=gold.rng.choice(sorted(others)))) if others else None


def _slips(value: Fraction, other: Fraction | None) -> bool:
    return bool(other) and value in (100 - other, other / 100, other * 100, 1 / other, 1 - other / 100, 1 - other)


def percent(gold: Gold) -> Text:
    for at in gold.rng.sample(gold.computes, len(gold.computes)):
        step = gold.steps[at]
        if isinstance(step, Percent):
            ops = [op for op in ("percent_of", "percent_off", "percent_increase") if op != step.op]
            rate = next((k for k in gold.inits if gold.steps[k].var == step.rate), None)
            if rate is not None and gold.rng.random() < 0.5:
                return gold.changed(rate, replace(gold.steps[rate], value=gold.value(step.rate) / 100))
            return gold.changed(at, replace(step, op=gold.rng.choice(ops)))
        part = next((k for k in gold.inits if gold.steps[k].var in step.args and 0 < gold.steps[k].value < 1), None)
        if part is not None:
            return gold.changed(part, replace(gold.steps[part], value=1 / gold.steps[part].value))
    return None


def reversed_relation(gold: Gold) -> Text:
    question = gold.problem.question.lower()
    for at in gold.rng.sample(gold.computes, len(gold.computes)):
        step = gold.steps[at]
        is_plain = isinstance(step, Compute) and len(step.args) == 2
        if is_plain and any(_relates(question, gold.value(arg)) for arg in step.args):
            return gold.changed(at, replace(step, compute_op=INVERSE[step.compute_op]))
    return None


def _relates(question: str, number: Fraction | None) -> bool:
    """Tell whether the words right behind a number relate two things by it."""
    for mention in find_numbers(question):
        near, behind = question[mention.start - 1 : mention.end + 14], question[mention.end - 1 : mention.end + 40]
        relates = any(word in near for word in RELATED) and ("than" in behind or " as " in behind)
        if number in mention.readings and relates:
            return True
    return False


def wrong_operation(gold: Gold) -> Text:
    computes = [at for at in gold.computes if isinstance(gold.steps[at], Compute) and len(gold.steps[at].args) == 2]
    if not computes:
        return None
    at = gold.rng.choice(computes)
    step = gold.steps[at]
    return gold.changed(at, replace(step, compute_op=gold.rng.choice(OTHER[step.compute_op])))


def wiring(gold: Gold) -> Text:
    for at in gold.rng.sample(gold.computes, len(gold.computes)):
        step = gold.steps[at]
        if isinstance(step, Compute) and step.compute_op in ("sub", "div"):
            return gold.changed(at, replace(step, args=step.args[::-1]))
    computes = [at for at in gold.computes if isinstance(gold.steps[at], Compute)]
    if len(computes) < 2:
        return None
    first, second = gold.rng.sample(computes, 2)
    one, two = gold.steps[first], gold.steps[second]
    own, other = ([arg for arg in step.args if gold.value(arg) is not None] for step in (one, two))
    if not own or not other or own[0] == other[0]:
        return None
    steps = list(gold.steps)
    steps[first] = replace(one, args=tuple(other[0] if arg == own[0] else arg for arg in one.args))
    steps[second] = replace(two, args=tuple(own[0] if arg == other[0] else arg for arg in two.args))
    inits = [step for step in steps if isinstance(step, Init)]
    return gold.text([*inits, *(step for step in steps if not isinstance(step, Init))])


def _final(gold: Gold) -> int | None:
    """Return where the step is that gives the answer, if one computes it of another's result."""
    query = gold.steps[-1]
    if not isinstance(query, Query) or not gold.computes:
        return None
    at = gold.computes[-1]
    return at if gold.steps[at].var == query.var else None


def _read(step: Step) -> tuple[object, ...]:
    return step.args if isinstance(step, Compute) else (step.base, step.rate) if isinstance(step, Percent) else ()


def missing_final(gold: Gold) -> Text:
    at = _final(gold)
    computed = {gold.steps[k].var for k in gold.computes}
    derived = [arg for arg in _read(gold.steps[at]) if arg in computed] if at is not None else []
    if not derived:
        return None
    return gold.text([step for k, step in enumerate(gold.steps[:-1]) if k != at] + [Query(gold.rng.choice(derived))])


def missing_steps(gold: Gold) -> Text:
    inner = [at for at in gold.computes if any(gold.steps[at].var in _read(gold.steps[k]) for k in gold.computes)]
    if not inner:
        return None
    at = gold.rng.choice(inner)
    step = gold.steps[at]
    for_it = gold.rng.choice([arg for arg in _read(step) if isinstance(arg, str)])

    def without(other: Step) -> Step:
        if isinstance(other, Compute):
            return replace(other, args=tuple(for_it if arg == step.var else arg for arg in other.args))
        if isinstance(other, Percent):
            base, rate = (for_it if arg == step.var else arg for arg in (other.base, other.rate))
            return replace(other, base=base, rate=rate)
        return other

    return gold.text([without(other) for k, other in enumerate(gold.steps) if k != at])


def extra_steps(gold: Gold) -> Text:
    query = gold.steps[-1]
    assert isinstance(query, Query)
    names = [gold.steps[k].var for k in gold.inits]
    more = Compute(gold.rng.choice(("add", "sub", "mul", "div")), (query.var, gold.rng.choice(names)), "one_more")
    return gold.text([*gold.steps[:-1], more, Query("one_more")])


BREAKS: Final[dict[Cause, Callable[[Gold], Text]]] = {
    "truncated": cut, "not parsed": not_parsed, "wrong expert": wrong_expert, "invalid trace": invalid,
    "value not in the question": strange_value, "other value": other_value, "percent or fraction": percent,
    "relation reversed": reversed_relation, "wrong operation": wrong_operation, "wrong wiring": wiring,
    "missing final step": missing_final, "missing steps": missing_steps, "extra steps": extra_steps,
}  # fmt: skip

KINDS: Final = {  # what grades such traces have
    "truncated": ("parse_failure",), "not parsed": ("parse_failure",), "invalid trace": ("invalid_trace",),
    "wrong expert": ("invalid_trace", "wrong_expert"),
}  # fmt: skip


def confusion(golds: list[Problem], seed: int = 0, show: int = 0) -> dict[Cause, Counter[Cause]]:
    """Return how often traces broken in each way are said to be broken in each."""
    counts: dict[Cause, Counter[Cause]] = defaultdict(Counter)
    for number, problem in enumerate(golds):
        for cause, broken in BREAKS.items():
            gold = Gold(problem, Random(f"{seed} {number} {cause}"))
            text = broken(gold) if gold.inits or cause in ("truncated", "not parsed") else None
            if text is None:
                continue
            kind = grade(text, problem.expected).kind
            if kind == "correct" or kind not in KINDS.get(cause, ("wrong_answer",)):
                continue
            named = cause_of(text, problem.question, problem.trace, truncated=cause == "truncated")
            counts[cause][named] += 1
            if named != cause and show:
                print(f"--- {cause}, said to be {named}\n{problem.question}\n{problem.trace}\n{text}")
                show -= 1
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=Path, nargs="*", default=[], metavar="FILE", help="with worked solutions")
    parser.add_argument("-n", type=int, default=2, metavar="N", help="problems of each schema (default 2)")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="take one of so many (default 1: all)")
    parser.add_argument("--show", type=int, default=0, metavar="K", help="wrongly named ones to print")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    counts = confusion(list(problems(options.rows, options.n))[:: options.every], show=options.show)
    if options.json:
        print(json.dumps({cause: dict(named) for cause, named in counts.items()}))
        return
    numbers = map(str, range(1, len(CAUSES) + 1))
    shown = Table("broken so", "n", "named right", *numbers, box=None, pad_edge=False)
    for k, cause in enumerate(CAUSES, start=1):
        named, n = counts[cause], counts[cause].total()
        cells = (str(named[other]) if named[other] else "·" for other in CAUSES)
        shown.add_row(f"{k} {cause}", str(n), str(Rate(named[cause], n)), *cells)
    Console(width=170, highlight=False).print(shown)


if __name__ == "__main__":
    main()
