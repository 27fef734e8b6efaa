"""Model + problems → one `Record` a problem, and the counts that summarise them.

Takes a loaded base (with its adapter in it) and problems; `parsed`, `valid` and `correct` are three counts.
"""

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from mlx_trace.decode.engine import WIDTH, Episode, sample
from mlx_trace.evaluate.stats import Rate
from mlx_trace.language.grade import Grade, grade
from mlx_trace.model.base import Base
from mlx_trace.model.prompts import Prompter
from mlx_trace.problems.problem import Problem

_BATCHES: Final = 2  # batches that are sorted by length together, and reported together


@dataclass(frozen=True, slots=True)
class Record:
    """One evaluated problem. `tokens` are those that were generated; `seconds` its share of its chunk's time."""

    problem: Problem
    output: str
    grade: Grade
    tokens: int
    truncated: bool
    seconds: float

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

    def as_json(self) -> str:
        """Return the record as one line of JSON."""
        row: dict[str, Any] = {
            **self.problem.model_dump(),
            "output": self.output, "kind": self.grade.kind, "reward": self.grade.reward, "got": self.grade.answer,
            "detail": self.grade.detail, "parsed": self.parsed, "valid": self.valid, "correct": self.correct,
            "tokens": self.tokens, "truncated": self.truncated, "seconds": round(self.seconds, 4),
        }  # fmt: skip
        return json.dumps(row, ensure_ascii=False)


def evaluate(
    base: Base, prompter: Prompter, problems: Sequence[Problem], max_tokens: int, batch_size: int = WIDTH
) -> Iterator[Record]:
    """Yield a record for each problem, in order: greedy decoding, unconstrained, and the expert is not asked for.

    `batch_size` prompts are decoded at once; it decides memory and speed, not the replies.
    """
    for start in range(0, len(problems), batch_size * _BATCHES):
        chunk = problems[start : start + batch_size * _BATCHES]
        began = time.perf_counter()
        prompts = [prompter.ids(problem.question) for problem in chunk]
        episodes = sample(base.network, prompts, prompter.stop_ids, max_tokens, width=batch_size)
        seconds = (time.perf_counter() - began) / len(chunk)
        for problem, episode in zip(chunk, episodes, strict=True):
            yield _record(problem, prompter.decode(episode.ids), episode, seconds)


def _record(problem: Problem, output: str, episode: Episode, seconds: float) -> Record:
    return Record(problem, output, grade(output, problem.expected), len(episode.ids), episode.truncated, seconds)


@dataclass(frozen=True, slots=True)
class Summary:
    """How many of n problems were parsed, ran, and were right."""

    parsed: Rate
    valid: Rate
    correct: Rate

    def as_json(self) -> dict[str, Any]:
        """Return the counts, shares and intervals."""
        counts = {"parsed": self.parsed, "valid": self.valid, "correct": self.correct}
        return {"n": self.parsed.n} | {
            name: {"count": rate.count, "share": round(rate.share, 4), "interval": [round(x, 4) for x in rate.interval]}
            for name, rate in counts.items()
        }


def summarise(records: Sequence[Record]) -> Summary:
    """Count parsed, valid and correct records."""
    n = len(records)
    return Summary(
        Rate(sum(record.parsed for record in records), n),
        Rate(sum(record.valid for record in records), n),
        Rate(sum(record.correct for record in records), n),
    )


def by_expert(records: Sequence[Record]) -> dict[str, Summary]:
    """Summarise the records by the expert expected, or the gold trace's; problems without either are left out."""
    experts = sorted({expert for record in records if (expert := record.problem.gold_expert)})
    return {expert: summarise([r for r in records if r.problem.gold_expert == expert]) for expert in experts}
