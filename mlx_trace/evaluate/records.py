"""Files of records, as a report and a comparison read them: what `mlx-trace eval -o` writes, of replies, votes, losses.

Takes a path; returns its records, checked one by one, and the settings of the evaluation where they are known.
"""

import contextlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from mlx_trace.errors import UserError
from mlx_trace.evaluate.causes import cause_of
from mlx_trace.evaluate.compared import Measured
from mlx_trace.evaluate.losses import deciding
from mlx_trace.evaluate.stats import Rate
from mlx_trace.files import lenient_lines, read_text
from mlx_trace.json_text import parse_json
from mlx_trace.language.grade import GRADE_KINDS, GradeKind, grade, is_right
from mlx_trace.language.numbers import read_numeral
from mlx_trace.language.solver import Solved
from mlx_trace.problems.problem import Problem
from mlx_trace.run_files import SUMMARY

_SETTINGS: Final = "settings"  # begins the file of an evaluation that is not done
_COUNTS: Final = ("model", "adapter", "data", "constraint", "grounding", "rules", "max_tokens_per_pass", "samples",
                  "temperature", "seed")  # fmt: skip


class Candidacy(BaseModel):
    """An answer that samples gave, as a record of a vote has it."""

    model_config = ConfigDict(allow_inf_nan=False)

    answer: str
    count: int
    weight: float


class ReadRecord(BaseModel):
    """One record: of a reply, of a vote (whose speaker it shows), or of the losses on a gold trace."""

    model_config = ConfigDict(allow_inf_nan=False)

    problem: Problem
    output: str = ""
    kind: GradeKind = "parse_failure"
    got: str | None = None
    detail: str = ""
    cause: str | None = None
    correct: bool = False
    truncated: bool = False
    tokens: int = 0
    sampled: int = 0
    seconds: float = 0.0
    samples: int = 1
    right: int = 0  # of several samples
    votes: tuple[Candidacy, ...] = ()
    failed: dict[str, int] = {}  # how many samples without an answer there were, by their grade
    agreement: float | None = None
    losses: dict[str, list[float]] | None = None

    @model_validator(mode="before")
    @classmethod
    def _parted(cls, row: Any) -> Any:
        """Part the problem from what was replied, and find the sample that speaks for a vote."""
        if not isinstance(row, dict) or ("losses" not in row and not isinstance(row.get("correct"), bool)):
            raise ValueError("correct is neither true nor false")
        own = {key: value for key, value in row.items() if key not in Problem.model_fields}
        known = {"problem": {key: row[key] for key in Problem.model_fields if key in row}}
        return known | own | (_speaker(row["samples"], row.get("got")) if row.get("samples") else {})

    @property
    def loss(self) -> float | None:
        """Return the mean loss of what decides, where losses were measured."""
        return None if self.losses is None else fmean(deciding(self.losses) or [0.0])

    @property
    def parsed(self) -> bool:
        """Tell whether the output holds a document of a trace's shape."""
        return self.kind != "parse_failure"

    @property
    def valid(self) -> bool:
        """Tell whether the trace ran to an answer."""
        return self.got is not None

    @property
    def is_wrong(self) -> bool:
        """Tell whether there is an answer to be right by, and it is not."""
        return self.loss is None and not self.correct and self.kind != "solved"

    @property
    def why(self) -> str | None:
        """Return the cause that the record names; what was written before records had one is judged now."""
        if not self.is_wrong or self.cause is not None:
            return self.cause
        return cause_of(self.output, self.problem.question, self.problem.trace, truncated=self.truncated)

    def is_right(self, candidate: Candidacy) -> bool:
        """Tell whether an answer that samples gave is the right one."""
        value, expected = read_numeral(candidate.answer), self.problem.expected
        return value is not None and expected is not None and is_right(Solved(value, ()), expected)

    def vote_json(self) -> dict[str, Any]:
        """Return a vote with all that was a candidate, and the samples that gave no answer."""
        return {
            "id": self.problem.id, "answer": self.problem.answer, "got": self.got, "correct": self.correct,
            "agreement": self.agreement, "candidates": [vote.model_dump() for vote in self.votes],
            "failed": self.failed,
        }  # fmt: skip

    @property
    def measured(self) -> Measured:
        """Return what is compared with another measurement."""
        return Measured(self.problem, float(self.correct) if self.loss is None else self.loss, self.loss is not None,
                        self.got)  # fmt: skip


def _speaker(samples: Any, got: Any) -> dict[str, Any]:
    """Return of a vote's samples the first that says what won, with the most weight; the first of all if none has."""
    sample = max((row for row in samples if row["got"] == got), key=lambda row: row["weight"], default=samples[0])
    failed = Counter(row["kind"] for row in samples if row["got"] is None)
    return {"samples": len(samples), "failed": failed} | {
        key: sample[key] for key in ("output", "kind", "detail", "truncated")
    }


@dataclass(frozen=True)
class RecordFile:
    """The records of one evaluation, by name: a problem's id, with a number where it comes again."""

    name: str
    replies: dict[str, ReadRecord]
    settings: dict[str, Any]
    is_partial: bool

    @property
    def rows(self) -> Sequence[ReadRecord]:
        """Return the records in the file's order."""
        return list(self.replies.values())

    @property
    def is_loss(self) -> bool:
        """Tell whether losses were measured, and no answers."""
        return self.rows[0].loss is not None

    @property
    def correct(self) -> Rate:
        """Return how many are right."""
        return Rate(sum(reply.correct for reply in self.rows), len(self.rows))

    @cached_property
    def measured(self) -> dict[str, Measured]:
        """Return what is compared with other files."""
        return {name: reply.measured for name, reply in self.replies.items()}


def read_records(path: Path) -> RecordFile:
    """Read a file of records, also one that an evaluation is writing still; UserError names a line that is none."""
    replies: dict[str, ReadRecord] = {}
    often: dict[str, int] = {}
    settings: dict[str, Any] | None = None
    lines = list(lenient_lines(path))
    for number, line in lines:
        try:
            row = parse_json(line or "")
            if number == 1 and isinstance(row, dict) and isinstance(row.get(_SETTINGS), dict):
                settings = row[_SETTINGS]
                continue
            reply = ReadRecord.model_validate(row)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            if settings is not None and (number, line) == lines[-1]:
                continue  # half a line: it is being written
            raise UserError(f"{path}:{number}: is no record of mlx-trace eval -o{_first(error)}") from None
        often[reply.problem.id] = count = often.get(reply.problem.id, 0) + 1
        replies[reply.problem.id if count == 1 else f"{reply.problem.id} ({count})"] = reply
    if not replies:
        raise UserError(f"{path}: holds no records")
    if len({reply.loss is None for reply in replies.values()}) > 1:
        raise UserError(f"{path}: holds records of replies and of losses, which are told apart by file")
    return RecordFile(str(path), replies, _told(settings or _beside(path)), settings is not None)


def _first(error: Exception) -> str:
    """Return where a record is not as it should be, if that is known."""
    if not isinstance(error, ValidationError):
        return ""
    first = error.errors(include_url=False, include_input=False)[0]
    return f" ({'.'.join(map(str, first['loc'])) or 'it'}: {first['msg']})"


def _beside(path: Path) -> dict[str, Any]:
    """Return what `eval --json` printed of the same evaluation: `eval` keeps it, and so does a sweep."""
    for told in (path.with_suffix(SUMMARY), path.with_suffix(".json")):
        if told != path and told.is_file():
            with contextlib.suppress(ValueError, UserError):
                content = parse_json(read_text(told))
                if isinstance(content, dict) and "constraint" in content:
                    return content
    return {}


def _told(settings: dict[str, Any]) -> dict[str, Any]:
    """Return of an evaluation's settings those that a person asks for."""
    renamed = {"samples": settings.get("n")} if _SETTINGS not in settings and "parsed" not in settings else {}
    known = {**renamed, **settings}
    return {key: known[key] for key in _COUNTS if known.get(key) is not None}


def grades_of(replies: Sequence[ReadRecord]) -> dict[str, int]:
    """Return how often each grade was given, the best first."""
    counts = {kind: sum(reply.kind == kind for reply in replies) for kind in GRADE_KINDS}
    return {kind: count for kind, count in counts.items() if count}


def objection(reply: ReadRecord) -> str:
    """Return what the solver has against a reply; nothing against a right one."""
    if reply.correct or reply.loss is not None:
        return ""
    return reply.detail or grade(reply.output, reply.problem.expected).detail
