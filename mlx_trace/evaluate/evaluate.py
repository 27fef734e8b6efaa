"""Model + problems → one `Record` a problem, and the counts that summarise them.

Takes a loaded base (with its adapter in it) and problems; `parsed`, `valid` and `correct` are three counts.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mlx_trace.config import Decoding
from mlx_trace.decode.decoder import Decoder
from mlx_trace.decode.engine import MAX_SEQUENCES
from mlx_trace.decode.episode import Episode
from mlx_trace.decode.params import SamplingParams
from mlx_trace.evaluate.causes import Cause, cause_of
from mlx_trace.evaluate.stats import Rate
from mlx_trace.language.grade import Grade, grade
from mlx_trace.model.base import Base
from mlx_trace.model.prompts import Prompter
from mlx_trace.problems.problem import Problem

Keep = Callable[[int, Sequence["Record"]], None]  # takes a problem's number, and its records


@dataclass(frozen=True, slots=True)
class Record:
    """One evaluated problem. `sampled` of its `tokens` were sampled, the others are jump-forward ones.

    `seconds` have passed since the problem before it was done; replies to one problem share them by their tokens.
    """

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
            "correct": self.correct, "tokens": self.tokens, "sampled": self.sampled, "truncated": self.truncated,
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
    known: Mapping[int, Sequence[Record]] | None = None, keep: Keep = lambda number, records: None,
) -> list[list[Record]]:  # fmt: skip
    """Return for each problem, in order, the records of its `params.n` replies; the expert is not asked for.

    `batch_size` replies are decoded at once; it decides memory and speed, not the replies. `report` is told how many
    are done. Problems whose numbers are `known` are not asked again; `keep` gets the others' records as they come.
    """
    decoder = Decoder(base, prompter, decoding, batch_size)
    records = {number: list(own) for number, own in (known or {}).items()}
    left = [number for number in range(len(problems)) if number not in records]
    replies: dict[int, dict[int, Episode]] = {number: {} for number in left}
    done, latest = params.n * len(records), time.perf_counter()
    for episode in decoder.finished([problems[number].question for number in left], params, left):
        number = left[episode.prompt]
        replies[number][episode.number] = episode
        done += 1
        report(done)
        if len(replies[number]) == params.n:
            own = replies.pop(number)
            now = time.perf_counter()
            records[number] = _records(prompter, problems[number], [own[k] for k in sorted(own)], now - latest)
            keep(number, records[number])
            latest = now
    return [records[number] for number in range(len(problems))]


def _records(prompter: Prompter, problem: Problem, episodes: Sequence[Episode], seconds: float) -> list[Record]:
    """Return the records of a problem's replies, which took so long; equal texts are graded once."""
    texts = [prompter.decode(episode.ids) for episode in episodes]
    grades = {text: grade(text, problem.expected) for text in set(texts)}
    each = seconds / max(1, sum(len(episode.ids) for episode in episodes))
    return [
        Record(problem, text, grades[text], len(episode.ids), sum(episode.sampled), episode.truncated,
               each * len(episode.ids))
        for text, episode in zip(texts, episodes, strict=True)
    ]  # fmt: skip


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
