"""Which numbers of a question may change without harming it, and what each may become. What is unsure stays as it is.

Takes a question and its trace. Knows nothing of drawing, solving or wording.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import Final

from mlx_trace.language.numbers import CONSTANTS, Mention, find_numbers
from mlx_trace.language.steps import Init
from mlx_trace.language.syntax import Trace
from mlx_trace.problems import english
from mlx_trace.problems.audit import trace_values

DIGITS: Final = re.compile(r"([0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)(\.[0-9]+)?(\s?(?:%|percent|per cent))?")
_WORDS: Final = re.compile(r"[A-Za-z]+(?:[ -][A-Za-z]+)?")
_MOST_WORDS: Final = 100  # from here on number words become unwieldy
_MONTHS: Final = "january february march april may june july august september october november december".split()
# What stands before and behind a number that is a date, a name, a denomination, or the way the world is.
_BEFORE_FIXED: Final = re.compile(
    rf"(?i)(?:[:/]|\b(?:year|grade|class|room|number|no\.|step|chapter|size|{'|'.join(_MONTHS)}))\s?$"
)
_AFTER_FIXED: Final = re.compile(
    r"(?i)(?:[:/][0-9]|['’]?s\b|\s?(?:st|nd|rd|th|a\.?m|p\.?m|o'clock)\b|\s?(?:bills?|coins?|notes?)\b"
    r"|-(?:sided|legged|wheel|dimensional)|\s?(?:legs|wheels|sides|eyes|wings|seasons|corners)\b)"
)
_NOUN: Final = re.compile(r"[ -]([A-Za-z]+)")
_NAMES: Final = re.compile(r"\b[A-Z][a-z]+(?:, [A-Z][a-z]+)*,? and [A-Z][a-z]+")
_AGES: Final = re.compile(r"(?i)\b(?:years? old|ages?|older|younger|born|birthday)\b")
_FACTOR: Final = Fraction(5, 2)  # by which a number grows or shrinks at most
_AGE_FACTOR: Final = Fraction(3, 2)
_WHOLES: Final = {  # a number of these that fits in the whole still does when it has changed
    "hour": 24, "hours": 24, "days": 7, "months": 12, "weeks": 52, "minutes": 60, "seconds": 60, "inches": 12,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Slot:
    """A number that may change: its places in the question, which all say the same, and what it may become."""

    value: Fraction
    mentions: tuple[Mention, ...]
    choices: tuple[Fraction, ...]


def find_slots(question: str, trace: Trace) -> Iterator[Slot]:
    """Yield the numbers that may change. Equal numbers change together, so it does not matter which is which."""
    mentions = find_numbers(question)
    values = list(trace_values(trace))
    listed = {Fraction(len(re.findall(r"[A-Z][a-z]+", found[0]))) for found in _NAMES.finditer(question)}
    factor = _AGE_FACTOR if _AGES.search(question) else _FACTOR
    for value in dict.fromkeys(values):
        stating = [mention for mention in mentions if value in mention.readings]
        if not stating or values.count(value) > len(stating):
            continue  # it is common knowledge too, or only that
        if not all(mention.value == value and _may_change(question, mention, listed) for mention in stating):
            continue
        if value in CONSTANTS and value >= 7 and not _is_own(question, stating, trace, value):
            continue
        yield _slot(question, value, tuple(stating), factor)


def ordered_pairs(question: str) -> Iterator[tuple[Fraction, Fraction]]:
    """Yield pairs of numbers of one noun, the lower first: the first 9 of 10 rounds stay fewer than all of them."""
    by_noun: dict[str, set[Fraction]] = {}
    for mention in find_numbers(question):
        noun = _NOUN.match(question, mention.end)
        if noun is not None:
            by_noun.setdefault(noun[1].lower().removesuffix("s"), set()).add(mention.value)
    for values in by_noun.values():
        yield from pairwise(sorted(values))


def _may_change(question: str, mention: Mention, listed: set[Fraction]) -> bool:
    """Tell whether a number stands alone: no date, denomination, ordinal, scale, dozen, or count of those named."""
    text = question[mention.start : mention.end]
    if mention.kind not in ("digits", "percent", "words") or mention.value <= 1:
        return False
    if mention.kind == "words":
        if not _WORDS.fullmatch(text) or mention.value in listed or not 2 < mention.value < _MOST_WORDS:
            return False
        if english.number_words(int(mention.value)) != text.lower().replace(" ", "-"):
            return False
    elif not DIGITS.fullmatch(text):
        return False
    before = question[max(0, mention.start - 12) : mention.start]
    is_year = 1900 <= mention.value <= 2100 and "," not in text and not before.endswith("$")
    return not (is_year or _BEFORE_FIXED.search(before) or _AFTER_FIXED.match(question, mention.end))


def _is_own(question: str, stating: Sequence[Mention], trace: Trace, value: Fraction) -> bool:
    """Tell whether an everyday constant is the question's own number: its name in the trace has a word from nearby."""
    names = " ".join(
        step.var for part in trace.parts for step in part.steps if isinstance(step, Init) and step.value == value
    )
    near = " ".join(question[mention.end : mention.end + 40].lower() for mention in stating)
    return "_per_" not in names and any(word in near for word in re.findall(r"[a-z]{3,}", names))


def _slot(question: str, value: Fraction, mentions: tuple[Mention, ...], factor: Fraction) -> Slot:
    step = _granularity(value)
    low, high = value / factor, value * factor
    if value <= 9 and value.denominator == 1:
        low, high = Fraction(2), max(value * factor, Fraction(6))
    if any(mention.kind == "percent" for mention in mentions):
        step = Fraction(5) if value % 5 == 0 else step
        high = min(high, Fraction(95)) if value <= 95 else value
    if any(mention.kind == "words" for mention in mentions):
        high = min(high, Fraction(_MOST_WORDS - 1))
    for mention in mentions:
        noun = _NOUN.match(question, mention.end)
        whole = _WHOLES.get(noun[1]) if noun else None
        high = min(high, Fraction(whole)) if whole is not None and value <= whole else high
    offset = value % step
    first, last = int(-((low - offset) // -step)), int((high - offset) // step)
    return Slot(value, mentions, tuple(offset + step * k for k in range(first, last + 1)) or (value,))


def _granularity(value: Fraction) -> Fraction:
    """Return the step of numbers as round as this one: 1 for 7, 5 for 45, 50 for 800, 0.25 for 7.75, 0.01 for 7.99."""
    if value.denominator > 1:
        steps = (Fraction(1, parts) for parts in (2, 4, 10, 20, 100))
        return next((step for step in steps if value % step == 0), Fraction(1, value.denominator))
    for least, step in ((5_000_000, 1_000_000), (20_000, 1000), (2000, 100), (200, 50), (100, 10), (40, 5)):
        if value >= least and value % step == 0:
            return Fraction(step)
    return Fraction(5 if value >= 100 and value % 5 == 0 else 1)
