"""Kinds of problems, which are counted apart: by expert, steps, length, numbers, and source.

Takes problems, or rows that are of a problem each. Knows nothing of replies.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Final, Protocol, TypeVar

from mlx_trace.language.mentions import find_numbers
from mlx_trace.language.steps import Init, InitFrom, Query
from mlx_trace.language.syntax import NoTrace, parse
from mlx_trace.problems.problem import Problem

_MOST_STEPS: Final = 4  # that are told apart
_SHORT, _LONG = 25, 50  # words
_ORDER: Final = ("percent", "fractions", "decimals", "words", "integers", "none")


class OfProblem(Protocol):
    """What is known of one problem: a record, or its samples and their vote."""

    @property
    def problem(self) -> Problem: ...


Row = TypeVar("Row", bound=OfProblem)


def strata(by: str, rows: Sequence[Row]) -> list[tuple[str, list[Row]]]:
    """Return each stratum with its rows, `by` being a key of `STRATA`; rows of which it is not known are left out."""
    apart: dict[str, list[Row]] = {}
    for row in rows:
        if label := STRATA[by](row.problem):
            apart.setdefault(label, []).append(row)
    return sorted(apart.items(), key=lambda item: _rank(item[0]))


def _rank(label: str) -> tuple[int, str]:
    return (_ORDER.index(label) if label in _ORDER else len(_ORDER), label)


def _expert(problem: Problem) -> str:
    """Return the expert that is expected, or the gold trace's."""
    return problem.gold_expert or ""


def _steps(problem: Problem) -> str:
    """Return how many steps of the gold trace compute."""
    return _steps_of(problem.trace) if problem.trace else ""


@lru_cache(maxsize=1 << 14)  # as many problems as are looked at several times
def _steps_of(text: str) -> str:
    trace = parse(text)
    if isinstance(trace, NoTrace):
        return ""
    steps = sum(not isinstance(step, Init | InitFrom | Query) for part in trace.parts for step in part.steps)
    if steps >= _MOST_STEPS:
        return f"{_MOST_STEPS} or more steps"
    return f"{steps} step{'s' if steps != 1 else ''}"


def _length(problem: Problem) -> str:
    """Return how long the question is."""
    words = len(problem.question.split())
    shortest = f"0 to {_SHORT} words" if words <= _SHORT else f"{_SHORT + 1} to {_LONG} words"
    return shortest if words <= _LONG else f"{_LONG + 1} or more words"


def _numbers(problem: Problem) -> str:
    """Return the most unusual kind of number that the question states."""
    return _numbers_of(problem.question)


@lru_cache(maxsize=1 << 14)
def _numbers_of(question: str) -> str:
    mentions = find_numbers(question)
    kinds = {mention.kind for mention in mentions}
    if "percent" in kinds:
        return "percent"
    if "fraction" in kinds:
        return "fractions"
    if any(mention.kind == "digits" and mention.value.denominator != 1 for mention in mentions):
        return "decimals"
    if kinds & {"words", "relation", "ordinal"}:
        return "words"
    return "integers" if mentions else "none"


def _source(problem: Problem) -> str:
    """Return the family of a generated problem, else the kind of source."""
    family, mark, _ = problem.source.partition("#")
    return family if mark else problem.source.partition("/")[0]


STRATA: Final[dict[str, Callable[[Problem], str]]] = {
    "expert": _expert, "steps": _steps, "length": _length, "numbers": _numbers, "source": _source
}  # fmt: skip
