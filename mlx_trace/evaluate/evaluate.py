"""Model + problems → one `Record` a problem, and the counts that summarise them.

Takes a loaded base (with its adapter in it) and problems; `parsed`, `valid` and `correct` are three counts.
"""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from mlx_trace.config import Decoding
from mlx_trace.decode.decoder import Decoder
from mlx_trace.decode.engine import MAX_SEQUENCES
from mlx_trace.decode.params import SamplingParams
from mlx_trace.evaluate.stats import Rate
from mlx_trace.language.grade import Grade, grade
from mlx_trace.model.base import Base
from mlx_trace.model.prompts import Prompter
from mlx_trace.problems.problem import Problem

_Reply = tuple[str, int, int, bool]  # its text, tokens, how many of them were sampled, and whether it was cut off


@dataclass(frozen=True, slots=True)
class Record:
    """One evaluated problem. `sampled` of its `tokens` were sampled, the others are jump-forward ones; `seconds` is its
    share of the time by tokens."""

    problem: Problem
    output: str
    grade: Grade
    tokens: int
    sampled: int
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
            "tokens": self.tokens, "sampled": self.sampled, "truncated": self.truncated,
            "seconds": round(self.seconds, 4),
        }  # fmt: skip
        return json.dumps(row, ensure_ascii=False)


def evaluate(
    base: Base, prompter: Prompter, problems: Sequence[Problem], max_tokens: int, decoding: Decoding,
    batch_size: int = MAX_SEQUENCES, report: Callable[[int], None] = lambda done: None,
) -> list[Record]:  # fmt: skip
    """Return a record for each problem, in order, of its greedy reply; see `sample`."""
    params = SamplingParams(max_tokens)
    return [record for (record,) in sample(base, prompter, problems, params, decoding, batch_size, report)]


def sample(
    base: Base, prompter: Prompter, problems: Sequence[Problem], params: SamplingParams, decoding: Decoding,
    batch_size: int = MAX_SEQUENCES, report: Callable[[int], None] = lambda done: None,
) -> list[list[Record]]:  # fmt: skip
    """Return for each problem, in order, the records of its `params.n` replies; the expert is not asked for.

    `batch_size` replies are decoded at once; it decides memory and speed, not the replies. `report` is told how many
    are done. Of a reply only its text and counts are kept.
    """
    began = time.perf_counter()
    decoder = Decoder(base, prompter, decoding, batch_size)
    replies: list[dict[int, _Reply]] = [{} for _ in problems]
    finished = decoder.finished([problem.question for problem in problems], params)
    for done, episode in enumerate(finished, start=1):
        text = prompter.decode(episode.ids)
        replies[episode.prompt][episode.number] = (text, len(episode.ids), sum(episode.sampled), episode.truncated)
        report(done)
    each = (time.perf_counter() - began) / max(1, sum(reply[1] for own in replies for reply in own.values()))
    return [_records(problem, [own[number] for number in sorted(own)], each)
            for problem, own in zip(problems, replies, strict=True)]  # fmt: skip


def _records(problem: Problem, replies: Sequence[_Reply], each: float) -> list[Record]:
    """Return the records of a problem's replies; equal texts are graded once."""
    grades = {text: grade(text, problem.expected) for text in {reply[0] for reply in replies}}
    return [Record(problem, text, grades[text], tokens, sampled, truncated, each * tokens)
            for text, tokens, sampled, truncated in replies]  # fmt: skip


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


class OfProblem(Protocol):
    """What is known of one problem: a record, or its samples and their vote."""

    @property
    def problem(self) -> Problem: ...


Row = TypeVar("Row", bound=OfProblem)


def by_expert(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Return the rows of each expert expected, or the gold trace's; problems without either are left out."""
    experts = sorted({expert for row in rows if (expert := row.problem.gold_expert)})
    return {expert: [row for row in rows if row.problem.gold_expert == expert] for expert in experts}
