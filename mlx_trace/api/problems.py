"""What programs give as data → problems: a suite's name, a file, rows, or problems that are ones already."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlx_trace.errors import UserError

if TYPE_CHECKING:
    from mlx_trace.problems.fields import Told
    from mlx_trace.problems.problem import Problem


def problems_of(
    data: "str | Path | Iterable[Problem | Mapping[str, Any]]", n: int | None, fields: "Told | None", seed: int
) -> "list[Problem]":
    """Return n of the problems that are meant, or all: as `mlx-trace eval` draws them, or the first rows of others.

    Rows have the fields that files have. Raises UserError with every fault.
    """
    if n is not None and (type(n) is not int or n < 1):
        raise UserError(f"n is {n!r}, not a whole number from 1")
    if isinstance(data, str | Path):
        from mlx_trace.evaluate.suites import draw

        return draw(str(data), n, fields, seed).problems
    if isinstance(data, Mapping) or not isinstance(data, Iterable):
        raise UserError(f"data is a {type(data).__name__}, not the name of a suite or a file, nor a list of rows")
    problems = _read(data, fields)[:n]
    if not problems:
        raise UserError("data holds no problems")
    return problems


def _read(rows: "Iterable[Problem | Mapping[str, Any]]", told: "Told | None") -> "list[Problem]":
    from mlx_trace.problems.fields import Fields
    from mlx_trace.problems.problem import Problem, first_fault

    fields, problems, faults = Fields(told), list[Problem](), list[str]()
    for number, row in enumerate(rows):
        try:
            problem = row if isinstance(row, Problem) else _problem(row, f"data:{number}", fields)
        except ValueError as error:  # pydantic's ValidationError is one
            faults.append(f"data[{number}]: {first_fault(error)}")
            continue
        if problem.answer is None:
            faults.append(f"data[{number}]: has no answer")
        problems.append(problem)
    if faults:
        raise UserError(*faults)
    return problems


def _problem(row: "Mapping[str, Any]", name: str, fields: Any) -> "Problem":
    from mlx_trace.problems.fields import check_fields
    from mlx_trace.problems.mixture import read_any_row, with_gold

    if not isinstance(row, Mapping):
        raise ValueError(f"is a {type(row).__name__}, not a mapping with question and answer")
    ours = fields.read(row)
    check_fields(ours, row)
    return with_gold(read_any_row(ours, name), ours, name)
