"""Repair: a reply that is no trace, or that does not run, is given back with the solver's words, for another reply.

Takes grades; returns what to say. That an answer is wrong is never said: the solver does not know the right one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from mlx_trace.language.grade import Grade
from mlx_trace.model.prompts import TurnPair

AGAIN: Final = "Write the whole trace again, with that put right."
_LONGEST: Final = 300  # characters of the solver's message


@dataclass(frozen=True, slots=True)
class Turn:
    """One reply of several to a problem, with the tokens that were read before it, and those that were written."""

    output: str
    grade: Grade
    prompt_tokens: int
    tokens: int
    sampled: int
    truncated: bool
    seconds: float

    @property
    def failed(self) -> bool:
        """Tell whether the solver has no answer, which is all that it can tell."""
        return self.grade.answer is None

    def as_json(self, is_last: bool) -> dict[str, Any]:
        """Return the turn, with what was said to it, which nothing was to the last."""
        return {
            "output": self.output, "kind": self.grade.kind, "got": self.grade.answer, "detail": self.grade.detail,
            "said": None if is_last else message(self.grade, self.truncated), "prompt_tokens": self.prompt_tokens,
            "tokens": self.tokens, "sampled": self.sampled, "truncated": self.truncated,
            "seconds": round(self.seconds, 4),
        }  # fmt: skip


def message(grade: Grade, truncated: bool) -> str:
    """Return what is said to a reply without an answer."""
    detail = " ".join(grade.detail.split())[:_LONGEST].rstrip(".")
    if truncated:
        return f"This was cut off before it came to its end. {AGAIN}"
    if grade.kind == "parse_failure":
        return f"This is no trace: {detail}. {AGAIN}"
    return (
        f"This trace does not run: {detail.partition(': ')[2] or detail}. {AGAIN}"  # without its kind, a name of ours
    )


def conversation(question: str, turns: Sequence[Turn]) -> tuple[str, list[TurnPair]]:
    """Return what is said next to turns that failed, and the exchanges before it."""
    said = [question, *(message(turn.grade, turn.truncated) for turn in turns)]
    return said[-1], [TurnPair(asked, turn.output) for asked, turn in zip(said, turns, strict=False)]
