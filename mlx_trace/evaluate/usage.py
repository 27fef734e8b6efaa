"""What a trace makes of a question's numbers: which of those that are stated its answer depends on.

Takes a question and a trace that ran; returns mentions. Knows nothing of answers or votes.
"""

from fractions import Fraction

from mlx_trace.language.mentions import Mention, find_numbers
from mlx_trace.language.steps import (
    AddEntity,
    Compute,
    Consume,
    Init,
    InitFrom,
    Operand,
    Percent,
    Query,
    Step,
    Transfer,
)
from mlx_trace.language.syntax import Part, Trace

Numbers = frozenset[Fraction]


def amounts(question: str) -> list[Mention]:
    """Return the numbers that a question states and that an answer may be expected to use.

    An ordinal says which and not how many, and the word one is mostly a pronoun, or the unit of a price or a rate.
    """
    return [mention for mention in find_numbers(question)
            if mention.kind != "ordinal" and not (mention.kind == "words" and mention.value == 1)]  # fmt: skip


def unused(question: str, trace: Trace) -> list[Mention]:
    """Return the amounts of a question on which the answer of a trace that ran does not depend.

    One is used when the trace has a reading of it, of that or of another place in the question, on the way to its
    answer: what is defined and then left alone is not used.
    """
    numbers = answer_numbers(trace)
    return [mention for mention in amounts(question) if numbers.isdisjoint(mention.readings)]


def share_used(question: str, trace: Trace) -> Fraction:
    """Return the share of a question's amounts that the answer of a trace depends on; 1 where there are none."""
    stated = len(amounts(question))
    return 1 - Fraction(len(unused(question, trace)), stated) if stated else Fraction(1)


def answer_numbers(trace: Trace) -> Numbers:
    """Return the literals on which the answer of a trace that ran depends."""
    answers: list[Numbers] = []
    for part in trace.parts:
        answers.append(_part_numbers(part, answers))
    return answers[-1]


def _part_numbers(part: Part, earlier: list[Numbers]) -> Numbers:
    """Return what a part's answer depends on, given what the earlier parts' answers depend on."""
    behind: dict[str, Numbers] = {}  # each variable, and the literals behind its value
    for step in part.steps:
        if isinstance(step, Query):
            return behind[step.var]
        behind |= _changed(step, behind, earlier)
    raise ValueError("a part without a query has not run")


def _changed(step: Step, behind: dict[str, Numbers], earlier: list[Numbers]) -> dict[str, Numbers]:
    """Return the variables that a step defines or changes, each with the literals that are now behind it."""

    def of(*operands: Operand) -> Numbers:
        return frozenset().union(*(behind.get(x, ()) if isinstance(x, str) else (x,) for x in operands))

    match step:
        case Init(var=var, value=value):
            return {var: frozenset([value])}
        case InitFrom(var=var, source=source):
            return {var: earlier[-1 if source == "prev.result" else int(source[3 : -len(".result")])]}
        case Compute(var=var, args=args):
            return {var: of(*args)}
        case Percent(var=var, base=base, rate=rate):
            return {var: of(base, rate)}
        case Consume(entity=entity, amount=amount) | AddEntity(entity=entity, amount=amount):
            return {entity: of(entity, amount)}
        case Transfer(from_=giver, to=receiver, amount=amount):
            return {giver: of(giver, amount), receiver: of(receiver, amount)}
    return {}
