"""What the equation in a comment says is computed: `Pia packs 48/2=24 boxes` names an operation and its operands.

Takes the comment's text. Of equations that more than one step computes, numbers and operations alone are known.
"""

import re
from collections.abc import Iterator
from fractions import Fraction
from itertools import accumulate
from typing import Final, NamedTuple

Way = tuple[str, tuple[Fraction, ...]]  # an op (add, …, percent_of, …) and its operands; of a percentage, base and rate

_ITEM: Final = re.compile(
    r"(?P<number>(?:(?<=\()-)?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?|\.\d+)(?P<percent>\s?%)?"
    r"|(?P<sign>[-+*/](?=[ $(]*-?\.?\d)|=|(?<=% )of\b)|(?P<mark>[,;:?!])(?!\d)"
)
_OPS: Final = {"+": "add", "-": "sub", "*": "mul", "/": "div", "of": "percent_of"}
_PERCENT: Final = {"-": "percent_off", "+": "percent_increase"}
_HUNDRED: Final = Fraction(100)


class SaidEquation(NamedTuple):
    """What stands before an equals sign, number by number with the signs between, and the result behind it."""

    numbers: tuple[Fraction, ...]
    percents: tuple[bool, ...]
    signs: tuple[str, ...]
    result: Fraction | None = None


class Said(NamedTuple):
    """What a comment says is computed: the ways in which one step does it, else its numbers and operations.

    `numbers` are also what is computed on the way, `result` is what the model says that comes out.
    """

    ways: tuple[Way, ...]
    numbers: frozenset[Fraction]
    ops: frozenset[str]
    result: Fraction | None


def said(text: str) -> Said | None:
    """Return what a comment says; None if it has no equation."""
    told = list(equations(text))
    if not told:
        return None
    results = {equation.result for equation in told[:-1]}
    numbers = {number for equation in told for number in equation.numbers if number not in results}
    ops = {_OPS[sign] for equation in told for sign in equation.signs}
    if any(any(equation.percents) for equation in told) or _HUNDRED in numbers:
        ops |= {"percent_of", *_PERCENT.values()}
    numbers |= {value for equation in told for value in _on_the_way(equation)}
    ways = tuple(_ways(told[0])) if len(told) == 1 else ()
    return Said(ways, frozenset(numbers), frozenset(ops), told[-1].result)


def equations(text: str) -> Iterator[SaidEquation]:
    """Yield the equations of a comment in their order: of numbers with signs between, whatever words stand there."""
    numbers: list[Fraction] = []
    percents: list[bool] = []
    signs: list[str] = []
    waiting: SaidEquation | None = None
    for item in _ITEM.finditer(text):
        if item["number"]:
            value = Fraction(item["number"].replace(",", ""))
            if waiting is not None:
                yield waiting._replace(result=value)
                waiting = None
            if len(signs) < len(numbers):  # no sign before it: another expression
                numbers, percents, signs = [], [], []
            numbers.append(value)
            percents.append(item["percent"] is not None)
        elif item["sign"] and item["sign"] != "=":
            if len(signs) < len(numbers):
                signs.append(item["sign"])
        else:
            if item["sign"] and 1 < len(numbers) == len(signs) + 1:
                waiting = SaidEquation(tuple(numbers), tuple(percents), tuple(signs))
            numbers, percents, signs = [], [], []
    if waiting is not None:
        yield waiting


def _ways(equation: SaidEquation) -> Iterator[Way]:
    """Yield the ways in which one step computes an equation."""
    numbers, percents, signs = equation.numbers, equation.percents, equation.signs
    first, second, *_ = numbers
    match signs:
        case ("-",) if percents == (False, False) and first - second < 0 and equation.result == second - first:
            yield "sub", (second, first)  # 26-41=15
        case ("of",):
            yield "percent_of", (second, first)
        case ("+" | "-" as sign,) if percents == (False, True):
            yield _PERCENT[sign], numbers
        case ("*",):
            yield "mul", numbers
            yield from (("percent_of", (base, rate if is_percent else rate * 100))
                        for base, rate, is_percent in ((first, second, percents[1]), (second, first, percents[0]))
                        if is_percent or rate < 1)  # fmt: skip
        case ("/", "*") if second:
            yield "mul", (first / second, numbers[2])
            if second == _HUNDRED:
                yield "percent_of", (numbers[2], first)
        case ("*", "/") if numbers[2]:
            yield "mul", (first, second / numbers[2])
            if numbers[2] == _HUNDRED:
                yield from (("percent_of", pair) for pair in ((first, second), (second, first)))
        case _ if not any(percents) and len({*signs}) == 1 and (len(signs) == 1 or signs[0] in "+*"):
            yield _OPS[signs[0]], numbers


def _on_the_way(equation: SaidEquation) -> Iterator[Fraction]:
    """Yield what an equation's first numbers come to, and its fractions."""
    pairs = zip(equation.numbers, equation.signs, equation.numbers[1:], strict=False)
    yield from (first / second for first, sign, second in pairs if sign == "/" and second)
    if {*equation.signs} <= {"+", "-"}:
        signed = (-number if sign == "-" else number
                  for number, sign in zip(equation.numbers[1:], equation.signs, strict=True))  # fmt: skip
        yield from accumulate(signed, initial=equation.numbers[0])
