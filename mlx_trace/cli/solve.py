"""`mlx-trace solve`: one trace for people or as JSON, or a stream of JSON lines."""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import IO, Any

from mlx_trace.cli.output import show_json, standard_input
from mlx_trace.errors import UserError
from mlx_trace.files import unreadable
from mlx_trace.json_text import parse_json
from mlx_trace.language.amounts import number_hint, read_amount
from mlx_trace.language.grade import EXPECTABLE, Grade, grade
from mlx_trace.language.syntax import MAX_BYTES, NoTrace, parse

_RIGHT = ("solved", "correct")


def add_solve_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="the trace, or any text that holds one; - is standard input")
    parser.add_argument("--expected", metavar="X", help="the right answer: 26, 80,000, $7.50 or 2/3")
    parser.add_argument("--expert", choices=EXPECTABLE, metavar="NAME",
                        help=f"the expert that the trace should name: {', '.join(EXPECTABLE)}")  # fmt: skip
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print one JSON object: reward, kind, answer, detail")
    lines = 'FILE has lines {"text", "expected": str|null, "expert": str|null}; print one grade a line'
    form.add_argument("--jsonl", action="store_true", help=lines)


def run_solve(options: argparse.Namespace) -> int:
    if options.jsonl:
        if options.expected is not None or options.expert is not None:
            raise UserError("--expected and --expert stand in the lines of a --jsonl file, not beside it")
        return _solve_lines(options.file)
    expected = None if options.expected is None else _read_expected(options.expected, "--expected")
    with _open(options.file) as file:
        text = file.read(MAX_BYTES + 1)  # longer ones are refused whatever they hold
    graded = grade(text, expected, options.expert)
    if options.json:
        show_json(_as_json(graded))
    else:
        _show(text, graded)
    return 0 if graded.kind in _RIGHT else 1


def _show(text: bytes, graded: Grade) -> None:
    from mlx_trace.cli.ledger import print_ledger
    from mlx_trace.cli.screen import Screen

    console = Screen(soft_wrap=True)
    trace = parse(text)
    if isinstance(trace, NoTrace):
        console.print(f"no trace: {graded.detail}", style="bold red", markup=False)
        return
    print_ledger(console, trace)
    if graded.kind in ("correct", "wrong_answer", "wrong_expert"):
        style = "bold green" if graded.kind == "correct" else "bold red"
        console.print(f"{graded.kind.replace('_', ' ')}{': ' if graded.detail else ''}{graded.detail}", style=style,
                      markup=False)  # fmt: skip


def _solve_lines(name: str) -> int:
    """Grade line after line; memory does not grow with the file."""
    with _open(name) as file:
        for number, raw in enumerate(file, start=1):
            if raw.strip():
                text, expected, expert = _read_line(raw, f"{name}:{number}")
                show_json(_as_json(grade(text, expected, expert)))
    return 0


class _Numeral(str):
    """A JSON number as it was written, so that 0.1 is 1/10."""

    __slots__ = ()


def _read_line(raw: bytes, where: str) -> tuple[str, Fraction | None, str | None]:
    try:
        row: Any = parse_json(raw, parse_float=_Numeral, parse_int=_Numeral)
    except ValueError:
        raise UserError(f"{where}: not a line of JSON") from None
    if not isinstance(row, dict) or type(row.get("text")) is not str:
        raise UserError(f'{where}: not an object with "text" (a string), "expected" and "expert" (a string or null)')
    expert = row.get("expert")
    if expert is not None and expert not in EXPECTABLE:
        raise UserError(f"{where}: expert is {expert!r}, not one of {', '.join(EXPECTABLE)} or null")
    expected = row.get("expected")
    return row["text"], None if expected is None else _read_expected(expected, f"{where}: expected"), expert


def _read_expected(text: Any, where: str) -> Fraction:
    number = read_amount(text) if isinstance(text, str) else None
    if number is None:
        raise UserError(f"{where}: {text!r} is not a number{number_hint(str(text))}")
    return number


def _as_json(graded: Grade) -> dict[str, Any]:
    return {"reward": graded.reward, "kind": graded.kind, "answer": graded.answer, "detail": graded.detail}


@contextmanager
def _open(name: str) -> Iterator[IO[bytes]]:
    if name == "-":
        yield standard_input().buffer
        return
    try:
        file = Path(name).open("rb")  # noqa: SIM115 the with is below, past the errors of opening
    except OSError as error:
        raise unreadable(Path(name), error) from None
    with file:
        yield file
