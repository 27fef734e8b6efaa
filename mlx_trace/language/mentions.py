"""The numbers that a text states, with their spans: digits, words, fractions, percent, dozens, words of relation.

Takes a question (or an answer); returns `Mention`s. Knows nothing of variables, steps or problems. Where a text can be
read in two ways, the likelier is the value and the other is kept beside it.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Final

from mlx_trace.language.cardinals import (
    HYPHEN,
    count_before,
    is_clock,
    joined,
    next_word,
    read_cardinal,
    read_ordinal,
    read_point,
)
from mlx_trace.language.digits import SLASH, Reading, currency_before, read_digits, read_fraction, read_power
from mlx_trace.language.number_words import (
    BAKERS,
    DIGITS,
    DOZEN,
    FINER,
    GLYPHS,
    LETTERS,
    MEASURES,
    MULTIPLIERS,
    NUMBER_WORDS,
    PARTS,
    PLAIN_PARTS,
    RELATIONS,
    SCALES,
    TENS,
    THIN,
    UNITS,
)
from mlx_trace.language.signs import is_negative


@dataclass(frozen=True, slots=True)
class Mention:
    """A number found in a text: text[start:end] states `value`; `also` are other readings of the same words."""

    value: Fraction
    start: int
    end: int
    kind: str  # digits | words | fraction | percent | relation | ordinal
    also: tuple[Fraction, ...] = ()

    @property
    def readings(self) -> tuple[Fraction, ...]:
        """Return the value and its other readings."""
        return (self.value, *self.also)

    @property
    def is_plain(self) -> bool:
        """Tell whether it is a number as such, in digits or words: no part, percentage, relation or place in a row."""
        return self.kind in ("digits", "words")


_GLYPH: Final = "[" + "".join(GLYPHS) + "]"
_TOKEN: Final = re.compile(
    rf"(?P<dated>(?<=[0-9]/))?(?P<digits>(?=[0-9.])(?:{DIGITS}))"  # 25 and 2010 of 12/25/2010 are no fraction
    rf"(?:(?(dated)(?!)|(?P<over>{SLASH}(?P<denominator>[0-9]+)(?!{SLASH}?[0-9])))|[ {THIN}{HYPHEN}]?"
    rf"(?P<part>[0-9]+{SLASH}[0-9]+)(?![0-9])"
    rf"|\s?(?P<glyphpart>{_GLYPH}))?(?P<ordinal>st|nd|rd|th)?(?![0-9])"
    rf"|(?P<glyph>{_GLYPH})|(?P<word>[A-Za-z]+)",
)
_DECIMAL: Final = re.compile(r"\d")
_BAKER: Final = ("baker's ", "baker’s ", "bakers' ", "bakers’ ", "bakers ")
_LABEL: Final = re.compile(
    r"(?i)\b(?:apartment|apt\.?|room|unit|suite|seat|gate|flat|building|section|row|class|terminal|platform|highway"
    r"|route|bus|lane|lot|bay|booth|table|block|no\.?) #?$|#$|(?<![a-z])[a-z]$"
)
_LABEL_LENGTH: Final = 12
_DENOMINATORS: Final = PARTS | FINER
_PERCENT: Final = re.compile(r"\s?(?:\\?%|％|-?percent\b|per\s?cent\b|pct\b)", re.IGNORECASE)
_MOST_MULTIPLIERS: Final = 3  # five hundred thousand million
_LED: Final = ("half", "quarter")  # parts that a multiplier may follow: half million, and not third million
_THOUSAND: Final = 1000
_USUAL: Final = 2000  # characters of a question or a solution; longer texts are not remembered
_TOLD: Final = 10**6  # from here on a multiplier is no common knowledge


def find_numbers(text: str) -> list[Mention]:
    """Return every number a text states, left to right, without overlaps.

    A percent's value is the rate (20% is 20, also 1/5); a part's is the fraction (half is 1/2, also 2); a number with
    a multiplier is their product (2 dozen is 24, also 2 and 12); one below zero is negative, also without its sign.
    """
    return list(_remembered(text) if len(text) <= _USUAL else _mentions(text))


def _mentions(text: str) -> Iterator[Mention]:
    if not text.isascii():  # １２ and ١٢ are 12; each character stays one, so that spans hold
        text = _DECIMAL.sub(lambda digit: str(int(digit[0])), text)
    tokens = list(_TOKEN.finditer(text))
    index = 0
    while index < len(tokens):
        word = tokens[index]["word"]
        mention, used = _mention_at(text, tokens, index) if not word or word.lower() in NUMBER_WORDS else (None, 1)
        if mention is not None:
            yield mention
        index += used


@lru_cache(maxsize=256)  # a row's question is read several times, one after the other
def _remembered(text: str) -> tuple[Mention, ...]:
    return tuple(_mentions(text))


def _mention_at(text: str, tokens: list[re.Match[str]], index: int) -> tuple[Mention | None, int]:
    """Return the mention that begins at token `index`, if any, and the number of tokens it takes."""
    first = tokens[index]
    read = _read_words(text, tokens, index) if first["word"] else read_digits(text, first)
    if read is None:
        return None, 1
    value, used, also, kind = _read_tail(text, tokens, index, read)
    end = tokens[index + used - 1].end()
    if kind == "digits" and (power := read_power(text, end, value)):
        (value, end), also = power, (value, *also)
    elif kind in ("digits", "words", "fraction") and (percent := _PERCENT.match(text, end)):
        end, kind, also = percent.end(), "percent", (value / 100, *also)
    while index + used < len(tokens) and tokens[index + used].start() < end:
        used += 1
    if kind in ("digits", "words", "fraction", "percent") and is_negative(text, first.start(), end):
        value, also = -value, (value, *also)
    return Mention(value, first.start(), end, kind, tuple(dict.fromkeys(n for n in also if n != value))), used


def _read_words(text: str, tokens: list[re.Match[str]], index: int) -> Reading | None:
    """Read a number written in words; `a` and `an` count only before a part, a scale or a dozen."""
    word = tokens[index]["word"].lower()
    if word in RELATIONS:
        start = tokens[index].start()
        if word in ("dozen", "dozens") and text[max(0, start - 8) : start].lower().endswith(_BAKER):
            return BAKERS, 1, (DOZEN,), "relation"
        return Fraction(RELATIONS[word]), 1, (), "relation"
    if word in PARTS:
        share, whole = Fraction(1, PARTS[word]), Fraction(PARTS[word])
        if word.startswith(PLAIN_PARTS) and not (word == "third" and _is_grade(text, tokens, index + 1)):
            minutes = (60 * share,) if is_clock(text, tokens, index + 1) else ()
            return share, 1, (whole, *minutes), "fraction"
        return whole, 1, (share,), "ordinal"
    if word in ("a", "an"):
        follower = next_word(text, tokens, index + 1)
        if follower in PARTS or (follower in FINER and next_word(text, tokens, index + 2) == "of"):
            share = Fraction(1, _DENOMINATORS[follower])
            return share, 2, (1 / share, *_added(text, tokens, index, share)), "fraction"
        unit = read_ordinal(text, tokens, index + 2)
        if follower in TENS and unit is not None and next_word(text, tokens, index + 3) == "of":  # a twenty-fifth of
            return 1 / (TENS[follower] + unit), 3, (TENS[follower] + unit,), "fraction"
        if follower not in SCALES and follower not in ("hundred", "dozen"):
            return None
        value, used = read_cardinal(text, tokens, index + 1, start=1)
        return None if value is None else (value, used + 1, (), "words")
    value, used = read_cardinal(text, tokens, index)
    if value is None:
        return None
    if (unit := read_ordinal(text, tokens, index + used)) is not None:
        return value + unit, used + 1, (value, unit), "ordinal"
    decimals, more, digits = read_point(text, tokens, index + used)
    return (value + decimals, used + more, (value, *digits), "digits") if more else (value, used, (), "words")


def _added(text: str, tokens: list[re.Match[str]], index: int, share: Fraction) -> tuple[Fraction, ...]:
    """Return what else `a` and a part at `index` may say: 1.5 in an hour and a half, 15 in a quarter to nine."""
    if share not in (Fraction(1, 2), Fraction(1, 4)):
        return ()
    count = count_before(tokens, index)
    whole = () if count is None else (count + share,)
    return (*whole, 60 * share) if is_clock(text, tokens, index + 2) else whole


def _is_grade(text: str, tokens: list[re.Match[str]], index: int) -> bool:
    return next_word(text, tokens, index).startswith("grade")


def _read_tail(text: str, tokens: list[re.Match[str]], index: int, read: Reading) -> Reading:
    """Extend a number by what follows it: a part (`two thirds`, `and a half`), then multipliers (`2.5 million`)."""
    value, used, also, kind = read
    if kind in ("ordinal", "percent"):
        return read
    if kind == "relation" and tokens[index]["word"].lower() != "couple":
        return _and_half_of_it(text, tokens, index, read)
    if (part := _part(text, tokens, index + used, read)) is not None:
        also = (value, 1 / part) if kind == "words" else (value, 1 / part, part)
        value, used, kind = value * part, used + 1, "fraction"
    if kind in ("digits", "words") and (added := _and_a_part(text, tokens, index + used)) is not None:
        part, more = added
        whole = SCALES.get((tokens[index + used - 1]["word"] or "").lower(), 1)  # a million and a half
        value, used, also, kind = value + part * whole, used + more, (value, part), "fraction"
    if kind == "digits" and (scale := _letter(text, tokens, index + used)):
        return value * scale, used + 1, (value,), kind
    return _and_half_of_it(text, tokens, index, _multiplied(text, tokens, index, (value, used, also, kind)))


def _part(text: str, tokens: list[re.Match[str]], index: int, read: Reading) -> Fraction | None:
    """Return the part that a number before it counts: two thirds, 3 fourths; 3 quarters are coins, too."""
    value, _, _, kind = read
    word = next_word(text, tokens, index)
    if word not in _DENOMINATORS or value.denominator != 1 or value < 1 or kind not in ("words", "digits"):
        return None
    if not word.endswith("s") and _is_grade(text, tokens, index + 1):  # three fourth graders
        return None
    is_told = word.endswith("s") or next_word(text, tokens, index + 1) == "of"
    if kind == "digits" and (not is_told or word.startswith(("half", "halv", "quarter"))):
        return None
    return Fraction(1, _DENOMINATORS[word])


def _and_half_of_it(text: str, tokens: list[re.Match[str]], index: int, read: Reading) -> Reading:
    """Extend a number by half of what it counts in: two dozen and a half, 2 million and a half."""
    value, used, also, kind = read
    factor = MULTIPLIERS.get((tokens[index + used - 1]["word"] or "").lower(), Fraction(0))
    added = _and_a_part(text, tokens, index + used) if factor == DOZEN or factor >= _THOUSAND else None
    if added is None or added[1] != 3 or next_word(text, tokens, index + used + 3) == "of":
        return read
    part, more = added
    return value + part * factor, used + more, (value, part, *also), "words" if kind == "relation" else kind


def _and_a_part(text: str, tokens: list[re.Match[str]], index: int) -> tuple[Fraction, int] | None:
    """Return the part that `and` adds to a number, and the tokens that say it: and a half, and 3/4, and half dozen."""
    if next_word(text, tokens, index) != "and" or index + 1 >= len(tokens):
        return None
    words = [next_word(text, tokens, index + n) for n in (1, 2, 3)]
    if words[0] in ("a", "one") and words[1] in PARTS:
        if words[1].startswith(PLAIN_PARTS):
            return Fraction(1, PARTS[words[1]]), 3
    elif words[0] == "half" and (words[1] in MULTIPLIERS or words[1] in MEASURES):
        return Fraction(1, 2), 2
    elif words[0] in UNITS and words[1] in PARTS and words[2] not in ("of", "as", "more", "less"):
        part = Fraction(UNITS[words[0]], PARTS[words[1]])
        return (part, 3) if 0 < part < 1 else None
    token = tokens[index + 1]
    if not token["word"] and words[1] not in ("of", "as", "more", "less") and joined(text, tokens, index + 1):
        glyph = token["glyph"]
        stated = Fraction(*GLYPHS[glyph]) if glyph else read_fraction(token[0])
        return (stated, 2) if stated is not None and 0 < stated < 1 else None
    return None


def _letter(text: str, tokens: list[re.Match[str]], index: int) -> int | None:
    """Return what a letter written onto digits multiplies them by: $280k, 2.5M; 12m is meters, but for money."""
    if index >= len(tokens) or not tokens[index]["word"]:
        return None
    letters, digits = tokens[index]["word"], tokens[index - 1]
    if _LABEL.search(text[max(0, digits.start() - _LABEL_LENGTH) : digits.start()]):  # Apartment 4B
        return None
    gap = text[digits.end() : tokens[index].start()]
    if currency_before(text, digits.start()):
        return LETTERS.get(letters.lower()) if gap in ("", " ") else None
    plain = letters in ("mn", "bn", "tn") or (gap == "" and letters in ("k", "K", "M", "B"))
    return LETTERS.get(letters.lower()) if plain and gap in ("", " ") else None


def _multiplied(text: str, tokens: list[re.Match[str]], index: int, read: Reading) -> Reading:
    """Return a number times the multipliers that follow: 2.5 million, half a dozen, a couple of hundred."""
    value, used, also, kind = read
    for _ in range(_MOST_MULTIPLIERS):
        linked = _link(text, tokens, index + used, kind) if value < 1 or kind == "relation" else 0
        follower = next_word(text, tokens, index + used + linked)
        factor = MULTIPLIERS.get(follower)
        if factor is None or (kind == "words" and factor != DOZEN and not follower.endswith("s")):
            break  # a number in words has read its own
        if not linked and value < 1 and (tokens[index + used - 1]["word"] or "half").lower() not in _LED:
            break  # the third dozen
        also = (value, factor) if factor == DOZEN or factor >= _TOLD or kind != "digits" else (value,)
        also = (*also, *read[2]) if kind == "fraction" and value > 1 else also
        value, used, kind = value * factor, used + linked + 1, "words" if linked or kind == "relation" else kind
    return value, used, also, kind


def _link(text: str, tokens: list[re.Match[str]], index: int, kind: str) -> int:
    """Return how many words stand between a part and what it is a part of: a, of, of a; after a couple: of."""
    words = [next_word(text, tokens, index + n) for n in (0, 1)]
    if kind == "relation":
        return int(words[0] == "of")
    return 2 if words == ["of", "a"] else int(words[0] in ("a", "of"))
