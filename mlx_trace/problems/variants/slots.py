"""Which numbers of a question may change without harming it, and what each may become. What is unsure stays as it is.

Takes a question and its trace. Knows nothing of drawing, solving or wording.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from mlx_trace.language.knowledge import known_numbers
from mlx_trace.language.mentions import Mention, find_numbers
from mlx_trace.language.number_words import CURRENCY
from mlx_trace.language.numbers import read_numeral
from mlx_trace.language.steps import Compute, Init
from mlx_trace.language.syntax import Trace
from mlx_trace.problems import english
from mlx_trace.problems.audit import trace_values
from mlx_trace.problems.variants.sense import DATED, EVERYDAY, is_year

DIGITS: Final = re.compile(r"([0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)(\.[0-9]+)?(\s?(?:%|percent|per cent))?")
_WORDS: Final = re.compile(r"[A-Za-z]+(?:[ -][A-Za-z]+)?")
_MOST_WORDS: Final = 100  # from here on number words become unwieldy
_UNIT: Final = (
    r"(?:ounces?|oz|pounds?|lbs?|tons?|grams?|kilograms?|kg|cups?|pints?|quarts?|gallons?|liters?|ml|tablespoons?|"
    r"teaspoons?|inch(?:es)?|foot|feet|yards?|miles?|meters?|cm|km|seconds?|minutes?|hours?|days?|weeks?|months?|years?|"
    r"cents?|dollars?|pennies|nickels?|dimes?|quarters?)"
)
# What stands before and behind a number that is a date, a name, a denomination, or the way the world is.
_BEFORE_FIXED: Final = re.compile(
    r"(?i)(?:[:/]|\bdeck of|\b(?:all|among the|between the)"
    rf"|\b(?:1|one|an?|each|every) {_UNIT} (?:is|are|equals?|has|contains?|weighs?|is equal to|=)(?: about)?)\s?$"
)
_AFTER_FIXED: Final = re.compile(
    r"(?i)(?:[:/][0-9]|['’]?s\b|\s?(?:st|nd|rd|th|a\.?m|p\.?m|o'clock)\b|\s?(?:bills?|coins?|notes?)\b"
    r"|[ -]dollar[ -](?:bill|coin|note)s?|[ -]?(?:point(?:er)?s?|pointers?)\b(?= (?:shots|baskets|goals))|[ -]pointers?"
    r"|-(?:sided|legged|wheel|dimensional)|\s?(?:legs|wheels|sides|eyes|wings|seasons|corners|degrees)\b"
    r"| of (?:them|us)\b"
    rf"|[ -]?{_UNIT} (?:in|to|equals?|=|is|are in|of water (?:per|in))(?: equal to)? (?:an?|one|1|each|every) {_UNIT}"
    r"|[ -]?(?:ounces|tablespoons|teaspoons|cups|cents) per (?:cup|pint|quart|gallon|pound|dollar)\b)"
)
_NO_NUMBER_CHANGES: Final = re.compile(r"(?i)\b(?:triang|pentagon|hexagon|marathon)|\bangles?\b|\bdeck of cards\b")
_AREA: Final = re.compile(r"(?i)square|cube|wide|area|each side")
_NAMES: Final = re.compile(r"\b[A-Z][a-z]+(?:, [A-Z][a-z]+){0,20},? and [A-Z][a-z]+")
_WRITTEN: Final = rf"[{CURRENCY}]?[0-9.]{{1,20}}"
_NUMBERS: Final = re.compile(rf"(?<![0-9.]){_WRITTEN}(?:, {_WRITTEN}){{1,20}},? and {_WRITTEN}")
_AGES: Final = re.compile(r"(?i)\b(?:years? old|ages?|older|younger|born|birthday)\b")
_LEAST_CHOICES: Final = 24
_FACTOR: Final = Fraction(3)  # by which a number grows or shrinks at most
_AGE_FACTOR: Final = Fraction(3, 2)
# What follows a number that fits into a whole, and how many fit; what fits goes on to fit.
_WHOLES: Final = [
    (re.compile(rf"(?i){pattern}"), Fraction(most))
    for pattern, most in [
        (r"[ -]hours? (?:of sleep|(?:a|per|each|every) (?:day|night))|[ -]hour (?:shift|day|workday)", 14),
        (r"[ -]hours?\b", 24), (r"[ -](?:minutes|seconds)\b", 60), (r"[ -]inches\b", 12), (r"[ -]months\b", 12),
        (r" (?:times|days|nights|mornings|evenings) (?:a|per|each|every|in one|of the) week", 7), (r" days\b", 7),
        (r" days? (?:a|per|each|in (?:a|the)) month|[ -]day month", 31), (r"[ -]weeks\b", 52), (r" years old\b", 99),
    ]
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Slot:
    """A number that may change: its places in the question, which all say the same, and what it may become."""

    value: Fraction
    mentions: tuple[Mention, ...]
    choices: tuple[Fraction, ...]


def find_slots(question: str, trace: Trace) -> Iterator[Slot]:
    """Yield the numbers that may change. Equal numbers change together, so it does not matter which is which."""
    if _NO_NUMBER_CHANGES.search(question):
        return
    mentions = find_numbers(question)
    values = list(trace_values(trace))
    fixed = set(_fixed(question, trace, mentions))
    factor = _AGE_FACTOR if _AGES.search(question) else _FACTOR
    for value in dict.fromkeys(values):
        stating = [mention for mention in mentions if value in mention.readings]
        if not stating or value in fixed or values.count(value) > len(stating):
            continue  # it is common knowledge too, or only that
        if all(mention.value == value and _may_change(question, mention) for mention in stating):
            yield _slot(question, value, tuple(stating), factor)


def _fixed(question: str, trace: Trace, mentions: Sequence[Mention]) -> Iterator[Fraction]:
    """Yield values that stay: they count what is listed, or may stand for more than the number of the question."""
    yield from (Fraction(len(re.findall(r"[A-Z][a-z]+", match[0]))) for match in _NAMES.finditer(question))
    yield from (Fraction(len(re.findall(r"[0-9.]+", match[0]))) for match in _NUMBERS.finditer(question))
    stated = {reading for mention in mentions for reading in mention.readings}
    squares, known = _AREA.search(question) is not None, known_numbers(question)
    for part in trace.parts:
        computes = [step for step in part.steps if isinstance(step, Compute)]
        for step in part.steps:
            if not isinstance(step, Init):
                continue
            value, using = step.value, [compute for compute in computes if step.var in compute.args]
            factors = [c for c in using if c.compute_op == "mul" or (c.compute_op == "div" and c.args[1] == step.var)]
            if value in EVERYDAY and (len(factors) > 1 or any(c.compute_op == "div" for c in factors)):
                yield value
            if value in known and value >= 6 and not _is_own(question, step, mentions):
                yield value
            if not squares and any(c.compute_op == "mul" and c.args.count(step.var) > 1 for c in using):
                yield value
            if value >= 3 and value not in stated and "_per_" not in step.var:
                yield from (value - 1, value + 1)  # one more than stated, or one less, was counted in the head


def _is_own(question: str, step: Init, mentions: Sequence[Mention]) -> bool:
    """Tell whether an everyday constant is the question's own number: its name in the trace has a word from nearby."""
    near = " ".join(
        question[mention.end : mention.end + 40].lower() for mention in mentions if mention.value == step.value
    )
    return "_per_" not in step.var and any(word in near for word in re.findall(r"[a-z]{3,}", step.var))


def _may_change(question: str, mention: Mention) -> bool:
    """Tell whether a number stands alone: no date, denomination, ordinal, scale, dozen, conversion, or "all five"."""
    text = question[mention.start : mention.end]
    if mention.kind not in ("digits", "percent", "words") or mention.value <= 1:
        return False
    if mention.kind == "words":
        if not _WORDS.fullmatch(text) or not 2 < mention.value < _MOST_WORDS:
            return False
        if english.number_words(int(mention.value)) != text.lower().replace(" ", "-"):
            return False
    elif not (match := DIGITS.fullmatch(text)) or read_numeral(_plain(match)) != mention.value:  # €1.250 is 1250
        return False
    before = question[max(0, mention.start - 40) : mention.start]
    if is_year(question, mention) or _AFTER_FIXED.match(question, mention.end):
        return False
    return not (_BEFORE_FIXED.search(before) or DATED.search(before))


def _plain(match: re.Match[str]) -> str:
    return f"{match[1].replace(',', '')}{match[2] or ''}"


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
        whole = next(
            (most for pattern, most in _WHOLES if value <= most and pattern.match(question, mention.end)), None
        )
        high = min(high, whole) if whole is not None else high
    choices = _spread(value, step, low, high)
    while len(choices) < _LEAST_CHOICES and step > 1:
        step = max(Fraction(1), step / 5)  # rather a less round number than too few
        choices = _spread(value, step, low, high)
    if any(_decimals(question, mention) == 1 for mention in mentions):
        choices = [choice for choice in choices if choice.denominator > 1]  # 1.5 hours do not become 2.0
    return Slot(value, mentions, tuple(choices) or (value,))


def _spread(value: Fraction, step: Fraction, low: Fraction, high: Fraction) -> list[Fraction]:
    """Return the numbers from low to high that are whole steps away from a value."""
    offset = value % step
    first, last = int(-((low - offset) // -step)), int((high - offset) // step)
    return [offset + step * k for k in range(first, last + 1)]


def _decimals(question: str, mention: Mention) -> int:
    match = DIGITS.fullmatch(question[mention.start : mention.end])
    return len(match[2]) - 1 if match and match[2] else 0


def _granularity(value: Fraction) -> Fraction:
    """Return the step of numbers as round as this one: 1 for 7, 5 for 45, 50 for 800, 0.25 for 7.75, 0.01 for 7.99."""
    if value.denominator > 1:
        steps = (Fraction(1, parts) for parts in (2, 4, 10, 20, 100))
        return next((step for step in steps if value % step == 0), Fraction(1, value.denominator))
    for least, step in ((5_000_000, 1_000_000), (20_000, 1000), (2000, 100), (200, 50), (100, 10), (40, 5)):
        if value >= least and value % step == 0:
            return Fraction(step)
    return Fraction(5 if value >= 100 and value % 5 == 0 else 1)
