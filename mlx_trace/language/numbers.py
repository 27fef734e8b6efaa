"""Exact numbers as a trace writes them: read a numeral, spell one.

Takes text, returns `Fraction`s. Knows nothing of prose: `mentions` reads questions, `amounts` answers.
"""

import re
from fractions import Fraction
from functools import lru_cache

LIMIT = 10**30  # the largest numerator or denominator a trace may hold
_DIGITS_READ = 400  # beyond this many significant digits a numeral is not evaluated: it is too large anyway
_USUAL = 20  # characters of a numeral; longer ones are not remembered
_BEYOND = Fraction(LIMIT * 10)  # stands for every numeral that was not evaluated

_NUMERAL = re.compile(r"([+-]?)(?:([0-9]+)(?:\.([0-9]+)|/([0-9]+))?|\.([0-9]+))", re.ASCII)


def fits(number: Fraction) -> bool:
    """Tell whether a trace may hold a number."""
    return abs(number.numerator) <= LIMIT and number.denominator <= LIMIT


def read_numeral(text: str) -> Fraction | None:
    """Read a numeral of the trace language: an integer, a decimal or n/m, with an optional sign.

    Nothing else is a number there: `1_000`, `0x10`, `1e3`, `80,000` and `1/0` give None. A numeral with more
    digits than any legal number has is returned as some number beyond `LIMIT`.
    """
    return _remembered(text) if len(text) <= _USUAL else _read(text)


def _read(text: str) -> Fraction | None:
    match = _NUMERAL.fullmatch(text)
    if match is None:
        return None
    sign, whole, decimals, denominator, bare = match.groups()
    if denominator is not None and not denominator.strip("0"):
        return None
    decimals = (decimals or bare or "").rstrip("0")
    digits = ((whole or "") + decimals).lstrip("0")
    if len(digits) + len(decimals) > _DIGITS_READ or len(denominator or "") > _DIGITS_READ:
        return _BEYOND
    numerator = int(digits or "0") * (-1 if sign == "-" else 1)
    if denominator is not None:
        return Fraction(numerator, int(denominator))
    return Fraction(numerator, 10 ** len(decimals)) if decimals else Fraction(numerator)


_remembered = lru_cache(maxsize=1 << 12)(_read)  # a data set has the same few numbers everywhere


def spell(number: Fraction) -> str:
    """Spell a number as answers are: an integer, a decimal where it ends within 12 places, else n/m."""
    if number.denominator == 1:
        return str(number.numerator)
    places = _decimal_places(number.denominator)
    if places is None:
        return f"{number.numerator}/{number.denominator}"
    digits = str(abs(number.numerator) * 10**places // number.denominator).rjust(places + 1, "0")
    return f"{'-' if number < 0 else ''}{digits[:-places]}.{digits[-places:]}"


def _decimal_places(denominator: int) -> int | None:
    """Return how many decimal places 1/denominator needs, or None if it needs more than 12."""
    return next((places for places in range(1, 13) if 10**places % denominator == 0), None)
