"""Arithmetic as people write it in prose: a line of text → its numbers, operators and brackets → expressions.

Units, currency signs and notes in brackets are passed over; x is a sign or an unknown as its neighbours say.
Knows nothing of equations, annotations or questions.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from typing import Final

from mlx_trace.language.number_words import CURRENCY
from mlx_trace.language.numbers import read_numeral
from mlx_trace.language.steps import ComputeOp
from mlx_trace.problems.compile.expression import Expression, Number, Operation, Symbol
from mlx_trace.problems.compile.words import STOPS, VERBS

MOST_DIGITS: Final = 24  # of a number; a longer one is passed over
MOST_ITEMS: Final = 200  # of an expression: deeper than any solution, shallower than the stack
_MOST_UNIT_WORDS: Final = 5  # between a number and the operator behind it
_MOST_LEAD_WORDS: Final = 3  # between an operator and its number


@dataclass(slots=True)
class Item:
    """A piece of a line: a number, symbol, operator, open, close, equal, annotation or break."""

    kind: str
    text: str = ""
    content: Number | Symbol | None = None


BREAK: Final = Item("break")

_GLYPHS: Final = str.maketrans({
    "½": " 1/2", "¼": " 1/4", "¾": " 3/4", "⅓": " 1/3", "⅔": " 2/3", "⅛": " 1/8", "⅕": " 1/5", "\u00a0": " ", "＝": "=",
})  # fmt: skip
_TOKEN: Final = re.compile(
    r"(?P<annotation><<(?P<inner>[^<>]*)>>)"
    r"|(?P<mixed>(?<![\d.,/])(?P<whole>\d+) (?P<part>[1-9]\d*/\d+)(?![\d/]))"
    r"|(?P<number>(?:\d{1,3}(?:,\d{3})+(?!\d)|\d{1,2}(?:,\d{2})+,\d{3}(?!\d)"
    r"|\d{1,3}(?:[\u2009\u202f ]\d{3}){0,9}[\u2009\u202f ]000(?!\d)|\d+)(?:\.\d+)?|\.\d+)"
    r"(?P<percent>\s?%|\s?percent\b)?"
    r"|(?P<unit>[/-](?=[A-Za-z]{2})[A-Za-z]+|\([A-Za-z][A-Za-z' ]*\))"
    r"|(?P<word>[A-Za-z][A-Za-z'’]*)"
    r"|(?P<operator>[-+*/×÷–−—⋅·])"
    r"|(?P<open>[(\[{])|(?P<close>[)\]}])|(?P<equal>=)|(?P<stop>[.,;:!?|])"
)
_BETWEEN: Final = str.maketrans("", "", ", \u2009\u202f")  # groups of digits
_OPERATORS: Final[dict[str, ComputeOp]] = {
    "+": "add", "-": "sub", "–": "sub", "−": "sub", "—": "sub", "*": "mul", "×": "mul", "⋅": "mul", "·": "mul",
    "/": "div", "÷": "div", "plus": "add", "minus": "sub", "times": "mul", "multiplied": "mul", "divided": "div",
}  # fmt: skip
_CURRENCIES: Final = tuple(CURRENCY)
_EQUALS: Final = frozenset({"is", "equals", "are", "equal"})


def read_items(line: str, unknowns: bool = False) -> list[Item]:
    """Return the items of a line; single letters are symbols if there are `unknowns`, words otherwise."""
    return _Reader(line.translate(_GLYPHS), unknowns).items


_NO_UNITS: Final = STOPS | VERBS  # they end the words that are a number's unit
_numeral: Final = lru_cache(maxsize=4096)(read_numeral)


class _Reader:
    """Reads tokens into items: units join their number, and whatever parts an expression becomes a break."""

    def __init__(self, line: str, unknowns: bool) -> None:
        self.items: list[Item] = []
        self.previous = "break"  # kind of the last item that is no annotation
        self.words: list[str] = []  # since then
        self.unknowns = unknowns
        self.end = 0  # of the last token
        self.is_negative = False  # the number that comes
        self.is_paid = False  # the last annotation had a currency's sign: $<<2*3=6>>6
        tokens = list(_TOKEN.finditer(line))
        for index, token in enumerate(tokens):
            self._read(token, tokens[index + 1] if index + 1 < len(tokens) else None)
            self.end = token.end()

    def _read(self, token: re.Match[str], following: re.Match[str] | None) -> None:
        match token.lastgroup:
            case "word":
                self._word(token, following)
            case "stop":
                self._break()
            case "equal":
                self._append(Item("equal", "="))
            case "operator":
                self.is_negative = self._is_sign(token, following)
                if not self.is_negative:
                    self._operator(_OPERATORS[token[0]])
            case "close":
                self._append(Item("close"))
            case "open":
                self._operand(Item("open"), token.start())
            case "annotation" | "inner":
                self.items.append(Item("annotation", token["inner"]))
                self.is_paid = token.string[max(0, token.start() - 1) : token.start()] in _CURRENCIES
            case "unit":
                pass
            case _:
                self._number(token)

    def _add(self, item: Item) -> None:
        self.items.append(item)
        self.previous = item.kind

    def _break(self) -> None:
        if self.previous != "break":
            self._add(BREAK)
        self.words = []

    def _append(self, item: Item) -> None:
        if len(self.words) > _MOST_UNIT_WORDS or self.previous in ("operator", "open"):
            self._break()
        self.words = []
        self._add(item)

    def _is_sign(self, token: re.Match[str], following: re.Match[str] | None) -> bool:
        """Tell whether a minus belongs to the number that follows it: = -5, (-4 + -6), 3 * -20."""
        if _OPERATORS[token[0]] != "sub" or following is None or not (following["number"] or following["mixed"]):
            return False
        gap = token.string[token.end() : following.start()].lstrip(CURRENCY)
        if gap or self.previous not in ("equal", "open", "break", "operator"):
            return False
        return self.previous == "break" or not self.words

    def _operator(self, op: str) -> None:
        if self.previous in ("number", "symbol", "close"):
            self._append(Item("operator", op))
        elif op == "sub" and self.previous in ("equal", "open", "break"):
            self._add(Item("number", "", Number(Fraction(0))))
            self._add(Item("operator", op))
        else:
            self._break()

    def _operand(self, item: Item, start: int) -> None:
        previous = self.previous
        if previous in ("number", "symbol", "close"):
            adjacent = start == self.end or (self.unknowns and item.kind == "open")
            if adjacent and not self.words and item.kind != "number":
                self._add(Item("operator", "mul"))  # 2(3), 6d
            else:
                self._break()
        elif len(self.words) > _MOST_LEAD_WORDS:
            self._break()
        self.words = []
        self._add(item)

    def _number(self, token: re.Match[str]) -> None:
        if token["mixed"] is not None:
            whole, part = read_numeral(token["whole"]), read_numeral(token["part"])
            value = None if whole is None or part is None else whole + part
            places = 0
        else:
            text = token["number"].translate(_BETWEEN)
            value = _numeral(text) if len(text) <= MOST_DIGITS else None
            places = len(text.partition(".")[2])
        if value is None:
            self._break()
            return
        value, self.is_negative = -value if self.is_negative else value, False
        sign = token.string[max(0, token.start() - 1) : token.start()]
        money = sign in _CURRENCIES or (sign == ">" and self.is_paid)
        self._operand(Item("number", "", Number(value, "", token["percent"] is not None, places, money)), token.start())

    def _word(self, token: re.Match[str], following: re.Match[str] | None) -> None:
        text = token["word"]
        low = text.lower()
        before_number = following is not None and (following["number"] or following["mixed"] or following["open"])
        previous = self.previous
        if previous in ("number", "symbol", "close"):
            if low == "x" and before_number:
                self._operator("mul")
                return
            if low in _OPERATORS and (before_number or low in ("multiplied", "divided")) and not self.words[1:]:
                self._operator(_OPERATORS[low])
                return
            if low == "of" and before_number and not self.words and self._is_share():
                self._operator("mul")
                return
        if self.unknowns and len(text) == 1 and self._is_unknown(token, following):
            self._operand(Item("symbol", "", Symbol(low)), token.start())
            return
        if low in _EQUALS and previous in ("number", "symbol", "close") and before_number and len(self.words) < 3:
            self._append(Item("equal", low))
            return
        if previous == "number" and len(self.words) < 3 and not any(word in _NO_UNITS for word in self.words):
            self._unit(low)
        self.words.append(low)

    def _is_unknown(self, token: re.Match[str], following: re.Match[str] | None) -> bool:
        """Tell whether a letter is an unknown; a and I are words unless they stand in an expression."""
        behind_number = token.start() == self.end and self.previous in ("number", "symbol", "close")
        in_expression = behind_number or (following is not None and following.lastgroup == "operator")
        return token[0] not in "aAI" or in_expression

    def _is_share(self) -> bool:
        """Tell whether the last number is a percentage or a fraction, which `of` multiplies."""
        numbers = [item for item in self.items[-3:] if item.kind != "annotation"]
        last = numbers[-1].content
        if not isinstance(last, Number):
            return False
        slash = len(numbers) > 1 and numbers[-2].kind == "operator" and numbers[-2].text == "div"
        return last.percent or last.value < 1 or slash

    def _unit(self, word: str) -> None:
        last = next(item for item in reversed(self.items) if item.kind != "annotation")
        if isinstance(last.content, Number) and word not in _NO_UNITS:
            number = last.content
            last.content = replace(number, unit=word)


# --- items → expressions ---------------------------------------------------------------------------------------


class _Unreadable(Exception):
    """No expression stands here."""


def parse_expression(items: Sequence[Item]) -> Expression | None:
    """Read all of these items as one expression; None if they are none."""
    if not 0 < len(items) <= MOST_ITEMS:
        return None
    parser = _Parser(items)
    try:
        expression = parser.sum()
    except _Unreadable:
        return None
    return expression if parser.position == len(items) else None


class _Parser:
    """Precedence climbing: sums of products of factors."""

    def __init__(self, items: Sequence[Item]) -> None:
        self.items = items
        self.position = 0

    def sum(self) -> Expression:
        left = self.product()
        while (op := self._operator("add", "sub")) is not None:
            left = Operation(op, left, self.product())
        return left

    def product(self) -> Expression:
        left = self.factor()
        while (op := self._operator("mul", "div")) is not None:
            left = Operation(op, left, self.factor())
        return left

    def factor(self) -> Expression:
        if self.position >= len(self.items):
            raise _Unreadable
        item = self.items[self.position]
        self.position += 1
        if item.content is not None:
            return item.content
        if item.kind != "open":
            raise _Unreadable
        inner = self.sum()
        if self.position >= len(self.items) or self.items[self.position].kind != "close":
            raise _Unreadable
        self.position += 1
        return inner

    def _operator(self, *ops: ComputeOp) -> ComputeOp | None:
        if self.position < len(self.items) and self.items[self.position].kind == "operator":
            for op in ops:
                if self.items[self.position].text == op:
                    self.position += 1
                    return op
        return None
