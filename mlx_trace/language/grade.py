"""Outcome + expectation → `Grade`: the graduated reward that training maximises.

Takes a model's text (or a parsed trace) and what was expected; returns reward, kind, answer and detail.
"""

from dataclasses import dataclass
from fractions import Fraction
from typing import Final, Literal

from mlx_trace.config_reinforce import REWARDS, Rewards
from mlx_trace.language.experts import COMPOSITION, EXPERTS
from mlx_trace.language.numbers import spell
from mlx_trace.language.solver import Failed, Outcome, Solved, solve
from mlx_trace.language.syntax import NoTrace, Trace, parse

GradeKind = Literal["correct", "wrong_answer", "invalid_trace", "wrong_expert", "parse_failure", "solved"]
GRADE_KINDS: Final[tuple[GradeKind, ...]] = (
    "correct", "wrong_answer", "invalid_trace", "wrong_expert", "parse_failure", "solved",
)  # fmt: skip
EXPECTABLE: Final = (*EXPERTS, COMPOSITION)  # what a problem may name as its expert
TOLERANCE: Final = Fraction(1, 100)


@dataclass(frozen=True, slots=True)
class Grade:
    """How good a text is. Without an expected answer, one that solves is `solved`, with no reward.

    `answer` is the exact string of what the trace computed, if it did; `detail` says why it was not right.
    """

    reward: float | None
    kind: GradeKind
    answer: str | None
    detail: str


def grade(
    text: str | bytes, expected: Fraction | None = None, expert: str | None = None, rewards: Rewards = REWARDS
) -> Grade:
    """Grade a model's text against the expected answer and, if one is expected, the expert (or `composition`).

    The first of these that fails decides: it parses, names the expert, runs, and gives the answer.
    """
    trace = parse(text)
    if isinstance(trace, NoTrace):
        return Grade(rewards.parse_failure, "parse_failure", None, trace.message)
    if expert is not None and (named := expert_of(trace)) != expert:
        return Grade(rewards.wrong_expert, "wrong_expert", None, f"expected {expert}, got {named[:40]}")
    return grade_outcome(solve(trace), expected, rewards)


def grade_outcome(outcome: Outcome, expected: Fraction | None, rewards: Rewards = REWARDS) -> Grade:
    """Grade what a trace's execution gave."""
    if isinstance(outcome, Failed):
        return Grade(rewards.invalid_trace, "invalid_trace", None, describe(outcome))
    answer = spell(outcome.answer)
    if expected is None:
        return Grade(None, "solved", answer, "no answer was expected")
    if is_right(outcome, expected):
        return Grade(rewards.correct, "correct", answer, "")
    return Grade(rewards.wrong_answer, "wrong_answer", answer, f"expected {spell(expected)}, got {answer}")


def is_right(outcome: Solved, expected: Fraction) -> bool:
    """Tell whether the answers are equal: less than 0.01 apart in the answer's own unit, on exact rationals."""
    return outcome.answer == expected or abs(outcome.answer - expected) < TOLERANCE


def expert_of(trace: Trace) -> str:
    """Return the expert a trace names; two or more parts are a composition."""
    return trace.parts[0].expert if len(trace.parts) == 1 else COMPOSITION


def describe(failed: Failed) -> str:
    """Say in one line which rule was broken and where; parts and steps count from 1."""
    part = f"part {failed.part + 1}, " if failed.part else ""
    return f"{failed.kind}: {part}step {failed.step + 1}: {failed.message}"
