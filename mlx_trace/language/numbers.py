"""Exact numbers: read a numeral, spell one, and find the numbers a question states, with their spans.

Takes text, returns `Fraction`s. Knows nothing of variables, steps or problems.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

LIMIT = 10**30  # the largest numerator or denominator a trace may hold
_DIGITS_READ = 400  # beyond this many significant digits a numeral is not evaluated: it is too large anyway
_BEYOND = Fraction(LIMIT * 10)  # stands for every numeral that was not evaluated

_NUMERAL = re.compile(r"([+-]?)(?:([0-9]+)(?:\.([0-9]+)|/([0-9]+))?|\.([0-9]+))", re.ASCII)
_AMOUNT = re.compile(
    r"(?P<sign>[-−+])?\s*[$€£¥₹]?\s*(?P<sign2>[-−])?(?P<body>[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?|[0-9]+/[0-9]+"
    r"|[0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*(?:%|[$€£¥₹]|[A-Za-z°][A-Za-z°²³/. ]*)?\.?"
)


def fits(number: Fraction) -> bool:
    """Tell whether a trace may hold a number."""
    return -LIMIT <= number.numerator <= LIMIT and number.denominator <= LIMIT


def read_numeral(text: str) -> Fraction | None:
    """Read a numeral of the trace language: an integer, a decimal or n/m, with an optional sign.

    Nothing else is a number there: `1_000`, `0x10`, `1e3`, `80,000` and `1/0` give None. A numeral with more
    digits than any legal number has is returned as some number beyond `LIMIT`.
    """
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


def read_amount(text: str) -> Fraction | None:
    """Read a number as people write an answer: with thousands commas, a currency sign, a percent sign or a unit."""
    match = _AMOUNT.fullmatch(text.strip())
    if match is None:
        return None
    body = match["body"].replace(",", "").rstrip(".")
    number = read_numeral(body)
    negative = (match["sign"] in ("-", "−")) != (match["sign2"] is not None)
    return -number if number is not None and negative else number


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


# What everybody knows without being told: days of a week, minutes of an hour, cents of a dollar, sides and scales.
_CONSTANTS = (
    "0 1 2 3 4 5 7 10 12 14 16 24 28 30 31 36 50 52 60 90 100 180 360 365 366 1000 1760 2000 3600 5280 "
    "1/2 1/3 1/4 3/4 0.01"
)
CONSTANTS = frozenset(map(Fraction, _CONSTANTS.split()))


# --- numbers in a question -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Mention:
    """A number found in a question: text[start:end] states `value`; `also` are other readings of the same words."""

    value: Fraction
    start: int
    end: int
    kind: str  # digits | words | fraction | percent | relation | ordinal
    also: tuple[Fraction, ...] = ()

    @property
    def readings(self) -> tuple[Fraction, ...]:
        """Return the value and its other readings."""
        return (self.value, *self.also)


_ONES = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"
_UNITS = {word: n for n, word in enumerate((_ONES + " seventeen eighteen nineteen").split())}
_TENS = {
    word: 10 * n for n, word in enumerate("twenty thirty forty fifty sixty seventy eighty ninety".split(), start=2)
}
_SCALES = {"thousand": 10**3, "million": 10**6, "billion": 10**9}
_PARTS = {"half": 2, "halves": 2, "quarter": 4, "quarters": 4} | {
    word + plural: n
    for n, word in enumerate(["third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth"], start=3)
    for plural in ("", "s")
}
_PARTS |= {"twelfth": 12, "twelfths": 12, "twentieth": 20, "twentieths": 20, "hundredth": 100, "hundredths": 100}
_RELATIONS = {
    "twice": 2, "double": 2, "doubles": 2, "doubled": 2, "doubling": 2, "twofold": 2, "couple": 2, "pair": 2,
    "pairs": 2, "twins": 2, "thrice": 3, "triple": 3, "triples": 3, "tripled": 3, "tripling": 3,
    "threefold": 3, "triplets": 3, "quadruple": 4, "quadruples": 4, "quadrupled": 4, "fourfold": 4,
    "quintuple": 5, "quintupled": 5, "fivefold": 5, "tenfold": 10, "dozen": 12, "dozens": 12,
}  # fmt: skip
_GLYPHS = {
    "½": (1, 2), "⅓": (1, 3), "⅔": (2, 3), "¼": (1, 4), "¾": (3, 4), "⅕": (1, 5), "⅖": (2, 5), "⅗": (3, 5),
    "⅘": (4, 5), "⅙": (1, 6), "⅚": (5, 6), "⅛": (1, 8), "⅜": (3, 8), "⅝": (5, 8), "⅞": (7, 8), "⅑": (1, 9),
    "⅒": (1, 10),
}  # fmt: skip
_GLYPH = "[" + "".join(_GLYPHS) + "]"
_SLASH = "[/⁄∕]"
_TOKEN = re.compile(
    rf"(?P<digits>(?:[0-9]{{1,3}}(?:,[0-9]{{3}})+(?![0-9])|[0-9]+)(?:\.[0-9]+)?|(?<![0-9])\.[0-9]+)"
    rf"(?:(?P<over>{_SLASH}(?P<denominator>[0-9]+)(?![0-9]))|[ -]?(?P<part>[0-9]+{_SLASH}[0-9]+)(?![0-9])"
    rf"|\s?(?P<glyphpart>{_GLYPH}))?(?P<ordinal>st|nd|rd|th)?(?![0-9])"
    rf"|(?P<glyph>{_GLYPH})|(?P<word>[A-Za-z]+)",
)
_PERCENT = re.compile(r"\s?(?:%|％|-?percent\b|per\s?cent\b)", re.IGNORECASE)
_Reading = tuple[Fraction, int, tuple[Fraction, ...], str]  # value, tokens used, other readings, kind
_GAP = re.compile(r"[\s-]+|\s+and\s+(?:a\s+)?", re.IGNORECASE)
_FRACTION = re.compile(rf"([0-9]+){_SLASH}([0-9]+)")


def find_numbers(question: str) -> list[Mention]:
    """Return every number the question states, left to right, without overlaps.

    Digits, words, fractions, percent, mixed numbers, dozens and words of relation (twice, half, …). A
    percent's value is the rate (20% is 20, also 1/5); a part's is the fraction (half is 1/2, also 2).
    """
    return list(_mentions(question))


def _mentions(question: str) -> Iterator[Mention]:
    tokens = list(_TOKEN.finditer(question))
    at = 0
    while at < len(tokens):
        found, used = _mention_at(question, tokens, at)
        if found is not None:
            yield found
        at += used


def _mention_at(question: str, tokens: list[re.Match[str]], at: int) -> tuple[Mention | None, int]:
    """Return the mention that begins at token `at`, if any, and the number of tokens it takes."""
    first = tokens[at]
    read = _read_words(question, tokens, at) if first["word"] else _read_digits(first)
    if read is None:
        return None, 1
    value, used, also, kind = _read_tail(question, tokens, at, read)
    end = tokens[at + used - 1].end()
    if kind in ("digits", "words", "fraction") and (percent := _PERCENT.match(question, end)):
        end, kind, also = percent.end(), "percent", (value / 100, *also)
        while at + used < len(tokens) and tokens[at + used].start() < end:
            used += 1
    return Mention(value, first.start(), end, kind, tuple(dict.fromkeys(n for n in also if n != value))), used


def _read_digits(token: re.Match[str]) -> _Reading | None:
    if token["glyph"]:
        part = Fraction(*_GLYPHS[token["glyph"]])
        return part, 1, (Fraction(part.denominator),), "fraction"
    whole = read_numeral(token["digits"].replace(",", ""))
    if whole is None:
        return None
    if token["over"]:
        below = read_numeral(token["denominator"])
        return (whole / below, 1, (whole, below), "fraction") if below else (whole, 1, (), "digits")
    added = Fraction(*_GLYPHS[token["glyphpart"]]) if token["glyphpart"] else _fraction(token["part"] or "")
    if added is not None:
        return whole + added, 1, (whole, added), "fraction"
    return whole, 1, (), "ordinal" if token["ordinal"] else "digits"


def _fraction(text: str) -> Fraction | None:
    match = _FRACTION.fullmatch(text)
    above, below = (read_numeral(part) for part in match.groups()) if match else (None, None)
    return above / below if above is not None and below else None


def _read_words(question: str, tokens: list[re.Match[str]], at: int) -> _Reading | None:
    """Read a number written in words; `a` and `an` count only before a part, a scale or a dozen."""
    word = tokens[at]["word"].lower()
    if word in _RELATIONS:
        return Fraction(_RELATIONS[word]), 1, (), "relation"
    if word in _PARTS:
        share, whole = Fraction(1, _PARTS[word]), Fraction(_PARTS[word])
        if word.startswith(("half", "halv", "quarter", "third")):
            return share, 1, (whole,), "fraction"
        return whole, 1, (share,), "ordinal"
    if word in ("a", "an"):
        follower = _next_word(question, tokens, at + 1)
        if follower in _PARTS:
            return Fraction(1, _PARTS[follower]), 2, (Fraction(_PARTS[follower]),), "fraction"
        if follower not in _SCALES and follower not in ("hundred", "dozen"):
            return None
        value, used = _read_cardinal(question, tokens, at + 1, start=1)
        return None if value is None else (value, used + 1, (), "words")
    value, used = _read_cardinal(question, tokens, at)
    return None if value is None else (value, used, (), "words")


def _read_cardinal(
    question: str, tokens: list[re.Match[str]], at: int, start: int | None = None
) -> tuple[Fraction | None, int]:
    """Read `two hundred and five`, `twenty-five`, `a thousand`; `start` is the value of a leading `a`."""
    total, current, last = 0, start, "scale" if start is None else "unit"
    used = taken = 0
    while at + used < len(tokens) and (word := (tokens[at + used]["word"] or "").lower()):
        if used and not _joined(question, tokens, at + used, allow_and=last in ("hundred", "scale") and taken > 0):
            break
        if word in _UNITS and (last in ("scale", "hundred") or (last == "tens" and 0 < _UNITS[word] < 10)):
            current, last = (current or 0) + _UNITS[word], "unit"
        elif word in _TENS and last in ("scale", "hundred"):
            current, last = (current or 0) + _TENS[word], "tens"
        elif word == "hundred" and current is not None and 0 < current < 100:
            current, last = current * 100, "hundred"
        elif word in _SCALES and current is not None:
            total, current, last = total + current * _SCALES[word], None, "scale"
        else:
            break
        used += 1
        taken = used
        if at + used < len(tokens) and (tokens[at + used]["word"] or "").lower() == "and":
            follower = _next_word(question, tokens, at + used + 1)
            if last in ("hundred", "scale") and (follower in _UNITS or follower in _TENS):
                used += 1
    if taken == 0:
        return None, 0
    return Fraction(total + (current or 0)), taken


def _read_tail(question: str, tokens: list[re.Match[str]], at: int, read: _Reading) -> _Reading:
    """Extend a number by what follows it: a part (`two thirds`, `and a half`), a scale (`2.5 million`), a dozen."""
    value, used, _, kind = read
    if kind in ("relation", "ordinal", "percent"):
        return read
    follower = _next_word(question, tokens, at + used)
    if kind == "fraction" and follower in ("a", "of") and _next_word(question, tokens, at + used + 1) == "dozen":
        return value * 12, used + 2, (value, Fraction(12)), "words"
    if follower == "dozen":
        return value * 12, used + 1, (value, Fraction(12)), kind
    if kind == "fraction":
        return read
    if follower in _PARTS and value.denominator == 1 and value >= 1 and kind == "words":
        part = Fraction(1, _PARTS[follower])
        return value * part, used + 1, (value, 1 / part), "fraction"
    if kind == "digits" and (follower in _SCALES or follower == "hundred"):
        return value * _SCALES.get(follower, 100), used + 1, (value,), kind
    if follower == "and":
        words = [_next_word(question, tokens, at + used + n) for n in (1, 2)]
        if words[0] in ("a", "one") and words[1] in ("half", "third", "quarter"):
            part = Fraction(1, _PARTS[words[1]])
            return value + part, used + 3, (value, part), "fraction"
    return read


def _next_word(question: str, tokens: list[re.Match[str]], at: int) -> str:
    """Return token `at` in lower case if only white space or a hyphen parts it from the one before, else nothing."""
    if at >= len(tokens) or not tokens[at]["word"] or not _joined(question, tokens, at):
        return ""
    return tokens[at]["word"].lower()


def _joined(question: str, tokens: list[re.Match[str]], at: int, allow_and: bool = False) -> bool:
    gap = question[tokens[at - 1].end() : tokens[at].start()]
    return gap == "" or bool(_GAP.fullmatch(gap)) or (allow_and and gap.strip() == "")


def grounded_numbers(question: str) -> tuple[str, ...]:
    """Return, spelled, all numbers a trace may take from a question: readings of those it states, and constants."""
    readings = (number for mention in find_numbers(question) for number in mention.readings)
    return tuple(dict.fromkeys(map(spell, (*filter(fits, readings), *sorted(CONSTANTS)))))
