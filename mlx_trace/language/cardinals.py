"""Numbers in words, and what is said with them: two hundred and five, three point five, the twenty-fifth, half past 6.

Takes a text's tokens (matches with a group `word` or `digits`) and where to read; returns values, and how many tokens
they take. Knows nothing of what numbers are for.
"""

import re
from fractions import Fraction
from typing import Final

from mlx_trace.language.number_words import MEASURES, ORDINALS, SCALES, TENS, UNITS
from mlx_trace.language.numbers import read_numeral

HYPHEN: Final = "–‐‑-"
_GAP: Final = re.compile(rf"\s+|[{HYPHEN}]\s?|\s[{HYPHEN}]")
_TIMES: Final = ("times", "percent")  # measures that have no halves
_TO_THE_HOUR: Final = ("past", "to", "after", "till", "before")


def read_cardinal(
    text: str, tokens: list[re.Match[str]], index: int, start: int | None = None
) -> tuple[Fraction | None, int]:
    """Read `two hundred and five`, `twenty-five`, `a thousand`; `start` is the value of a leading `a`."""
    total, current, last = 0, start, "scale" if start is None else "unit"
    used = taken = 0
    while index + used < len(tokens) and (word := (tokens[index + used]["word"] or "").lower()):
        if used and not joined(text, tokens, index + used):
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
            follower = next_word(text, tokens, index + used + 1)
            if last in ("hundred", "scale") and (follower in UNITS or follower in TENS):
                used += 1
    if taken == 0:
        return None, 0
    return Fraction(total + (current or 0)), taken


def read_ordinal(text: str, tokens: list[re.Match[str]], index: int) -> Fraction | None:
    """Return what the units at `index` make of the tens before them: the twenty-fifth; twenty fifth graders are 20."""
    if index >= len(tokens):
        return None
    tens = TENS.get((tokens[index - 1]["word"] or "").lower())
    unit = ORDINALS.get(next_word(text, tokens, index))
    if tens is None or unit is None or text[tokens[index - 1].end() : tokens[index].start()].isspace():
        return None
    return Fraction(unit)


def read_point(text: str, tokens: list[re.Match[str]], index: int) -> tuple[Fraction, int, tuple[Fraction, ...]]:
    """Return the decimals said at `index` (point two five), the tokens that say them, and each digit; 0, 0 for none."""
    digits: list[int] = []
    if next_word(text, tokens, index) == "point" and text[tokens[index].start() - 1].isspace():
        while (digit := UNITS.get(next_word(text, tokens, index + 1 + len(digits)), 10)) < 10:
            digits.append(digit)
    value = sum((Fraction(digit, 10**place) for place, digit in enumerate(digits, start=1)), Fraction(0))
    return value, len(digits) + bool(digits), tuple(map(Fraction, digits))


def count_before(tokens: list[re.Match[str]], index: int) -> Fraction | None:
    """Return how many hours (days, miles) a half at `index` is added to: an hour and a half, 2 hours and a half."""
    said = [(token["word"] or "").lower() for token in tokens[max(0, index - 3) : index]]
    if len(said) < 3 or said[2] != "and" or said[1] not in MEASURES or said[1] in _TIMES:
        return None
    if digits := tokens[index - 3]["digits"]:
        return read_numeral(digits)
    count = 1 if said[0] in ("a", "an") else UNITS.get(said[0], 0)
    return Fraction(count) if count else None


def is_clock(text: str, tokens: list[re.Match[str]], index: int) -> bool:
    """Tell whether the words at `index` part an hour of the clock: half past six, a quarter to 9."""
    if next_word(text, tokens, index) not in _TO_THE_HOUR or index + 1 >= len(tokens):
        return False
    hour = tokens[index + 1]
    number = read_numeral(hour["digits"]) if hour["digits"] else UNITS.get(next_word(text, tokens, index + 1))
    return number is not None and 1 <= number <= 12 and joined(text, tokens, index + 1)


def next_word(text: str, tokens: list[re.Match[str]], index: int) -> str:
    """Return token `index` in lower case if only white space or a hyphen parts it from the one before, else nothing."""
    if index >= len(tokens) or not tokens[index]["word"] or not joined(text, tokens, index):
        return ""
    return tokens[index]["word"].lower()


def joined(text: str, tokens: list[re.Match[str]], index: int) -> bool:
    """Tell whether only white space or a hyphen parts token `index` from the one before."""
    gap = text[tokens[index - 1].end() : tokens[index].start()]
    return gap == "" or _GAP.fullmatch(gap) is not None
