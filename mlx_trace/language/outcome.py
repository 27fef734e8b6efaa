"""What the arithmetic before an equals sign comes to: `In 5 days that is 13*5=` comes to 65.

Takes text up to an equals sign. Where its arithmetic can be read in two ways, or not at all, nothing is said.
"""

import re
from collections.abc import Iterator
from fractions import Fraction
from typing import Final, NamedTuple

from mlx_trace.language.numbers import fits, spell

_PLACES: Final = 4  # of a result: more are rounded
_LONGEST: Final = 160  # characters that are read: a comment has fewer
_ITEM: Final = re.compile(
    r"(?P<number>(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|\.\d+)(?P<percent> ?%)?(?P<of> of (?=(?:the )?\$?[\d.]))?"
    r"(?P<unknown>(?![gmLl])[A-Za-z](?![A-Za-z]))?"  # 4x, and not 4m
    r"|(?P<sign>[+*()]|(?<![A-Za-z])[-/](?![A-Za-z]))|(?P<hyphen>[-/](?=\$?[\d.]))"
    r"|(?P<word>[A-Za-z]+)|(?P<end>[=;:?!]|(?<!\d),|,(?!\d)|\.(?= |$))"
)
_JOINS: Final = frozenset(  # words that may join two numbers, or change one: arithmetic that is not read
    "times plus minus over divided multiplied added subtracted twice thrice double triple dozen x less than half "
    "halves third thirds quarter quarters fourth fourths fifth fifths sixth sixths eighth eighths tenth tenths".split()
)
_NEAR: Final = 2  # words
_OPERANDS: Final = ("n", "%", "unknown", ")")
_OPERATIONS: Final = frozenset(("+", "-", "*", "/", "of"))
_HUNDRED: Final = Fraction(100)


class _Item(NamedTuple):
    """A number (its percent sign is its kind), a sign, a bracket, or what cannot be read: an unknown, a word."""

    kind: str
    value: Fraction = Fraction(0)


class _Unread(Exception):
    """An expression has no one reading."""


def outcome(text: str) -> Fraction | None:
    """Return what the arithmetic at the end of a text comes to; None where it has none, or no one reading.

    `text` ends before the equals sign; units may stand behind its numbers. `20% of 80` is 16, `80-20%` is 64.
    """
    try:
        items = _items(text) if len(text) <= _LONGEST else []
        if not _computes(items):
            return None
        reading = _Reading(items)
        value, _ = reading.sum()
        return value if reading.is_done and fits(value) else None
    except (_Unread, ZeroDivisionError):
        return None


def written(value: Fraction) -> str:
    """Return a result as comments have it: an integer, or a decimal of at most four places."""
    text = spell(value)
    return text if len(text.partition(".")[2]) <= _PLACES and "/" not in text else f"{float(value):.{_PLACES}f}"


def _items(text: str) -> list[_Item]:
    """Return the last expression of a text; where something near a number may belong to it, an item says so."""
    items: list[_Item] = []
    words: list[str] = []  # since the last number or sign
    for match in _ITEM.finditer(text):
        if match["word"]:
            words.append(match["word"].lower())
            continue
        if match["end"]:
            items = []
        elif match["sign"]:
            items.append(_Item(match["sign"]))
        elif match["hyphen"]:
            items.append(_Item("word"))
        else:
            if items and items[-1].kind in _OPERANDS:  # no sign between: another expression
                if _computes(items):
                    raise _Unread
                items = [*items, _Item("word")] if not words and items[-1].kind != ")" else []
            if not _JOINS.isdisjoint(words[-_NEAR:]):
                items.append(_Item("word"))
            kind = "unknown" if match["unknown"] else "%" if match["percent"] else "n"
            items.append(_Item(kind, Fraction(match["number"].replace(",", ""))))
            if match["of"]:
                items.append(_Item("of"))
        words = []
    return items


def _computes(items: list[_Item]) -> bool:
    return any(item.kind in _OPERATIONS for item in items[1:])


class _Reading:
    """Expressions, read from items in the usual order of operations; a value comes with whether it is a percentage."""

    def __init__(self, items: list[_Item]) -> None:
        self._items: Iterator[_Item] = iter(items)
        self._next = next(self._items, None)

    @property
    def is_done(self) -> bool:
        """Tell whether nothing is left."""
        return self._next is None

    def sum(self) -> tuple[Fraction, bool]:
        """Read terms that are added and taken away."""
        value, is_percent = self._product()
        while sign := self._taken("+-"):
            other, is_rate = self._product()
            if is_rate and not is_percent:
                other = value * other / _HUNDRED
            elif is_percent and not is_rate:
                raise _Unread
            value = value + other if sign == "+" else value - other
        return value, is_percent

    def _product(self) -> tuple[Fraction, bool]:
        value, is_percent = self._factor()
        while sign := self._taken(("*", "/", "of")):
            other, is_rate = self._factor()
            if (is_percent and is_rate) or (is_rate and other == _HUNDRED):  # .6*100% is 60%
                raise _Unread
            if is_percent or is_rate:
                if sign == "/" and is_percent:  # 20%/2 is one still
                    value /= other
                    continue
                other /= _HUNDRED
                is_percent = False
            value = value / other if sign == "/" else value * other
        return value, is_percent

    def _factor(self) -> tuple[Fraction, bool]:
        item = self._next
        if item is None:
            raise _Unread
        self._next = next(self._items, None)
        if item.kind == "-":
            value, is_percent = self._factor()
            return -value, is_percent
        if item.kind == "(":
            inner = self.sum()
            if self._taken(")") is None:
                raise _Unread
            return inner
        if item.kind not in "n%":
            raise _Unread
        return item.value, item.kind == "%"

    def _taken(self, kinds: str | tuple[str, ...]) -> str | None:
        """Take the next item if it is of one of some kinds, and return its kind."""
        item = self._next
        if item is None or item.kind not in kinds:
            return None
        self._next = next(self._items, None)
        return item.kind
