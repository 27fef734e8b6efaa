"""The equations a written solution states: its calculator annotations, and what its prose computes beside them.

Takes the solution's text, returns `Equation`s in its order. Knows nothing of the question.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

from mlx_trace.problems.compile.algebra import Unknowns, has_symbol
from mlx_trace.problems.compile.expression import Expression, Number, Operation, leftmost
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
    found: list[Equation] = []
    state = Unknowns() if unknowns else None
    for line in solution.splitlines():
        if len(found) >= MOST_EQUATIONS:
            break
        if len(line) <= MOST_CHARACTERS and _DIGIT.search(line):
            found += [replace(equation, line=line) for equation in _read_line(read_items(line, unknowns), state)]
    return found


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
        for at, (_, note) in enumerate(chain):
            before = sides[at - 1] if at else None
            if note is not None:
                yield from _annotated(note.text, before, sides[at])
            elif isinstance(before, Operation):
                yield from _stated(before, sides[at:])
            elif isinstance(before, Number) and isinstance(last := sides[at], Operation) and at + 1 == len(chain):
                yield Equation((last,), before)


def _stated(expression: Expression, sides: Sequence[Expression | None]) -> Iterator[Equation]:
    """Yield what an expression equals by the sides behind it: the next plain number, or the first of the next side."""
    numbers = [*[side for side in sides if isinstance(side, Number)][:1], leftmost(sides[0])]
    for number in dict.fromkeys(number for number in numbers if number is not None):
        yield Equation((expression,), number)


def _algebra(sides: list[Expression | None], state: Unknowns) -> Iterator[Equation]:
    for left, right in pairwise(sides):
        if left is not None and right is not None:
            for expression, value in state.equate(left, right):
                yield Equation((expression,), Number(value))


def _annotated(text: str, before: Expression | None, after: Expression | None) -> Iterator[Equation]:
    """Yield the equation of an annotation, with what the prose has before it and the number behind it."""
    sides = [parse_expression(side) for side, _ in next(read_chains(read_items(text)))]
    value = sides[-1]
    if not isinstance(value, Number):
        return
    behind = leftmost(after)
    stated = Number(value.value, behind.unit if behind else "", value.percent, value.places)
    written = tuple(side for side in (before, *sides[:-1]) if isinstance(side, Operation))
    if written:
        yield Equation(written, stated)
