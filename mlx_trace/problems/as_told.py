"""A gold's steps as its worked solution takes them: what a trace does in one and the solution in several, taken apart.

Takes a part and the solution's text; returns a part with the same answer. Reasons stand before each step of it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import count
from math import prod
from typing import Any, NamedTuple

from mlx_trace.language.grade import TOLERANCE
from mlx_trace.language.solver import MAX_STEPS, Entry, Solved, solve
from mlx_trace.language.steps import Compute, Percent, Step
from mlx_trace.language.syntax import Part, Trace
from mlx_trace.problems.comments import told_values
from mlx_trace.problems.one_part import operands


class _Piece(NamedTuple):
    """A step that gives something on the way, and the step that is left of the whole."""

    first: Compute | Percent
    rest: Compute
    value: Fraction


def as_told(part: Part, solution: str) -> Part:
    """Return a part in the steps that a solution takes: sums and products of three and more, percentages on and off.

    What it says on the way gets a name that says nothing (step3); the answer stays.
    """
    told, ledger = told_values(solution), list[Entry]()
    if not told or not isinstance(solve(Trace((part,)), ledger), Solved):
        return part
    values = {name: value for entry in ledger for name, value in entry.changed.items()}
    computed = [values[entry.step.var] for entry in ledger if isinstance(entry.step, Compute | Percent)]
    told = [value for value in told if not any(abs(value - other) < TOLERANCE for other in computed)]
    free = (name for n in count(1) if (name := f"step{n}") not in values)
    steps: list[Step] = []
    for step in part.steps:
        while isinstance(step, Compute | Percent):
            name = next(free)
            piece = next((piece for piece in _pieces(step, values, name) if _take(told, piece.value)), None)
            if piece is None:
                break
            values[name] = piece.value
            steps.append(piece.first)
            step = piece.rest
        steps.append(step)
    return replace(part, steps=tuple(steps)) if len(steps) <= MAX_STEPS else part


def _pieces(step: Compute | Percent, values: Mapping[str, Fraction], name: str) -> Iterator[_Piece]:
    """Yield what may be told on the way to a step's result; it is called `name`."""
    known = [values[operand] if isinstance(operand, str) else operand for operand in operands(step)]
    if isinstance(step, Percent):
        if step.op != "percent_of":
            whole = Compute("add" if step.op == "percent_increase" else "sub", (step.base, name), step.var)
            yield _Piece(replace(step, op="percent_of", var=name), whole, known[0] * known[1] / 100)
    elif step.compute_op in ("add", "mul"):
        join: Callable[[Sequence[Fraction]], Any] = sum if step.compute_op == "add" else prod
        for length in range(2, len(known)):
            for start in range(len(known) - length + 1):
                end = start + length
                rest = replace(step, args=(*step.args[:start], name, *step.args[end:]))
                yield _Piece(replace(step, args=step.args[start:end], var=name), rest, join(known[start:end]))


def _take(told: list[Fraction], value: Fraction) -> bool:
    """Take a value from what is told; tell whether it was."""
    index = next((index for index, other in enumerate(told) if abs(other - value) < TOLERANCE), None)
    if index is not None:
        del told[index]
    return index is not None
