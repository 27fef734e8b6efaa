"""`Problem`, the one record every source of problems yields, and files of them.

Reads rows with the fields of known data sets, and mlx-lm's `prompt/completion` and `messages`; writes JSONL, in our
form or as `messages`.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from decimal import Decimal
from fractions import Fraction
from math import isfinite
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from mlx_trace.errors import UserError
from mlx_trace.files import write_atomically
from mlx_trace.language.amounts import counts_in, number_hint, other_unit, read_amount
from mlx_trace.language.experts import COMPOSITION
from mlx_trace.language.grade import EXPECTABLE
from mlx_trace.language.numbers import spell
from mlx_trace.language.solver import Failed, solve
from mlx_trace.language.syntax import NoTrace, parse, render
from mlx_trace.problems.fields import Fields, Told, check_fields
from mlx_trace.problems.rows import Row, read_rows
from mlx_trace.setting import field_setting

FileForm = Literal["problems", "messages"]
_LINES_SHOWN: Final = 8


class Problem(BaseModel):
    """A question and its answer, an exact string; the gold trace is canonical text where one is known.

    `expert` is None where several experts can be right; `source` says where the problem comes from. `results` are what
    a worked solution calls what the trace computes, step by step, "" where it says nothing; `solution` is its text.
    `doubt` says why a compiled trace, right though its answer is, may not be what the solution means: not learnt from.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    question: str = Field(min_length=1)
    answer: str | None
    expert: str | None = None
    trace: str | None = None
    source: str = ""
    results: tuple[str, ...] = Field((), exclude_if=lambda results: not results)
    solution: str = Field("", exclude_if=lambda solution: not solution)
    doubt: str = Field("", exclude_if=lambda doubt: not doubt)

    @model_validator(mode="before")
    @classmethod
    def _counted(cls, content: Any) -> Any:
        """Refuse an answer in dozens (thousands, …) to a question for dozens, which may be 12 or 144; and 90 minutes
        to one for hours.
        """
        question, answer = (content.get("question"), content.get("answer")) if isinstance(content, dict) else (0, 0)
        if not (isinstance(question, str) and isinstance(answer, str)):
            return content
        if unit := counts_in(answer, question):
            raise ValueError(f"the answer {answer[:40]!r} can be read in two ways: the question asks for {unit}s")
        if units := other_unit(answer, question):
            said, asked = units
            raise ValueError(f"the answer {answer[:40]!r} is in {said}, and the question asks for {asked}")
        return content

    @field_validator("id", mode="before")
    @classmethod
    def _named(cls, value: Any) -> Any:
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        return str(value) if isinstance(value, int) and not isinstance(value, bool) else value

    @field_validator("answer", mode="before")
    @classmethod
    def _exact(cls, value: Any) -> Any:
        while isinstance(value, list) and len(value) == 1:
            value = value[0]
        if value is None:
            return None
        number = read_amount(_digits(value)) if isinstance(value, str | int | float | Decimal) else None
        if number is None:
            raise ValueError(f"{str(value)[:40]!r} is not a number{number_hint(str(value))}")
        return spell(number)

    @field_validator("expert")
    @classmethod
    def _known(cls, value: str | None) -> str | None:
        if value is not None and value not in EXPECTABLE:
            raise ValueError(f"{value!r} is not one of {', '.join(EXPECTABLE)}")
        return value

    @property
    def gold_expert(self) -> str | None:
        """Return the expert that is expected, or else the gold trace's; `composition` for several parts."""
        if self.expert is not None or self.trace is None:
            return self.expert
        return COMPOSITION if self.trace.startswith("-") else self.trace.partition("\n")[0].removeprefix("expert: ")

    @property
    def expected(self) -> Fraction | None:
        """Return the answer as a number."""
        return None if self.answer is None else read_amount(self.answer)


def _digits(value: str | float | Decimal) -> str:
    """Return a number of JSON or Parquet in digits: 7.0, 1e+22; what is none (true, nan) stays no number."""
    if isinstance(value, float | Decimal) and isfinite(value):
        return format(Decimal(str(value)).normalize(), "f")
    return str(value)


ReadRow = Callable[[dict[str, Any], str], Problem]


def read_problems(path: Path, read_row: ReadRow, limit: int | None = None, told: Told | None = None) -> list[Problem]:
    """Read a file of problems, at most `limit`; `read_row` makes one of a row and its name (`file:line`).

    `told` says which field is which where their names do not. Raises UserError naming every bad line; a file without
    problems is one too.
    """
    problems: list[Problem] = []
    faults: dict[str, list[str]] = {}  # what is wrong, and the lines where it is
    fields = Fields(told)
    for name, row, fault in read_rows(path):
        if limit is not None and len(problems) >= limit:
            break
        try:
            if row is None:
                raise ValueError(fault)
            ours = fields.read(row)
            check_fields(ours, row)
            problems.append(read_row(ours, name))
        except ValueError as error:  # pydantic's ValidationError is one
            faults.setdefault(first_fault(error), []).append(name.rpartition(":")[2])
    if faults:
        raise UserError(*(f"{path}:{lines[0]}: {fault}{_more(lines)}" for fault, lines in faults.items()))
    if not problems:
        raise UserError(f"{path}: holds no problems")
    fields.tell(path)
    return problems


def _more(lines: Sequence[str]) -> str:
    """Return of which further lines the same is to be said, and of how many if they are many."""
    shown = ", ".join(lines[1 : _LINES_SHOWN + 1])
    if len(lines) <= _LINES_SHOWN + 1:
        return f" (and {'line' if len(lines) == 2 else 'lines'} {shown})" if shown else ""
    return f" (and lines {shown} …, {len(lines):,} in all)"


def read_leniently(path: Path, told: Told | None = None) -> Iterator[Row]:
    """Yield (name, row, "") for every line, or (name, None, why it is no row): for input that may be partly bad."""
    fields = Fields(told)
    for name, row, fault in read_rows(path):
        if row is None:
            yield name, None, "not a JSON object" if fault.startswith("not JSON") else fault
            continue
        try:
            yield name, fields.read(row), ""
        except ValueError as error:
            yield name, None, str(error)
    fields.tell(path)


def first_fault(error: ValueError) -> str:
    """Return in a line what is wrong with a row, the first of what pydantic found."""
    if isinstance(error, ValidationError):
        fault = error.errors(include_url=False)[0]
        return ": ".join([*map(str, fault["loc"]), fault["msg"].removeprefix("Value error, ")])
    return str(error).partition("\n")[0]


def read_row(row: dict[str, Any], name: str) -> Problem:
    """Make a problem of a row in our own form, or of mlx-lm's `prompt/completion` or `messages` with a trace in it."""
    if "messages" in row:
        return _from_chat(*_turns(row["messages"]), name, _of_solutions)
    if "prompt" in row and "completion" in row:
        return _from_chat(row["prompt"], row["completion"], name, _of_solutions)
    check_fields(row, row)
    stated = {key: row[key] for key in Problem.model_fields if row.get(key) is not None or key == "answer" in row}
    if "answer" not in stated:
        stated["answer"] = _from_chat(row["question"], row["trace"], name).answer
    return Problem(**{"id": name, **stated})


def _turns(messages: Any) -> tuple[Any, Any]:
    turns = [message for message in messages if isinstance(message, dict)] if isinstance(messages, list) else []
    said = {role: [turn.get("content") for turn in turns if turn.get("role") == role] for role in ("user", "assistant")}
    if not said["user"] or not said["assistant"]:
        raise ValueError("messages need a user and an assistant turn")
    return said["user"][-1], said["assistant"][-1]


def _of_solutions() -> str:
    which = f"{field_setting('answer')} says which it is"
    return f"; worked solutions are read from rows with a question and an answer ({which})"


def _from_chat(question: Any, reply: Any, name: str, instead: Callable[[], str] = str) -> Problem:
    """Make a problem of a question and a trace; the answer is what the trace computes. `instead`: else what to do."""
    if not isinstance(question, str) or not isinstance(reply, str):
        raise ValueError("question and reply must be text")
    trace = parse(reply)
    if isinstance(trace, NoTrace):
        raise ValueError(f"the reply holds no trace: {trace.message}{instead()}")
    outcome = solve(trace)
    if isinstance(outcome, Failed):
        raise ValueError(f"the trace does not run: {outcome.message}")
    return Problem(id=name, question=question, answer=spell(outcome.answer), trace=render(trace), source="messages")


def write_problems(path: Path, problems: Iterable[Problem], form: FileForm = "problems", system: str = "") -> int:
    """Write a JSONL file, whole or not at all; return how many lines it has."""

    def lines() -> Iterator[str]:
        for problem in problems:
            row = problem.model_dump() if form == "problems" else {"messages": as_messages(problem, system)}
            yield json.dumps(row, ensure_ascii=False) + "\n"

    return write_atomically(path, lines())


def as_messages(problem: Problem, system: str) -> list[dict[str, str]]:
    """Return the problem as mlx-lm's chat messages; the reply is the gold trace in its fence."""
    said = [{"role": "user", "content": problem.question}]
    if system:
        said.insert(0, {"role": "system", "content": system})
    return [*said, {"role": "assistant", "content": f"```yaml\n{problem.trace}\n```"}]
