"""What a problem must keep to make as much sense with other numbers as with its own.

Takes a question, its trace and what that computes; tells whether it can be retold at all, and whether new values will
do. A trace may be right only because two numbers happened to be equal: what was equal stays equal.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from itertools import combinations, pairwise
from typing import Final

from mlx_trace.language.measures import currency
from mlx_trace.language.mentions import Mention, find_numbers
from mlx_trace.language.numbers import LIMIT
from mlx_trace.language.solver import Entry, Solved, solve
from mlx_trace.language.steps import Compute, Init
from mlx_trace.language.syntax import Trace
from mlx_trace.problems.audit import trace_values

Run = Sequence[tuple[str, Fraction]]  # each variable as it is set, with its value; last the answer, without a name

EVERYDAY: Final = frozenset(map(Fraction, (7, 12, 24, 52, 60, 100, 365, 1000)))  # what one divides by in conversions
_MAGNITUDE: Final = 20  # by which a computed value grows or shrinks at most
_SMALL: Final = 7  # a number of this size may go unused: three friends, two days
_LEAST_SUM: Final = 15  # a smaller sum comes out by chance
_MOST_ADDED: Final = 5
_HARMLESS: Final = frozenset({"pair", "pairs", "couple", "double", "doubles"})
_APART: Final = re.compile(r"[:/]")  # a clock's or a date's number stands beside one of these
_MONTHS: Final = "january february march april may june july august september october november december".split()
DATED: Final = re.compile(rf"(?i)\b(?:year|grade|class|room|number|no\.|step|chapter|size|{'|'.join(_MONTHS)})\s?$")
_EXTREMES: Final = re.compile(
    r"(?i)\b(?:busiest|slowest|slower|fastest|cheap(?:er|est)|highest|lowest|tallest|largest|smallest|winner|whichever|best|"
    r"worst|oldest|youngest|most|least)\b"
)
_NOUN: Final = re.compile(r"[ -]([A-Za-z]+)")


def run(trace: Trace) -> Run | None:
    """Return what a trace computes, step by step; None if it does not run."""
    ledger: list[Entry] = []
    outcome = solve(trace, ledger)
    if not isinstance(outcome, Solved):
        return None
    return [*((name, value) for entry in ledger for name, value in entry.changed.items()), ("", outcome.answer)]


def is_told_whole(question: str, trace: Trace) -> bool:
    """Tell whether a trace uses what the question states, so that new numbers mean what the old ones did.

    A few small numbers may go unused. A multiple that goes unused, or a number that the trace has and the question
    does not, was computed in somebody's head; and one divided by itself stands for something else.
    """
    values = set(trace_values(trace))
    mentions = find_numbers(question)
    stated = {reading for mention in mentions for reading in mention.readings}
    unused = [mention for mention in mentions if not values.intersection(mention.readings)]
    if any(_matters(question, mention) for mention in unused):
        return False
    if sum(2 <= mention.value <= _SMALL and mention.is_plain for mention in unused) > 1:
        return False
    if any(value > 12 and value not in stated and value not in EVERYDAY and "_per_" not in name and "days" not in name
           for name, value in _inits(trace)):  # fmt: skip
        return False
    return not any(len(set(step.args)) == 1 for step in _steps(trace) if step.compute_op == "div")


def _matters(question: str, mention: Mention) -> bool:
    """Tell whether an unused number would have been used by a trace that tells the whole story."""
    word = question[mention.start : mention.end].lower()
    if mention.kind == "relation":
        return word not in _HARMLESS
    beside = question[max(0, mention.start - 1) : mention.start] + question[mention.end : mention.end + 1]
    if mention.kind not in ("digits", "percent", "words") or _APART.search(beside) or is_year(question, mention):
        return False
    if DATED.search(question[max(0, mention.start - 12) : mention.start]):
        return False
    return mention.value > _SMALL


def is_year(question: str, mention: Mention) -> bool:
    """Tell whether a number is written as a year is."""
    text = question[mention.start : mention.end]
    return (
        mention.kind == "digits" and 1900 <= mention.value <= 2100
        and "," not in text and not currency(question, mention)
    )  # fmt: skip


def _steps(trace: Trace) -> Iterator[Compute]:
    yield from (step for part in trace.parts for step in part.steps if isinstance(step, Compute))


def _inits(trace: Trace) -> Iterator[tuple[str, Fraction]]:
    yield from ((step.var, step.value) for part in trace.parts for step in part.steps if isinstance(step, Init))


class Sense:
    """What the original keeps to; `admits` tells whether new numbers do too."""

    def __init__(self, question: str, trace: Trace, original: Run) -> None:
        self.values = [value for _, value in original]
        mentions = [mention for mention in find_numbers(question) if mention.kind in ("digits", "words", "percent")]
        self.stated = [mention.value for mention in mentions]
        inner = self.values[:-2]  # all but the answer, which nothing refers to
        self.ties = [(i, j) for (i, first), (j, second) in combinations(enumerate(inner), 2) if first == second != 1]
        self.kept = list(_conversions(trace, original))
        self.ordered = list(_ordered(question))
        self.sums = list(_sums(self.stated))
        shares = [mention.value for mention in mentions if mention.kind == "percent"]
        if sum(shares) == 100:
            self.sums.append((shares, Fraction(0)))
        self.ranked = _EXTREMES.search(question) is not None

    def admits(self, changed: Mapping[Fraction, Fraction], new: Run) -> bool:
        """Tell whether a problem with these numbers, which computes `new`, makes as much sense as the original."""
        values = [value for _, value in new]
        if len(values) != len(self.values) or not all(map(_same_kind, self.values, values)):
            return False
        if any(values[i] != values[j] for i, j in self.ties) or any(values[i] != self.values[i] for i in self.kept):
            return False
        return not self.ranked or self._ranks_alike([*values, *(changed.get(value, value) for value in self.stated)])

    def admits_numbers(self, changed: Mapping[Fraction, Fraction]) -> bool:
        """Tell whether the numbers alone keep to order and sums, before anything is computed."""

        def now(value: Fraction) -> Fraction:
            return changed.get(value, value)

        if any(now(low) >= now(high) for low, high in self.ordered):
            return False
        return all(sum(map(now, parts)) == (now(total) if total else sum(parts)) for parts, total in self.sums)

    def _ranks_alike(self, values: Sequence[Fraction]) -> bool:
        old = [*self.values, *self.stated]
        return all((old[i] < old[j]) == (values[i] < values[j]) for i, j in combinations(range(len(old)), 2))


def _conversions(trace: Trace, original: Run) -> Iterator[int]:
    """Yield the places of computed divisors that look like a conversion: 60 by chance or as minutes, it stays."""
    names = [name for name, _ in original]
    for step in _steps(trace):
        divisor = step.args[1]
        if step.compute_op == "div" and isinstance(divisor, str) and divisor in names:
            place = names.index(divisor)
            if original[place][1] in EVERYDAY:
                yield place


def _ordered(question: str) -> Iterator[tuple[Fraction, Fraction]]:
    """Yield pairs of numbers of one noun, the lower first: the first 9 of 10 rounds stay fewer than all of them."""
    by_noun: dict[str, set[Fraction]] = {}
    for mention in find_numbers(question):
        noun = _NOUN.match(question, mention.end)
        if noun is not None:
            by_noun.setdefault(noun[1].lower().removesuffix("s"), set()).add(mention.value)
    for values in by_noun.values():
        yield from pairwise(sorted(values))


def _sums(stated: Sequence[Fraction]) -> Iterator[tuple[list[Fraction], Fraction]]:
    """Yield runs of the question's numbers that add up to another one of them, as parts of a whole do."""
    for count in range(2, _MOST_ADDED + 1):
        for start in range(len(stated) - count + 1):
            parts = list(stated[start : start + count])
            total = sum(parts, Fraction(0))
            if total >= _LEAST_SUM and total in stated:
                yield parts, total


def _same_kind(old: Fraction, now: Fraction) -> bool:
    """Tell whether a value stays of its kind: whole, cents, positive, below or above one, and of its magnitude."""
    if old.denominator == 1 and now.denominator > 1:
        return False
    if old.denominator > 1 and 100 % old.denominator == 0 and 100 % now.denominator:
        return False
    if (old > 0) != (now > 0) or (old < 0) != (now < 0) or abs(now) >= LIMIT:
        return False
    return old <= 0 or ((old < 1) == (now < 1) and old / _MAGNITUDE <= now <= old * _MAGNITUDE)
