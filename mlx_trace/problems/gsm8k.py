"""GSM-8K rows → `Problem`: the question verbatim, the gold after `####` read whole (commas, currency, units)."""

from typing import Any

from mlx_trace.problems import split
from mlx_trace.problems.fields import GOLD_MARK
from mlx_trace.problems.problem import Problem


def is_row(row: dict[str, Any]) -> bool:
    """Tell whether a JSON object has GSM-8K's form: a question, and a solution that ends in its gold answer."""
    return isinstance(row.get("question"), str) and GOLD_MARK in str(row.get("answer", ""))


def has_solution(row: dict[str, Any]) -> bool:
    """Tell whether a row has a worked solution in front of its gold answer."""
    return is_row(row) and bool(str(row["answer"]).rpartition(GOLD_MARK)[0].strip())


def read_row(row: dict[str, Any], name: str) -> Problem:
    """Make a problem of a row; ValueError if its gold is not a number. No expert is expected: several can be right."""
    gold = str(row["answer"]).rpartition(GOLD_MARK)[2].strip()
    return Problem(id=str(row.get("id", name)), question=row["question"], answer=gold, source=f"gsm8k/{name}")


def is_held_out(problem: Problem) -> bool:
    """Tell whether a problem is kept for validation: one wording in ten, with all its variants, of what compiles.

    GSM-8K's own questions are known in whatever form they come.
    """
    if problem.source.startswith(("gsm8k/", "equation/")):
        return split.is_held_out(problem.question)
    return bool(split.known_side(problem.question))
