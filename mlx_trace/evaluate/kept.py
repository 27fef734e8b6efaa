"""An evaluation's records on disk while it runs: one that is killed loses none, and the same command goes on.

Takes records as they come; they lie in a file of JSON lines beside the one that is to be, below a line that says of
which evaluation they are.
"""

import contextlib
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TextIO

from mlx_trace.errors import UserError, why
from mlx_trace.evaluate.polled import polled
from mlx_trace.evaluate.record import Record
from mlx_trace.evaluate.repair import Turn
from mlx_trace.files import read_text, try_lock, unreadable
from mlx_trace.json_text import parse_json
from mlx_trace.language.grade import grade
from mlx_trace.notice import tell
from mlx_trace.problems.problem import Problem

_NUMBER: Final = "number"  # of a problem among all


class KeptRecords:
    """Keeps the records of one evaluation until it is done; `known` are those of one like it that was stopped.

    `settings` are all that decides replies. UserError where another process keeps records for the same file.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any], problems: Sequence[Problem], samples: int) -> None:
        self.path = path.with_name(f"{path.name}.part")
        asked = hashlib.sha256("\n".join(problem.model_dump_json() for problem in problems).encode())
        begins = json.dumps({"settings": {**settings, "problems": asked.hexdigest()[:16]}}, ensure_ascii=False)
        try:
            self._file: TextIO | None = self.path.open("a", encoding="utf-8")
            if not try_lock(self._file.fileno()):
                self.close()
                raise UserError(f"{path}: another evaluation is writing to it")
            first, *lines = read_text(self.path).split("\n")
            self.known = _read(lines, problems, samples) if first == begins else {}
            if first and first != begins:
                tell(f"{self.path}: was left by another evaluation, and is begun anew")
            self._file.truncate(0)
            self._write(begins)
            for number, records in self.known.items():
                self.keep(number, records)
        except OSError as error:
            raise unreadable(self.path, error) from None

    def keep(self, number: int, records: Sequence[Record]) -> None:
        """Write a problem's records, which replace those that were kept before; where that fails it is told, once."""
        row = json.loads(records[0].as_json() if len(records) == 1 else polled(records).as_json())
        self._write(json.dumps({_NUMBER: number, **row}, ensure_ascii=False))

    def _write(self, line: str) -> None:
        if self._file is None:
            return
        try:
            self._file.write(line + "\n")
            self._file.flush()
        except OSError as error:
            tell(f"{self.path}: {why(error)}; records are written when all are done")
            self.close()

    def done(self) -> None:
        """Remove the file: the records are where they belong."""
        self.close()
        self.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Write no more."""
        file, self._file = self._file, None
        if file is not None:
            with contextlib.suppress(OSError):
                file.close()


def _read(lines: Sequence[str], problems: Sequence[Problem], samples: int) -> dict[int, list[Record]]:
    """Return the records of lines that are whole, by their problem's number; the last may be half a line."""
    known: dict[int, list[Record]] = {}
    for line in lines:
        with contextlib.suppress(ValueError, KeyError, TypeError, IndexError):
            row = parse_json(line)
            problem = problems[row[_NUMBER]]
            replies = row["samples"] if samples > 1 else [row]
            if len(replies) == samples:
                known[row[_NUMBER]] = [_record(problem, reply) for reply in replies]
    return known


def _record(problem: Problem, reply: Mapping[str, Any]) -> Record:
    """Return the record that a line tells of; its turns are graded again."""
    examples = tuple(map(str, reply["examples"])) if "examples" in reply else None
    first, *others = (_turn(problem, turn) for turn in reply.get("turns", (reply,)))
    record = Record(problem, first.output, first.grade, first.tokens, first.sampled, first.truncated, first.seconds,
                    first.prompt_tokens, (), examples)  # fmt: skip
    for turn in others:
        record = record.followed(turn)
    return record


def _turn(problem: Problem, row: Mapping[str, Any]) -> Turn:
    text = str(row["output"])
    return Turn(text, grade(text, problem.expected), int(row["prompt_tokens"]), int(row["tokens"]),
                int(row["sampled"]), bool(row["truncated"]), float(row["seconds"]))  # fmt: skip
