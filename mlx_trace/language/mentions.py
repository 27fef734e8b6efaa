"""The numbers that a text states, with their spans: digits, words, fractions, percent, dozens, words of relation.

Takes a question (or an answer); returns `Mention`s. Knows nothing of variables, steps or problems. Where a text can be
read in two ways, the likelier is the value and the other is kept beside it.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from mlx_trace.language.number_words import (
    CURRENCY,
    DIGITS,
    DOZEN,
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
from mlx_trace.language.numbers import read_numeral
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


_HYPHEN: Final = "–‐‑-"
_GLYPH: Final = "[" + "".join(GLYPHS) + "]"
_SLASH: Final = "[/⁄∕]"
_TOKEN: Final = re.compile(
    rf"(?P<digits>(?=[0-9.])(?:{DIGITS}))"
    rf"(?:(?P<over>{_SLASH}(?P<denominator>[0-9]+)(?![0-9]))|[ {THIN}{_HYPHEN}]?"
    rf"(?P<part>[0-9]+{_SLASH}[0-9]+)(?![0-9])"
    rf"|\s?(?P<glyphpart>{_GLYPH}))?(?P<ordinal>st|nd|rd|th)?(?![0-9])"
    rf"|(?P<glyph>{_GLYPH})|(?P<word>[A-Za-z]+)",
)
_EUROPEAN: Final = re.compile(r"[0-9]{1,3}(?:(?:\.[0-9]{3})+,[0-9]{2}|(?:\.[0-9]{3}){2,})")
_BETWEEN: Final = str.maketrans("", "", f",'’ {THIN}")
_PERCENT: Final = re.compile(r"\s?(?:%|％|-?percent\b|per\s?cent\b|pct\b)", re.IGNORECASE)
_GAP: Final = re.compile(rf"\s+|[{_HYPHEN}]\s?|\s[{_HYPHEN}]")
_FRACTION: Final = re.compile(rf"([0-9]+){_SLASH}([0-9]+)")
_GROUP: Final = re.compile(r" ([0-9]{3})(?![0-9,./:])")
_Reading = tuple[Fraction, int, tuple[Fraction, ...], str]  # value, tokens used, other readings, kind
_MOST_MULTIPLIERS: Final = 3  # five hundred thousand million
_TOLD: Final = 10**6  # from here on a multiplier is no common knowledge


def find_numbers(text: str) -> list[Mention]:
    """Return every number a text states, left to right, without overlaps.

    A percent's value is the rate (20% is 20, also 1/5); a part's is the fraction (half is 1/2, also 2); a number with
    a multiplier is their product (2 dozen is 24, also 2 and 12); one below zero is negative, also without its sign.
    """
    return list(_mentions(text))


def _mentions(text: str) -> Iterator[Mention]:
    tokens = list(_TOKEN.finditer(text))
    index = 0
    while index < len(tokens):
        word = tokens[index]["word"]
        mention, used = _mention_at(text, tokens, index) if not word or word.lower() in NUMBER_WORDS else (None, 1)
        if mention is not None:
            yield mention
        index += used


def _mention_at(text: str, tokens: list[re.Match[str]], index: int) -> tuple[Mention | None, int]:
    """Return the mention that begins at token `index`, if any, and the number of tokens it takes."""
    first = tokens[index]
    read = _read_words(text, tokens, index) if first["word"] else _read_digits(text, first)
    if read is None:
        return None, 1
    value, used, also, kind = _read_tail(text, tokens, index, read)
    end = tokens[index + used - 1].end()
    if kind in ("digits", "words", "fraction") and (percent := _PERCENT.match(text, end)):
        end, kind, also = percent.end(), "percent", (value / 100, *also)
        while index + used < len(tokens) and tokens[index + used].start() < end:
            used += 1
    if kind in ("digits", "words", "fraction", "percent") and is_negative(text, first.start(), end):
        value, also = -value, (value, *also)
    return Mention(value, first.start(), end, kind, tuple(dict.fromkeys(n for n in also if n != value))), used


def _read_digits(text: str, token: re.Match[str]) -> _Reading | None:
    if token["glyph"]:
        part = Fraction(*GLYPHS[token["glyph"]])
        return part, 1, (Fraction(part.denominator),), "fraction"
    written = token["digits"]
    if _EUROPEAN.fullmatch(written):
        written = written.replace(".", "").replace(",", ".")
    whole = read_numeral(written.translate(_BETWEEN))
    if whole is None:
        return None
    if token["over"]:
        below = read_numeral(token["denominator"])
        return (whole / below, 1, (whole, below), "fraction") if below else (whole, 1, (), "digits")
    added = Fraction(*GLYPHS[token["glyphpart"]]) if token["glyphpart"] else _fraction(token["part"] or "")
    if added is not None:
        return whole + added, 1, (whole, added), "fraction"
    return whole, 1, _other_groups(text, token), "ordinal" if token["ordinal"] else "digits"


def _other_groups(text: str, token: re.Match[str]) -> tuple[Fraction, ...]:
    """Return what digits may mean too where blanks may part groups or numbers: 2 132, and 6, 760."""
    written = token["digits"]
    if ", " in written:
        return tuple(Fraction(part) for part in written.split(", "))
    follower = _GROUP.match(text, token.end()) if len(written) <= 3 and written.isdigit() else None
    return (Fraction(written + follower[1]),) if follower and not token["ordinal"] else ()


def _fraction(text: str) -> Fraction | None:
    match = _FRACTION.fullmatch(text)
    above, below = (read_numeral(part) for part in match.groups()) if match else (None, None)
    return above / below if above is not None and below else None


def _read_words(text: str, tokens: list[re.Match[str]], index: int) -> _Reading | None:
    """Read a number written in words; `a` and `an` count only before a part, a scale or a dozen."""
    word = tokens[index]["word"].lower()
    if word in RELATIONS:
        return Fraction(RELATIONS[word]), 1, (), "relation"
    if word in PARTS:
        share, whole = Fraction(1, PARTS[word]), Fraction(PARTS[word])
        if word.startswith(PLAIN_PARTS):
            return share, 1, (whole,), "fraction"
        return whole, 1, (share,), "ordinal"
    if word in ("a", "an"):
        follower = _next_word(text, tokens, index + 1)
        if follower in PARTS:
            return Fraction(1, PARTS[follower]), 2, (Fraction(PARTS[follower]),), "fraction"
        if follower not in SCALES and follower not in ("hundred", "dozen"):
            return None
        value, used = _read_cardinal(text, tokens, index + 1, start=1)
        return None if value is None else (value, used + 1, (), "words")
    value, used = _read_cardinal(text, tokens, index)
    return None if value is None else (value, used, (), "words")


def _read_cardinal(
    text: str, tokens: list[re.Match[str]], index: int, start: int | None = None
) -> tuple[Fraction | None, int]:
    """Read `two hundred and five`, `twenty-five`, `a thousand`; `start` is the value of a leading `a`."""
    total, current, last = 0, start, "scale" if start is None else "unit"
    used = taken = 0
    while index + used < len(tokens) and (word := (tokens[index + used]["word"] or "").lower()):
        if used and not _joined(text, tokens, index + used):
            break
        if word in UNITS and (last in ("scale", "hundred") or (last == "tens" and 0 < UNITS[word] < 10)):
            current, last = (current or 0) + UNITS[word], "unit"
        elif word in TENS and last in ("scale", "hundred"):
            current, last = (current or 0) + TENS[word], "tens"
        elif word == "hundred" and current is not None and 0 < current < 100:
            current, last = current * 100, "hundred"
        elif word in SCALES and current is not None:
            total, current, last = total + current * SCALES[word], None, "scale"
        else:
            break
        used += 1
        taken = used
        if index + used < len(tokens) and (tokens[index + used]["word"] or "").lower() == "and":
            follower = _next_word(text, tokens, index + used + 1)
            if last in ("hundred", "scale") and (follower in UNITS or follower in TENS):
                used += 1
    if taken == 0:
        return None, 0
    return Fraction(total + (current or 0)), taken


def _read_tail(text: str, tokens: list[re.Match[str]], index: int, read: _Reading) -> _Reading:
    """Extend a number by what follows it: a part (`two thirds`, `and a half`), then multipliers (`2.5 million`)."""
    value, used, also, kind = read
    if kind in ("ordinal", "percent") or (kind == "relation" and tokens[index]["word"].lower() != "couple"):
        return read
    if kind == "words" and value.denominator == 1 and value >= 1:
        follower = _next_word(text, tokens, index + used)
        if follower in PARTS:
            part = Fraction(1, PARTS[follower])
            value, used, also, kind = value * part, used + 1, (value, 1 / part), "fraction"
    if kind in ("digits", "words") and (added := _and_a_part(text, tokens, index + used)) is not None:
        part, more = added
        whole = SCALES.get((tokens[index + used - 1]["word"] or "").lower(), 1)  # a million and a half
        value, used, also, kind = value + part * whole, used + more, (value, part), "fraction"
    if kind == "digits" and (scale := _letter(text, tokens, index + used)):
        return value * scale, used + 1, (value,), kind
    return _multiplied(text, tokens, index, (value, used, also, kind))


def _and_a_part(text: str, tokens: list[re.Match[str]], index: int) -> tuple[Fraction, int] | None:
    """Return the part that `and` adds to a number, and the tokens that say it: and a half, and 3/4, and half dozen."""
    if _next_word(text, tokens, index) != "and" or index + 1 >= len(tokens):
        return None
    words = [_next_word(text, tokens, index + n) for n in (1, 2, 3)]
    if words[0] in ("a", "one") and words[1] in PARTS:
        if words[1].startswith(PLAIN_PARTS):
            return Fraction(1, PARTS[words[1]]), 3
    elif words[0] == "half" and (words[1] in MULTIPLIERS or words[1] in MEASURES):
        return Fraction(1, 2), 2
    elif words[0] in UNITS and words[1] in PARTS and words[2] not in ("of", "as", "more", "less"):
        part = Fraction(UNITS[words[0]], PARTS[words[1]])
        return (part, 3) if 0 < part < 1 else None
    token = tokens[index + 1]
    if not token["word"] and words[1] not in ("of", "as", "more", "less") and _joined(text, tokens, index + 1):
        glyph = token["glyph"]
        stated = Fraction(*GLYPHS[glyph]) if glyph else _fraction(token[0])
        return (stated, 2) if stated is not None and 0 < stated < 1 else None
    return None


def _letter(text: str, tokens: list[re.Match[str]], index: int) -> int | None:
    """Return what a letter written onto digits multiplies them by: $280k, 2.5M; 12m is meters, but for money."""
    if index >= len(tokens) or not tokens[index]["word"]:
        return None
    letters, digits = tokens[index]["word"], tokens[index - 1]
    gap = text[digits.end() : tokens[index].start()]
    if text[max(0, digits.start() - 2) : digits.start()].rstrip().endswith(tuple(CURRENCY)):
        return LETTERS.get(letters.lower()) if gap in ("", " ") else None
    plain = letters in ("mn", "bn", "tn") or (gap == "" and letters in ("k", "K", "M", "B"))
    return LETTERS.get(letters.lower()) if plain and gap in ("", " ") else None


def _multiplied(text: str, tokens: list[re.Match[str]], index: int, read: _Reading) -> _Reading:
    """Return a number times the multipliers that follow: 2.5 million, half a dozen, a couple of hundred."""
    value, used, also, kind = read
    for _ in range(_MOST_MULTIPLIERS):
        linked = _link(text, tokens, index + used, kind) if value < 1 or kind == "relation" else 0
        follower = _next_word(text, tokens, index + used + linked)
        factor = MULTIPLIERS.get(follower)
        if factor is None or (kind == "words" and factor != DOZEN and not follower.endswith("s")):
            break  # a number in words has read its own
        if not linked and value < 1 and (tokens[index + used - 1]["word"] or "half").lower() != "half":
            break  # the third dozen
        also = (value, factor) if factor == DOZEN or factor >= _TOLD or kind != "digits" else (value,)
        also = (*also, *read[2]) if kind == "fraction" and value > 1 else also
        value, used, kind = value * factor, used + linked + 1, "words" if linked or kind == "relation" else kind
    return value, used, also, kind


def _link(text: str, tokens: list[re.Match[str]], index: int, kind: str) -> int:
    """Return how many words stand between a part and what it is a part of: a, of, of a; after a couple: of."""
    words = [_next_word(text, tokens, index + n) for n in (0, 1)]
    if kind == "relation":
        return int(words[0] == "of")
    return 2 if words == ["of", "a"] else int(words[0] in ("a", "of"))


def _next_word(text: str, tokens: list[re.Match[str]], index: int) -> str:
    """Return token `index` in lower case if only white space or a hyphen parts it from the one before, else nothing."""
    if index >= len(tokens) or not tokens[index]["word"] or not _joined(text, tokens, index):
        return ""
    return tokens[index]["word"].lower()


def _joined(text: str, tokens: list[re.Match[str]], index: int) -> bool:
    gap = text[tokens[index - 1].end() : tokens[index].start()]
    return gap == "" or _GAP.fullmatch(gap) is not None
