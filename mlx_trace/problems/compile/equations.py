"""The equations a written solution states: its calculator annotations, and what its prose computes beside them.

Takes the solution's text, returns `Equation`s in its order. Knows nothing of the question.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from typing import Final

from mlx_trace.problems.compile.algebra import Unknowns, has_symbol
from mlx_trace.problems.compile.expression import Expression, Number, Operation, evaluate, leftmost
from mlx_trace.problems.compile.items import Item, parse_expression, read_items

MOST_CHARACTERS: Final = 4000  # of a line; a longer one is no arithmetic
MOST_EQUATIONS: Final = 200
_DIGIT: Final = re.compile(r"[0-9]")


@dataclass(frozen=True, slots=True)
class Equation:
    """Each of `expressions` is said to equal `stated`, the likeliest first: the prose has units, annotations the truth.

    `line` is the line of the solution it stands in.
    """

    expressions: tuple[Expression, ...]
    stated: Number
    line: str = ""


def read_equations(solution: str, unknowns: bool = False) -> list[Equation]:
    """Return what a solution computes, in its order; an annotation and the prose around it count once.

    With `unknowns`, single letters are unknowns, and an equation that determines one counts as computing it.
    """
    equations: list[Equation] = []
    state = Unknowns() if unknowns else None
    for line in solution.splitlines():
        if len(equations) >= MOST_EQUATIONS:
            break
        if len(line) <= MOST_CHARACTERS and _DIGIT.search(line):
            equations += [replace(equation, line=line) for equation in _read_line(read_items(line, unknowns), state)]
    return equations


def read_chains(items: list[Item]) -> Iterator[list[tuple[list[Item], Item | None]]]:
    """Yield the chains of a line, `a = b = c`: the items of each side, with the annotation that stands before them."""
    chain: list[tuple[list[Item], Item | None]] = []
    side: list[Item] = []
    note: Item | None = None
    for item in [*items, Item("break")]:
        if item.kind == "annotation":
            if side:  # it stands behind a number or without an equal sign: a side of its own
                chain.append((side, note))
                yield chain
                chain, side = [], []
            note = item
        elif item.kind in ("break", "equal"):
            chain.append((side, note))
            side, note = [], None
            if item.kind == "break":
                yield chain
                chain = []
        else:
            side.append(item)


def _read_line(items: list[Item], state: Unknowns | None) -> Iterator[Equation]:
    for chain in read_chains(items):
        if len(chain) == 1 and chain[0][1] is None:
            continue
        sides = [parse_expression(side) for side, _ in chain]
        if state is not None and any(map(has_symbol, sides)):
            yield from _algebra(sides, state)
            continue
        if any(note is not None for _, note in chain):
            yield from _annotated_chain([note for _, note in chain], sides)
        else:
            yield from _plain_chain(sides)


def _annotated_chain(notes: Sequence[Item | None], sides: Sequence[Expression | None]) -> Iterator[Equation]:
    """Yield what the annotations of a chain compute; a side between is a step on the way, and no result."""
    for index, note in enumerate(notes):
        if note is not None:
            yield from _annotated(note.text, sides[:index], sides[index])


def _plain_chain(sides: Sequence[Expression | None]) -> Iterator[Equation]:
    """Yield what a chain without annotations computes: 2*3 = 6, 6*4 = 24 of 2*3 = 6*4 = 24; 24 = 8*3 turned around."""
    values: set[Fraction] = set()
    for index, (before, after) in enumerate(pairwise(sides)):
        if isinstance(before, Operation):
            value = _value(before)
            if value is None or value not in values:
                yield from _stated(before, sides[index + 1 :])
            values |= {value} if value is not None else set()
        elif isinstance(before, Number) and isinstance(after, Operation) and index + 2 == len(sides):
            yield Equation((after,), before)


def _stated(expression: Expression, sides: Sequence[Expression | None]) -> Iterator[Equation]:
    """Yield what an expression equals by the sides behind it: the next plain number, or the first of the next side.

    Where that number is its value, it is what is meant: the 1 of 1 - 1/2 = 1/2 is no result.
    """
    numbers = [*[number for side in sides if (number := _as_number(side)) is not None][:1], leftmost(sides[0])]
    if numbers[0] is not None and numbers[0].value == _value(expression):
        numbers = numbers[:1]
    for number in dict.fromkeys(number for number in numbers if number is not None):
        yield Equation((expression,), number)


def _as_number(side: Expression | None) -> Number | None:
    """Return a side that is a number, or a fraction such as 5/6."""
    if (
        isinstance(side, Operation)
        and side.op == "div"
        and isinstance(side.left, Number)
        and isinstance(side.right, Number)
    ):
        value = _value(side)
        return None if value is None or value.denominator == 1 else Number(value, side.right.unit)
    return side if isinstance(side, Number) else None


def _value(expression: Expression) -> Fraction | None:
    try:
        return evaluate(expression)
    except (ZeroDivisionError, ValueError):
        return None


def _algebra(sides: list[Expression | None], state: Unknowns) -> Iterator[Equation]:
    for left, right in pairwise(sides):
        if left is not None and right is not None:
            for expression, value in state.equate(left, right):
                yield Equation((expression,), Number(value))


def _annotated(text: str, before: Sequence[Expression | None], after: Expression | None) -> Iterator[Equation]:
    """Yield the equation of an annotation: what stands first in its chain, the annotation's own, what stands last."""
    sides = [parse_expression(side) for side, _ in next(read_chains(read_items(text)))]
    value = _as_number(sides[-1])
    if value is None:
        return
    behind = leftmost(after)
    unit, money = (behind.unit, behind.money) if behind else ("", False)
    stated = Number(value.value, unit, value.percent, value.places, money)
    written = tuple(side for side in (*before[:1], *sides[:-1], *before[1:][-1:]) if isinstance(side, Operation))
    if written:
        yield Equation(written, stated)
