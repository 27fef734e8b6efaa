"""Record: one evaluated problem; and the counts that summarise many. `parsed`, `valid`, `correct` are three counts."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mlx_trace.evaluate.causes import Cause, cause_of
from mlx_trace.evaluate.repair import Turn
from mlx_trace.evaluate.stats import Rate
from mlx_trace.language.grade import Grade
from mlx_trace.problems.problem import Problem


@dataclass(frozen=True, slots=True)
class Record:
    """One evaluated problem. `sampled` of its `tokens` were sampled, the others are jump-forward ones.

    `seconds` have passed since the problem before it was done; replies to one problem share them by their tokens.
    `earlier` are the turns before the last one, which failed and were repaired: tokens and seconds are of all turns,
    `prompt_tokens` of their prompts. `examples` are the ids of the problems that were shown before it.
    """

    problem: Problem
    output: str
    grade: Grade
    tokens: int
    sampled: int
    truncated: bool
    seconds: float
    prompt_tokens: int = 0
    earlier: tuple[Turn, ...] = ()
    examples: tuple[str, ...] | None = None

    @property
    def turns(self) -> tuple[Turn, ...]:
        """Return all turns, the first reply first."""
        before = self.earlier
        last = Turn(
            self.output, self.grade, self.prompt_tokens - sum(turn.prompt_tokens for turn in before),
            self.tokens - sum(turn.tokens for turn in before), self.sampled - sum(turn.sampled for turn in before),
            self.truncated, self.seconds - sum(turn.seconds for turn in before),
        )  # fmt: skip
        return (*before, last)

    def followed(self, turn: Turn) -> "Record":
        """Return the record with another turn, whose reply is now the one that counts."""
        return Record(self.problem, turn.output, turn.grade, self.tokens + turn.tokens, self.sampled + turn.sampled,
                      turn.truncated, self.seconds + turn.seconds, self.prompt_tokens + turn.prompt_tokens, self.turns,
                      self.examples)  # fmt: skip

    @property
    def parsed(self) -> bool:
        """Tell whether the output holds a document of a trace's shape."""
        return self.grade.kind != "parse_failure"

    @property
    def valid(self) -> bool:
        """Tell whether the trace ran to an answer."""
        return self.grade.answer is not None

    @property
    def correct(self) -> bool:
        """Tell whether the answer is right."""
        return self.grade.kind == "correct"

    @property
    def cause(self) -> Cause | None:
        """Return why it is wrong; None of a right one, and where there is no answer to be right by."""
        if self.grade.kind in ("correct", "solved"):
            return None
        return cause_of(self.output, self.problem.question, self.problem.trace, truncated=self.truncated)

    def as_json(self) -> str:
        """Return the record as one line of JSON."""
        row: dict[str, Any] = {
            **self.problem.model_dump(),
            "output": self.output, "kind": self.grade.kind, "reward": self.grade.reward, "got": self.grade.answer,
            "detail": self.grade.detail, "cause": self.cause, "parsed": self.parsed, "valid": self.valid,
            "correct": self.correct, **self.cost(),
        }  # fmt: skip
        return json.dumps(row, ensure_ascii=False)

    def cost(self) -> dict[str, Any]:
        """Return what the reply took, as JSON: its tokens, and its turns and examples if there are any."""
        row: dict[str, Any] = {
            "prompt_tokens": self.prompt_tokens, "tokens": self.tokens, "sampled": self.sampled,
            "truncated": self.truncated, "seconds": round(self.seconds, 4),
        }  # fmt: skip
        if self.earlier:
            *earlier, last = self.turns
            row["turns"] = [*(turn.as_json(is_last=False) for turn in earlier), last.as_json(is_last=True)]
        if self.examples is not None:
            row["examples"] = list(self.examples)
        return row


@dataclass(frozen=True, slots=True)
class Summary:
    """How many of n problems were parsed, ran, and were right."""

    parsed: Rate
    valid: Rate
    correct: Rate

    def as_json(self) -> dict[str, Any]:
        """Return the counts, shares and intervals."""
        return {"n": self.parsed.n, "parsed": self.parsed.as_json(), "valid": self.valid.as_json(),
                "correct": self.correct.as_json()}  # fmt: skip


def summarise(records: Sequence[Record]) -> Summary:
    """Count parsed, valid and correct records."""
    n = len(records)
    return Summary(
        Rate(sum(record.parsed for record in records), n),
        Rate(sum(record.valid for record in records), n),
        Rate(sum(record.correct for record in records), n),
    )
