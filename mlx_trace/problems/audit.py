"""Label checks and English lint over many draws of every schema: what `mlx-trace audit` and CI run.

Takes schemas, returns one `Finding` for each kind of fault, with an example and how often it was seen.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from mlx_trace.errors import UserError
from mlx_trace.language.knowledge import known_numbers
from mlx_trace.language.mentions import find_numbers
from mlx_trace.language.numbers import spell
from mlx_trace.language.solver import Solved, solve
from mlx_trace.language.steps import (
    AddEntity,
    Compute,
    Consume,
    Init,
    InitFrom,
    Malformed,
    Operand,
    Percent,
    Query,
    Step,
    Transfer,
)
from mlx_trace.language.syntax import NoTrace, Trace, parse_document
from mlx_trace.problems.english import lint
from mlx_trace.problems.problem import Problem
from mlx_trace.problems.synthetic.generator import Options, draw
from mlx_trace.problems.synthetic.schema import Schema, Split

SPLITS: Final[tuple[Split, ...]] = ("train", "eval")
_FEW: Final = 10  # draws that may all have one answer by chance
LEAST_TEMPLATES: Final[dict[Split, int]] = {"train": 3, "eval": 1}


@dataclass(frozen=True, slots=True)
class Finding:
    """A fault of a schema: what, how many draws have it, and one of them."""

    schema: str
    fault: str
    count: int
    example: str


def audit(schemas: Sequence[Schema], per_schema: int, seed: int = 0) -> list[Finding]:
    """Check `per_schema` draws of every schema, half a split; return what is wrong, nothing if all is well."""
    nouns = {word.one: word.many for schema in schemas for words in schema.slots.values() for word in words
             if word.pronoun is None and " " not in word.one}  # fmt: skip
    return [finding for schema in schemas for finding in _audit_schema(schema, per_schema, seed, nouns)]


def _audit_schema(schema: Schema, count: int, seed: int, nouns: dict[str, str]) -> Iterator[Finding]:
    faults: Counter[str] = Counter()
    examples: dict[str, str] = {}
    for fault, example in _faults(schema, count, seed, nouns):
        faults[fault] += 1
        examples.setdefault(fault, example)
    for fault, number in faults.items():
        yield Finding(schema.id, fault, number, examples[fault])


def _faults(schema: Schema, count: int, seed: int, nouns: dict[str, str]) -> Iterator[tuple[str, str]]:
    """Yield (fault, example) for the schema itself and for each of its draws."""
    for split, least in LEAST_TEMPLATES.items():
        if len(schema.wordings[split]) < least:
            yield f"has fewer than {least} {split} templates", ""
    templates = {split: {wording.template for wording in schema.wordings[split]} for split in SPLITS}
    if shared := templates["train"] & templates["eval"]:
        yield f"{len(shared)} templates are for training and evaluation alike", ""
    answers = set()
    for k in range(count):
        split = SPLITS[k % len(SPLITS)]
        try:
            problem = draw(schema, seed, k, Options(split, number_word_rate=0.3))
        except UserError as error:
            yield str(error), ""
            return
        answers.add(problem.expected)
        for fault in check_problem(problem, schema.constants, distractors(schema)):
            yield fault, problem.question
        for fault in lint(problem.question, nouns):
            yield f"English: {fault.partition(':')[0]}", f"{fault.partition(':')[2].strip()!r} in: {problem.question}"
    if count >= _FEW and len(answers) == 1:
        yield "every draw has the same answer, which is learnt without a look at the question", problem.question


def distractors(schema: Schema) -> int:
    """Return how many numbers a schema's questions hold that its trace does not use."""
    return sum(quantity.distractor for quantity in schema.quantities.values())


def check_problem(problem: Problem, constants: frozenset[Fraction], unused_allowed: int = 0) -> Iterator[str]:
    """Yield what is wrong between a question, its trace and its answer.

    Every value of the trace is stated, or one of `constants`; every number stated is used, up to `unused_allowed`.
    """
    trace = parse_document(problem.trace or "")
    if isinstance(trace, NoTrace):
        yield f"no trace: {trace.message}"
        return
    outcome = solve(trace)
    if not isinstance(outcome, Solved) or outcome.answer != problem.expected:
        yield "the trace does not solve to the answer"
    for constant in constants - known_numbers(problem.question):
        yield f"{spell(constant)} is not in the list of constants"
    mentions = find_numbers(problem.question)
    stated = {value for mention in mentions for value in mention.readings}
    values = set(trace_values(trace))
    for value in values - stated - constants:
        yield f"a value of the trace is not in the question (such as {_kind(value)})"
    unused = [mention for mention in mentions if not values.intersection(mention.readings)]
    if len(unused) > unused_allowed:
        yield f"a number of the question is not in the trace (such as {unused[0].kind})"


def _kind(value: Fraction) -> str:
    return "a whole number" if value.denominator == 1 else "a fraction"


def trace_values(trace: Trace) -> Iterator[Fraction]:
    """Yield every number a trace holds: init values and literal operands."""
    for part in trace.parts:
        for step in part.steps:
            if isinstance(step, Init):
                yield step.value
            yield from (operand for operand in _operands(step) if isinstance(operand, Fraction))


def _operands(step: Step) -> tuple[Operand, ...]:
    match step:
        case Compute(args=args):
            return args
        case Percent(base=base, rate=rate):
            return base, rate
        case Consume(amount=amount) | AddEntity(amount=amount) | Transfer(amount=amount):
            return (amount,)
        case Init() | InitFrom() | Query() | Malformed():
            return ()
