"""A number in digits, as prose writes it: 1,200, 1.000,50, 3,5 km, €1.500, 2 1/2, ½, 3rd, 1e6, 10^6.

Takes a token of a text (a match with the groups of `mentions`); returns its reading. Knows nothing of what stands near,
but for a currency and a group of digits that may belong to it.
"""

import re
from fractions import Fraction
from typing import Final

from mlx_trace.language.number_words import CURRENCY, GLYPHS, THIN
from mlx_trace.language.numbers import read_numeral

Reading = tuple[Fraction, int, tuple[Fraction, ...], str]  # value, tokens used, other readings, kind

SLASH: Final = "[/⁄∕]"
_EUROPEAN: Final = re.compile(
    rf"[0-9]{{1,3}}(?:(?:[. {THIN}'’][0-9]{{3}})+,[0-9]{{2}}|(?:\.[0-9]{{3}}){{2,}})|[0-9]{{1,9}},[0-9]{{1,2}}"
)
_COMMA: Final = re.compile(r"[0-9]{1,9},[0-9]{1,2}")
_POINTED: Final = re.compile(r"[1-9][0-9]{0,2}\.[0-9]{3}")  # a thousand and more, where a comma parts decimals
_EURO: Final = re.compile(r"\s?(?:€|euros?\b|EUR\b)")
_MONEY: Final = re.compile(r"\s?(?:[€₽₺₴]|(?:zł|euros?|EUR|PLN|kr)\b)")
_BETWEEN: Final = str.maketrans("", "", f",'’ {THIN}")
_FRACTION: Final = re.compile(rf"([0-9]+){SLASH}([0-9]+)")
_GROUP: Final = re.compile(r" ([0-9]{3})(?![0-9,./:])")
_POWER: Final = re.compile(
    r"(?:(?:[eE]|\s?[×x*·]\s?10(?:\^|\*\*))(?P<tens>[+-]?[0-9]{1,2})|(?:\^|\*\*)(?P<power>[0-9]{1,2}))(?![0-9A-Za-z])"
)
_LARGEST: Final = 10**30


def read_digits(text: str, token: re.Match[str]) -> Reading | None:
    """Return what a token that begins with digits, or with a sign such as ½, says; None if that is no number."""
    if token["glyph"]:
        part = Fraction(*GLYPHS[token["glyph"]])
        return part, 1, (Fraction(part.denominator),), "fraction"
    written = token["digits"]
    if _EUROPEAN.fullmatch(written):
        written = written.replace(".", "").replace(",", ".")
    whole = read_numeral(written.translate(_BETWEEN))
    if whole is None:
        return None
    if _POINTED.fullmatch(written) and _is_in_euros(text, token):
        return whole * 1000, 1, (whole,), "digits"
    if token["over"]:
        below = read_numeral(token["denominator"])
        return (whole / below, 1, (whole, below), "fraction") if below else (whole, 1, (), "digits")
    added = Fraction(*GLYPHS[token["glyphpart"]]) if token["glyphpart"] else read_fraction(token["part"] or "")
    if added is not None:
        return whole + added, 1, (whole, added), "fraction"
    return whole, 1, _other_groups(text, token), "ordinal" if token["ordinal"] else "digits"


def read_power(text: str, end: int, value: Fraction) -> tuple[Fraction, int] | None:
    """Return a number with the power written onto it, and where that ends: 1e6, 3.2 × 10^5, 10^6; None without one."""
    match = _POWER.match(text, end)
    if match is None:
        return None
    raised = value * Fraction(10) ** int(match["tens"]) if match["tens"] else value ** int(match["power"])
    return (raised, match.end()) if raised <= _LARGEST else None


def currency_before(text: str, start: int) -> str:
    """Return the currency's sign before a number, if there is one."""
    before = text[max(0, start - 2) : start].rstrip()[-1:]
    return before if before in CURRENCY else ""


def _is_money(text: str, token: re.Match[str]) -> bool:
    return bool(currency_before(text, token.start())) or _MONEY.match(text, token.end()) is not None


def _is_in_euros(text: str, token: re.Match[str]) -> bool:
    return currency_before(text, token.start()) == "€" or _EURO.match(text, token.end()) is not None


def _other_groups(text: str, token: re.Match[str]) -> tuple[Fraction, ...]:
    """Return what digits may mean too where blanks may part groups or numbers: 2 132, and 6, 760."""
    written = token["digits"]
    if ", " in written or (_COMMA.fullmatch(written) and not _is_money(text, token)):
        return tuple(Fraction(part) for part in written.split(","))
    follower = _GROUP.match(text, token.end()) if len(written) <= 3 and written.isdigit() else None
    return (Fraction(written + follower[1]),) if follower and not token["ordinal"] else ()


def read_fraction(text: str) -> Fraction | None:
    """Return the number of a text such as 3/4; None of any other, and of 3/0."""
    match = _FRACTION.fullmatch(text)
    above, below = (read_numeral(part) for part in match.groups()) if match else (None, None)
    return above / below if above is not None and below else None
