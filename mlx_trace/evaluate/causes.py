"""Why a wrong reply is wrong: one primary cause, by what it computes beside what the gold trace does.

Takes a reply, its question, and a gold trace or none; without one the question's numbers are all there is to go by.
"""

import re
from collections.abc import Iterator
from fractions import Fraction
from functools import lru_cache
from typing import Final, Literal, get_args

from mlx_trace.evaluate.computation import Expression, computation, number
from mlx_trace.evaluate.usage import answer_numbers, unused
from mlx_trace.language.experts import EXPERTS
from mlx_trace.language.grade import expert_of
from mlx_trace.language.knowledge import called_numbers
from mlx_trace.language.mentions import Mention, find_numbers
from mlx_trace.language.solver import Failed, solve
from mlx_trace.language.syntax import NoTrace, Trace, parse

Cause = Literal[
    "truncated", "not parsed", "wrong expert", "invalid trace", "value not in the question", "other value",
    "percent or fraction", "relation reversed", "wrong operation", "wrong wiring", "missing final step",
    "missing steps", "extra steps",
]  # fmt: skip
CAUSES: Final[tuple[Cause, ...]] = get_args(Cause)
_PERCENT: Final = ("percent_of", "percent_off", "percent_increase")
_INVERSE: Final = {"add": "sub", "sub": "add", "mul": "div", "div": "mul"}
_OPS: Final = (*_INVERSE, *_PERCENT)
_OPS_OF_ALL: Final = frozenset().union(*EXPERTS.values())
_FREE: Final = ("add", "mul")  # whose operands have no order
_THAN: Final = re.compile(
    r"\b(?:than|as (?:many|much|long|old|tall|far|fast|big|large|heavy|expensive)|"
    r"times(?! (?:an?|per|each|every|in|on|at|this|last|during)\b))\b"
)
_LARGEST: Final = 200  # operations and numbers of a computation that is compared; adding a to a 60 times makes 2^60
_RELATED: Final = 50  # characters between a number and the word that relates


@lru_cache(maxsize=1 << 12)
def cause_of(text: str, question: str, gold: str | None, expert: str | None = None, truncated: bool = False) -> Cause:
    """Return why a reply is wrong; `gold` is the gold trace's text, `expert` what was expected, if anything was."""
    trace = parse(text)
    if isinstance(trace, NoTrace):
        return "truncated" if truncated else "not parsed"
    if _names_another(trace, expert):
        return "wrong expert"
    if isinstance(solve(trace), Failed):
        return "truncated" if truncated else "invalid trace"
    wanted, mentions = parse(gold) if gold else None, find_numbers(question)
    if not isinstance(wanted, Trace) or isinstance(solve(wanted), Failed):
        return _by_the_question(trace, question, mentions)
    own, golden = computation(trace), computation(wanted)
    if max(own.size, golden.size) > _LARGEST:
        return "extra steps" if own.size > golden.size else "missing steps"
    return _beside(own, golden, question, mentions)


def _names_another(trace: Trace, expert: str | None) -> bool:
    """Tell whether the reply's expert is not the one expected, or cannot do what the reply does."""
    if expert is not None and expert_of(trace) != expert:
        return True
    return any(step.op in _OPS_OF_ALL and step.op not in EXPERTS.get(part.expert, _OPS_OF_ALL)
               for part in trace.parts for step in part.steps)  # fmt: skip


# --- beside the gold trace -----------------------------------------------------------------------------------------


def _beside(own: Expression, gold: Expression, question: str, mentions: list[Mention]) -> Cause:
    """Return which one change of the gold trace's computation gives the reply's; else the cause by their numbers."""
    stated = _stated(question, mentions)
    strange = [value for value in own.numbers if value not in stated and value not in gold.numbers]
    if strange and not any(_is_slip(value, other) for value in strange for other in gold.numbers):
        return "value not in the question"
    usual = own.usual
    if any(arg.usual == usual for arg in gold.args):
        return "missing final step"
    if any(shorter.usual == usual for shorter in _shortened(gold)):
        return "missing steps"
    if any(shorter.usual == gold.usual for shorter in _shortened(own)):
        return "extra steps"
    for part in _unique(gold):
        for op in _OPS:
            fits = op != part.op and (len(part.args) == 2 or op in _FREE)
            if fits and _gives(gold, part, Expression(op, part.args), usual):
                return _operation(part, op, question, mentions)
        if part.op not in _FREE and _gives(gold, part, Expression(part.op, part.args[::-1]), usual):
            return "wrong wiring"
    if (slips := _changed_number(own, gold)) is not None:
        return "percent or fraction" if slips else "other value"
    if any(crossed.usual == usual for crossed in _crossed(gold)):
        return "wrong wiring"
    return _by_numbers(own, gold)


def _gives(gold: Expression, old: Expression, new: Expression, usual: Expression) -> bool:
    return gold.replaced(old, new).usual == usual


def _unique(whole: Expression) -> list[Expression]:
    return list(dict.fromkeys(whole.parts()))


def _shortened(whole: Expression) -> Iterator[Expression]:
    """Yield what a computation has on the way, and it with one operation left out, an operand standing for that."""
    for part in _unique(whole):
        if part is not whole:
            yield part
        yield from (whole.replaced(part, arg) for arg in part.args)
        if len(part.args) > 2:
            yield from (whole.replaced(part, Expression(part.op, part.args[:k] + part.args[k + 1 :]))
                        for k in range(len(part.args)))  # fmt: skip


def _operation(part: Expression, op: str, question: str, mentions: list[Mention]) -> Cause:
    """Return what it is to compute `op` in place of an operation."""
    if {part.op, op} & {*_PERCENT}:
        return "percent or fraction"
    return "relation reversed" if _is_reversed(part, op, question, mentions) else "wrong operation"


def _changed_number(own: Expression, gold: Expression) -> bool | None:
    """Tell whether another number in one place gives what was computed, and then whether one is the other's slip."""
    new = [*(own.numbers - gold.numbers)]
    for value in new:
        for other in gold.numbers:
            if _gives(gold, number(other), number(value), own.usual):
                return _is_slip(value, other)
    for part in _unique(gold):
        for k, arg in enumerate(part.args):
            for value in new if arg.op == "number" else ():
                changed = Expression(part.op, (*part.args[:k], number(value), *part.args[k + 1 :]))
                if _gives(gold, part, changed, own.usual):
                    return _is_slip(value, arg.number)
    return None


def _crossed(gold: Expression) -> Iterator[Expression]:
    """Yield a computation with two of its numbers exchanged."""
    numbers, blank = list(map(number, gold.numbers)), Expression("blank")
    for k, first in enumerate(numbers):
        for second in numbers[k + 1 :]:
            yield gold.replaced(first, blank).replaced(second, first).replaced(blank, second)
    parts = _unique(gold)
    for part in parts:
        for other in parts:
            for left, right in _pairs(part, other):
                yield gold.replaced(other, _with(other, right, left)).replaced(part, _with(part, left, right))


def _pairs(part: Expression, other: Expression) -> Iterator[tuple[Expression, Expression]]:
    if part is not other:
        yield from ((first, second) for first in part.args for second in other.args
                    if first.op == second.op == "number" and first != second)  # fmt: skip


def _with(part: Expression, old: Expression, new: Expression) -> Expression:
    return Expression(part.op, tuple(new if arg == old else arg for arg in part.args))


def _by_numbers(own: Expression, gold: Expression) -> Cause:
    """Return the cause of more than one change, by the operands that meet and the numbers that are used."""
    if own.usual.meetings == gold.usual.meetings or own.unsigned == gold.unsigned:
        return "wrong operation"
    strange, missing = own.distinct - _also(gold), gold.distinct - _also(own)
    if strange and missing:
        slips = all(any(_is_slip(value, other) for other in missing) for value in strange)
        return "percent or fraction" if slips else "other value"
    if strange or missing:
        return "extra steps" if strange else "missing steps"
    more = own.numbers.total() - gold.numbers.total()
    return "wrong wiring" if more == 0 else "extra steps" if more > 0 else "missing steps"


def _also(whole: Expression) -> frozenset[Fraction]:
    """Return the numbers in a computation, and the inverses of its factors and divisors: half of it is it by two."""
    factors = {arg.number for part in _unique(whole) if part.op in ("mul", "div") for arg in part.args}
    return whole.distinct | {1 / factor for factor in factors if factor}


def _is_slip(value: Fraction, other: Fraction) -> bool:
    """Tell whether a number is another's percentage, remainder, or inverse: 0.2 or 80 for 20, 5 for a fifth."""
    if other == 0 or value in (other, 1):
        return False
    return value in (other / 100, other * 100, 1 / other, 100 - other, 1 - other, 1 - other / 100)


def _is_reversed(part: Expression, op: str, question: str, mentions: list[Mention]) -> bool:
    """Tell whether `op` is an operation's inverse, by a number that the question relates two things by."""
    if _INVERSE.get(part.op) != op:
        return False
    numbers = {arg.number for arg in part.args if arg.op == "number"}
    return any(
        mention.kind == "relation" or _THAN.search(question, mention.start, mention.end + _RELATED)
        for mention in mentions if not numbers.isdisjoint(mention.readings)
    )  # fmt: skip


# --- without a gold trace ------------------------------------------------------------------------------------------


def _by_the_question(trace: Trace, question: str, mentions: list[Mention]) -> Cause:
    if not answer_numbers(trace) <= _stated(question, mentions):
        return "value not in the question"
    return "missing steps" if unused(question, trace) else "wrong wiring"


def _stated(question: str, mentions: list[Mention]) -> set[Fraction]:
    """Return the numbers that a question states, in every reading, and those that its words call for."""
    return {reading for mention in mentions for reading in mention.readings} | {*called_numbers(question)}
