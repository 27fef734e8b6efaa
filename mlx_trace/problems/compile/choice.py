"""Which of its candidates each number of a solution is: all together, by what each costs and what is left unused.

Takes the uses of numbers in a solution; returns ways to choose, the cheapest first. Knows nothing of words or nodes.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from fractions import Fraction
from heapq import nsmallest
from typing import Final

_BEAM: Final = 48  # ways kept while they grow
_AGAIN: Final = 0.8  # what it costs to take a number again; a half is taken of several things
_PART_AGAIN: Final = 0.4
_TWICE: Final = {"add": 0.3, "square": 1.5}  # to take a mention twice in one equation: it is doubled or squared
_SQUARED: Final = 3.0
_RESULT_TWICE: Final = 1.5
_BYPASSED: Final = 0.5  # to leave a stated number unused that the solution may mean
_DANGLING: Final = 0.8  # the same for a result
_APART: Final = 0.1  # for each number between two of one step, as far as it counts
_MOST_APART: Final = 4
_OTHER_SENTENCE: Final = 0.2  # to take it from another sentence than all else of the step
_OUT_OF_ORDER: Final = 0.1  # to take a number of the question before one that stands before it
_TOGETHER: Final = 0.8  # what it gains to take two readings of one number in one step


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a number may come from, a mention, an earlier result, or else common knowledge; and how ill it fits."""

    penalty: float
    mention: int | None = None
    result: int | None = None
    is_part: bool = False  # a fraction or a word of relation
    counts: bool = True  # whether to leave it unused is a loss
    sentence: int = -1  # of the question, that a mention stands in

    @property
    def source(self) -> tuple[int | None, int | None]:
        """Return what tells candidates apart."""
        return self.mention, self.result


@dataclass(frozen=True, slots=True)
class Use:
    """A number of a solution, by its place among them and its equation's; with its candidates and the one taken."""

    place: int
    equation: int
    value: Fraction
    op: str
    candidates: tuple[Origin, ...]
    taken: Origin


def repeated(candidate: Origin, op: str, before: int, here: int) -> float:
    """Return what it costs to take a candidate that was taken before, and in the same equation."""
    if candidate.mention is None and candidate.result is None:
        return 0.0
    again = _PART_AGAIN if candidate.is_part else _AGAIN
    twice = _TWICE.get(op, _SQUARED) if candidate.result is None else _RESULT_TWICE
    return (again if before else 0.0) + (twice if here else 0.0)


@dataclass(frozen=True, slots=True)
class Way:
    """One way to choose for all uses of a value: the cost, and a candidate for each use."""

    cost: float
    chosen: tuple[Origin, ...] = ()


def ambiguous(uses: Sequence[Use]) -> Iterator[list[Use]]:
    """Yield, value by value, the uses of numbers that may come from several places."""
    by_value: dict[Fraction, list[Use]] = {}
    for use in uses:
        by_value.setdefault(use.value, []).append(use)
    yield from (group for group in by_value.values() if any(len(use.candidates) > 1 for use in group))


def ways(group: Sequence[Use], uses: Sequence[Use]) -> list[Way]:
    """Return the ways to choose for the uses of one value, the cheapest first; other values stay as they were taken."""
    around: dict[int, list[Origin]] = {}  # the other mentions of an equation
    for use in uses:
        if use.value != group[0].value and use.taken.mention is not None:
            around.setdefault(use.equation, []).append(use.taken)
    elsewhere = {candidate.mention for candidates in around.values() for candidate in candidates}
    beam = [Way(0.0)]
    for index, use in enumerate(group):
        beam = nsmallest(_BEAM, (
            Way(way.cost + _step(way, group[:index], use, candidate, around.get(use.equation, ()), elsewhere),
                (*way.chosen, candidate))
            for way in beam for candidate in use.candidates
        ), key=_cost)  # fmt: skip
    offered = {candidate.source: candidate for use in group for candidate in use.candidates
               if candidate.counts and candidate.mention not in elsewhere}  # fmt: skip
    return sorted((Way(way.cost + _unused(way, offered), way.chosen) for way in beam), key=_cost)


def _cost(way: Way) -> float:
    return way.cost


def _step(
    way: Way,
    earlier: Sequence[Use],
    use: Use,
    candidate: Origin,
    around: Sequence[Origin],
    elsewhere: Set[int | None],
) -> float:
    """Return what it costs to choose a candidate for a use, after those that a way has chosen."""
    if candidate.mention is None:
        near = 0.0
    elif use.op == "mul" and not candidate.is_part and candidate.mention in {other.mention for other in around}:
        # four and twelve of four dozen
        return candidate.penalty - _TOGETHER
    else:
        near = _distance(candidate, candidate.mention, around)
        near += _OUT_OF_ORDER * any((chosen.mention or 0) > candidate.mention for chosen in way.chosen)
    same = [other for other, chosen in zip(earlier, way.chosen, strict=True) if chosen.source == candidate.source]
    here = [other for other in same if other.equation == use.equation]
    before = len(same) + (candidate.mention in elsewhere)
    return candidate.penalty + near + repeated(candidate, use.op, before, len(here))


def _distance(candidate: Origin, mention: int, around: Sequence[Origin]) -> float:
    """Return what it costs that a mention stands far from the others of its step."""
    if not around:
        return 0.0
    gap = min(abs(mention - other.mention) for other in around if other.mention is not None)
    apart = not any(other.sentence == candidate.sentence for other in around)
    return _APART * min(max(0, gap - 1), _MOST_APART) + _OTHER_SENTENCE * apart


def _unused(way: Way, offered: Mapping[tuple[int | None, int | None], Origin]) -> float:
    sources = Counter(candidate.source for candidate in way.chosen)
    return sum(
        _BYPASSED if candidate.result is None else _DANGLING
        for source, candidate in offered.items()
        if source not in sources
    )
