"""`Problem`, the one record every source of problems yields, and JSONL files of them.

Also reads mlx-lm's `prompt/completion` and `messages`; writes our form or `messages`.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from mlx_trace.errors import UserError
from mlx_trace.files import lenient_lines, numbered_lines, write_atomically
from mlx_trace.language.amounts import read_amount
from mlx_trace.language.experts import COMPOSITION
from mlx_trace.language.grade import EXPECTABLE
from mlx_trace.language.numbers import spell
from mlx_trace.language.solver import Failed, solve
from mlx_trace.language.syntax import NoTrace, parse, render

FileForm = Literal["problems", "messages"]


class Problem(BaseModel):
    """A question and its answer, an exact string; the gold trace is canonical text where one is known.

    `expert` is None where several experts can be right; `source` says where the problem comes from.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    question: str = Field(min_length=1)
    answer: str | None
    expert: str | None = None
    trace: str | None = None
    source: str = ""

    @field_validator("answer", mode="before")
    @classmethod
    def _exact(cls, value: Any) -> Any:
        number = read_amount(str(value)) if isinstance(value, str | int) else None
        if value is not None and number is None:
            raise ValueError(f"{str(value)[:40]!r} is not a number")
        return None if number is None else spell(number)

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


ReadRow = Callable[[dict[str, Any], str], Problem]


def read_jsonl(path: Path, read_row: ReadRow, limit: int | None = None) -> list[Problem]:
    """Read a JSONL file of problems, at most `limit`; `read_row` makes one of a row and its name (`file:line`).

    Raises UserError naming every bad line; a file without problems is one too.
    """
    problems: list[Problem] = []
    faults: list[str] = []
    for number, line in numbered_lines(path):
        if limit is not None and len(problems) >= limit:
            break
        try:
            problems.append(read_row(_read_object(line), f"{path.stem}:{number}"))
        except ValueError as error:  # pydantic's ValidationError is one
            faults.append(f"{path}:{number}: {_first_line(error)}")
    if faults:
        raise UserError(*faults)
    if not problems:
        raise UserError(f"{path}: holds no problems")
    return problems


def read_leniently(path: Path) -> Iterator[tuple[str, dict[str, Any] | None, str]]:
    """Yield (name, row, "") for every line, or (name, None, why it is no row): for input that may be partly bad."""
    for number, line in lenient_lines(path):
        name = f"{path.stem}:{number}"
        if line is None:
            yield name, None, "not UTF-8 text"
            continue
        try:
            yield name, _read_object(line), ""
        except ValueError:
            yield name, None, "not a JSON object"


def _first_line(error: ValueError) -> str:
    if isinstance(error, ValidationError):
        fault = error.errors(include_url=False)[0]
        return f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg'].removeprefix('Value error, ')}"
    return str(error)


def _read_object(line: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (json.JSONDecodeError, RecursionError) as error:
        reason = f"{error.msg} at column {error.colno}" if isinstance(error, json.JSONDecodeError) else "too deep"
        raise ValueError(f"not JSON: {reason}") from None
    if not isinstance(row, dict):
        raise ValueError("a line is a JSON object")
    return row


def read_row(row: dict[str, Any], name: str) -> Problem:
    """Make a problem of a row in our own form, or of mlx-lm's `prompt/completion` or `messages` with a trace in it."""
    if "messages" in row:
        return _from_chat(*_turns(row["messages"]), name)
    if "prompt" in row and "completion" in row:
        return _from_chat(row["prompt"], row["completion"], name)
    return Problem(**{"id": name, **row})


def _turns(messages: Any) -> tuple[Any, Any]:
    turns = [message for message in messages if isinstance(message, dict)] if isinstance(messages, list) else []
    said = {role: [turn.get("content") for turn in turns if turn.get("role") == role] for role in ("user", "assistant")}
    if not said["user"] or not said["assistant"]:
        raise ValueError("messages need a user and an assistant turn")
    return said["user"][-1], said["assistant"][-1]


def _from_chat(question: Any, reply: Any, name: str) -> Problem:
    """Make a problem of a question and a trace; the answer is what the trace computes."""
    if not isinstance(question, str) or not isinstance(reply, str):
        raise ValueError("question and reply must be text")
    trace = parse(reply)
    if isinstance(trace, NoTrace):
        raise ValueError(f"the reply holds no trace: {trace.message}")
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
