"""How well the words of a solution's step fit the place where a question states a number.

Takes a question's mentions and a number of its solution; returns penalties, the smaller the likelier. Knows nothing of
what was taken before.
"""

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise
from typing import Final

from mlx_trace.language.knowledge import CONSTANTS, known_names, suggested_numbers
from mlx_trace.language.measures import currency
from mlx_trace.language.mentions import Mention
from mlx_trace.language.number_words import CURRENCY
from mlx_trace.language.number_words import UNITS as NUMBERS_IN_WORDS
from mlx_trace.language.numbers import spell
from mlx_trace.problems.compile.node import HUNDRED
from mlx_trace.problems.compile.words import COMPARATIVES, GENERIC, MEASURES, MULTIPLES, STOPS, VERBS

_WORD: Final = re.compile(r"[A-Za-z][A-Za-z'’-]*")
_CLAUSE: Final = re.compile(r"[.,;:?!$0-9]|\b(?:and|but|or)\b")
_SENTENCE: Final = re.compile(r"[.?!](?:\s|$)")
SPOKEN: Final = frozenset({"half", "twice", "double", "thrice", "triple"})
_ORDINALS: Final = frozenset({"third", "fourth", "fifth", "quarter"})  # parts, or places in a row
_MULTIPLIED: Final = re.compile(
    r"(?i)\b(?:twice|thrice|doubl\w*|tripl\w*|quadrupl\w*|times|as (?:many|much|long|old))\b"
)
_IN_PERCENT: Final = re.compile(r"(?i)%|percent|\b100\b")
_DIFFERENCES: Final = frozenset({"more", "fewer", "less", "older", "younger"})
_CLOCK: Final = re.compile(r"\d:\d\d")
_NUMERAL: Final = re.compile(r"[\d.,a-z]")  # what goes on before it is another number, or no number
_SQUARE: Final = re.compile(r"(?i)\b(?:squar|cub|area|rectang|volume)")  # where a number may be multiplied with itself
_COUNTED: Final = re.compile(
    r"(?i)(?:[0-9]|\b(?:each|per|every|an?|one|two|three|four|five|six|seven|eight|nine|ten|twelve)) $"
)
_LEAST_UNIT: Final = 7
_MOST_COMMON: Final = 4  # up to here, many words call for a number
_MOST_CALLED: Final = 2
_CONVERTING: Final = frozenset({"mul", "over"})
_AFTER: Final = 40  # characters behind a number in which its noun stands
_BEFORE: Final = 60  # characters before it in which its clause stands
_MOST_BEFORE: Final = 6  # words of them

# What one of the first holds of the second; used where a solution converts in its head.
UNITS: Final[tuple[tuple[str, str, int], ...]] = (
    ("minute", "second", 60), ("hour", "minute", 60), ("day", "hour", 24), ("week", "day", 7), ("month", "day", 30),
    ("month", "week", 4), ("year", "month", 12), ("year", "week", 52), ("year", "day", 365), ("decade", "year", 10),
    ("century", "year", 100), ("foot", "inch", 12), ("feet", "inch", 12), ("yard", "feet", 3), ("yard", "foot", 3),
    ("mile", "feet", 5280), ("kilometer", "meter", 1000), ("km", "meter", 1000), ("meter", "centimeter", 100),
    ("meter", "cm", 100), ("kilogram", "gram", 1000), ("kg", "gram", 1000), ("liter", "milliliter", 1000),
    ("liter", "ml", 1000), ("pound", "ounce", 16), ("ton", "pound", 2000), ("dollar", "cent", 100),
    ("gallon", "quart", 4), ("quart", "pint", 2), ("pint", "cup", 2), ("dozen", "", 12),
)  # fmt: skip
_WRITTEN: Final = {Fraction(number): (word, str(number)) for word, number in NUMBERS_IN_WORDS.items()}
_RATES: Final = r"\s*(?:/|per |(?:in|to) (?:an?|each|every|one) |an |a |each |every |for (?:an?|each|every) )\s*"


@dataclass(frozen=True, slots=True)
class Asked:
    """A number of the solution: its value and noun, the operation it is part of, and the line it stands in.

    `op` is over for what one divides by; `kind` is the noun that it should count in a sum, if it has none of its own.
    """

    value: Fraction
    unit: str = ""
    op: str = ""
    line: str = ""
    kind: str = ""
    money: bool = False
    percent: bool = False

    def likes(self, nouns: Sequence[str]) -> float:
        """Return how well nouns fit: the number's own noun says most, the noun of its sum less."""
        if self.unit:
            return 1.5 if any(same_noun(self.unit, noun) for noun in nouns) else 0.0
        return 0.5 if self.kind and any(same_noun(self.kind, noun) for noun in nouns) else 0.0


class Evidence:
    """The words around the numbers of one question."""

    def __init__(self, question: str, mentions: Sequence[Mention]) -> None:
        self.question = question
        self.mentions = mentions
        self.is_square = _SQUARE.search(question) is not None
        self.units = [self._words_after(mention) for mention in mentions]
        self._known: dict[tuple[int, Asked], float] = {}
        self._before = [self._words_before(mention) for mention in mentions]
        starts = [0, *(end.end() for end in _SENTENCE.finditer(question))]
        self.sentences = [bisect_right(starts, mention.start) - 1 for mention in mentions]
        told = [frozenset(_telling(_WORD.findall(question[a:b]))) for a, b in pairwise([*starts, len(question)])]
        self._around = [told[sentence] for sentence in self.sentences]

    def _words_after(self, mention: Mention) -> list[str]:
        text = _CLAUSE.split(self.question[mention.end : mention.end + _AFTER], maxsplit=1)[0]
        return [word.lower() for word in _WORD.findall(text)][:4]

    def _words_before(self, mention: Mention) -> list[str]:
        text = _CLAUSE.split(self.question[max(0, mention.start - _BEFORE) : mention.start].rstrip(f"{CURRENCY} "))[-1]
        return _telling(_WORD.findall(text)[-_MOST_BEFORE:])

    def of_mention(self, index: int, asked: Asked) -> float:
        """Return how unlikely a mention is meant: less if its noun is spoken of, or its clause."""
        known = self._known.get((index, asked))
        if known is None:
            known = self._known[index, asked] = self._of_mention(index, asked)
        return known

    def _of_mention(self, index: int, asked: Asked) -> float:
        mention, units, line = self.mentions[index], self.units[index], asked.line
        written = self.question[mention.start : mention.end]
        penalty = -asked.likes(units)
        quoted = bool(units) and self._is_quoted(mention, units[0], line)
        if quoted:
            penalty -= 1.6 if units[0] in COMPARATIVES else 0.8
        spoken = _spaced(line)
        nouns = [_stem(word) for word in units if word not in STOPS]
        after, before, around = (
            sum(f" {stem}" in spoken for stem in stems) for stems in (nouns, self._before[index], self._around[index])
        )
        penalty -= 0.5 * after / max(1, len(nouns)) + 0.2 * min(before, 2) + 0.1 * min(around, 4)
        penalty += 0.0 if quoted or after or before or around else 0.3
        noun = asked.unit or asked.kind
        if noun in MEASURES and units and units[0] in MEASURES and not same_noun(noun, units[0]):
            penalty += 1.0  # hours are no days
        if asked.money:
            penalty += -0.6 if currency(self.question, mention) else 0.6
        return penalty + self._fit(mention, written.lower(), units, asked) + self._form(mention, written, asked)

    def _is_quoted(self, mention: Mention, noun: str, line: str) -> bool:
        """Tell whether a line says a number with its noun as the question does, in digits or in words."""
        written = {self.question[mention.start : mention.end].lower(), *_WRITTEN.get(mention.value, ())}
        low = line.lower()
        parts = (low.split(f"{number}{between}{noun}") for number in written for between in ("", " ", "-"))
        return any(not _NUMERAL.match(part[-1:]) for split in parts for part in split[:-1])

    def _form(self, mention: Mention, written: str, asked: Asked) -> float:
        """Return how ill it fits that a number is a percentage, a place in a row, or of the time of day."""
        if mention.kind == "percent" and asked.value == mention.value and not asked.percent:
            return 0.0 if asked.op != "over" and not asked.money and _IN_PERCENT.search(asked.line) else 2.0
        if self.is_no_part(mention):
            return 1.5
        if mention.kind == "ordinal" and asked.value == mention.value:
            part = asked.op == "over" and self.question[mention.end : mention.end + 4] == " of "
            alone = all(other.kind == "ordinal" or other.value != asked.value for other in self.mentions)
            return 0.0 if part else 0.6 if alone else 2.5
        return 0.8 if mention.kind == "digits" and is_time_of_day(self.question, mention) else 0.0

    def is_no_part(self, mention: Mention) -> bool:
        """Tell whether a third is a place in a row, the third week, or quarters are coins."""
        written = self.question[mention.start : mention.end].lower()
        return written in ("third", "quarters") and not self.question.startswith(" of", mention.end)

    def _fit(self, mention: Mention, word: str, units: list[str], asked: Asked) -> float:
        """Return how ill a mention's kind fits the operation: twice multiplies, a half divides, 3 more is added."""
        penalty = 0.0
        if mention.value != asked.value:
            halves = asked.op == "over" and mention.value == 1 / asked.value and word not in _ORDINALS
            penalty += -0.4 if halves else 0.4
        if word in SPOKEN and re.search(rf"\b{word}\b", asked.line, re.IGNORECASE):
            penalty -= 0.8
        if word in MULTIPLES or units[:1] == ["times"]:
            spoken = word not in MULTIPLES or _MULTIPLIED.search(asked.line) is not None
            fits = {"mul": -0.6, "div": -0.6, "over": -0.3} if spoken else {"mul": -0.3, "div": 0.0, "over": -0.4}
            penalty += fits.get(asked.op, 0.6)
        if asked.op == "mul" and not _DIFFERENCES.isdisjoint(units[:2]):
            penalty += 0.4
        if word in ("double", "triple") and units and units[0] not in STOPS and units[0] not in GENERIC:
            penalty += 1.2  # a double room
        if word in ("pair", "pairs") and _COUNTED.search(self.question, 0, mention.start):
            penalty += 1.0  # two pairs are two
        return penalty

    def is_spoken_of(self, index: int, asked: Asked) -> bool:
        """Tell whether a step says what a mention counts."""
        units, spoken = self.units[index][:2], _spaced(asked.line)
        return asked.likes(units) > 0 or any(f" {_stem(word)}" in spoken for word in units if word not in STOPS)

    def of_constant(self, asked: Asked) -> float | None:
        """Return how unlikely common knowledge is meant; None where question and step have no word for it."""
        if asked.money or (asked.value not in CONSTANTS and asked.value not in known_names(self.question)):
            return None
        if asked.op not in (*_CONVERTING, "add", "sub") or asked.value not in suggested_numbers(self.question):
            return None
        if asked.op not in _CONVERTING:  # 8 + 2 chicken legs
            named = asked.op in ("add", "sub") and asked.unit and asked.value in suggested_numbers(asked.unit)
            return 0.7 if named else None
        if asked.value in CONSTANTS and _is_conversion(asked.value, asked.line):
            return None if any(self._converts(index, asked.value) for index in range(len(self.mentions))) else -3.0
        if asked.value == HUNDRED:
            return -1.5 if self._is_hundredth(asked) else 0.9 if asked.op == "over" else None
        if asked.value in known_names(self.question):
            return 0.3  # a nickel's five cents
        if asked.value not in suggested_numbers(asked.line):
            return {"over": 1.4, "mul": 2.2}[asked.op] if asked.value <= _MOST_COMMON else None
        if asked.value == _MOST_CALLED and asked.value not in suggested_numbers(asked.unit):
            return 0.9
        if asked.value <= _MOST_COMMON:
            return 0.7
        if asked.value < _LEAST_UNIT or is_spoken_unit(asked, self.question):
            return 0.3
        stated = any(mention.value == asked.value and mention.is_plain for mention in self.mentions)
        return None if stated else 0.7

    def _converts(self, index: int, value: Fraction) -> bool:
        """Tell whether the question itself states a conversion: 12 inches to a foot."""
        mention = self.mentions[index]
        return mention.value == value and _is_conversion(value, self.question[mention.start : mention.end + _AFTER])

    def _is_hundredth(self, asked: Asked) -> bool:
        """Tell whether a step divides a percentage of the question by 100."""
        rates = [mention.value for mention in self.mentions if mention.kind == "percent"]
        return asked.op == "over" and any(re.search(rf"\b{spell(rate)}\s*/\s*100\b", asked.line) for rate in rates)


def is_time_of_day(question: str, mention: Mention) -> bool:
    """Tell whether a number is the hour or the minutes of 7:15."""
    return _CLOCK.search(question[max(0, mention.start - 3) : mention.end + 3]) is not None


def _is_conversion(value: Fraction, text: str) -> bool:
    """Tell whether a text says that a number is a unit conversion: 60 minutes/hour, 4 hours * 60."""
    line = text.lower()
    return any(
        count == value and part and (part in line or whole in line) and _conversion(whole, part, count).search(line)
        for whole, part, count in UNITS
    )


@lru_cache(maxsize=64)
def _conversion(whole: str, part: str, count: int) -> re.Pattern[str]:
    """Return what a conversion looks like in prose."""
    rate = rf"\b{count} ?{part}(?:s|es)?{_RATES}{whole}\b"
    wholes = rf"\d {whole}s?\s*[*x×]\s*{count}\b|\b{count}\s*[*x×]\s*[\d.]+ {whole}s?\b"
    return re.compile(rf"{rate}|{wholes}|\b{part}(?:s|es)?\s*[/÷]\s*{count}\b")


def is_spoken_unit(asked: Asked, question: str) -> bool:
    """Tell whether a factor is a unit conversion that the solution's line speaks of."""
    if asked.op not in ("mul", "div", "over") or asked.value < _LEAST_UNIT:
        return False
    spoken = asked.line.lower()
    return any(count == asked.value and part and whole in spoken and (part in spoken or part in question)
               for whole, part, count in UNITS)  # fmt: skip


def _telling(words: Sequence[str]) -> list[str]:
    return [_stem(low) for word in words if (low := word.lower()) not in STOPS and low not in VERBS and len(low) > 1]


@lru_cache(maxsize=256)
def _spaced(line: str) -> str:
    """Return a line's words and their stems, each behind a space: day is not in Wednesday."""
    words = [word.lower() for word in _WORD.findall(line)]
    return " " + " ".join([*words, *map(_stem, words)])


def same_noun(first: str, second: str) -> bool:
    """Tell whether two words are one noun, singular or plural."""
    return first == second or _stem(first) == _stem(second)


@lru_cache(maxsize=8192)
def _stem(word: str) -> str:
    word = word.removesuffix("'s").removesuffix("’s")
    if word.endswith("ies"):
        return word[:-3] + "y"
    return word[:-2] if word.endswith(("ses", "xes", "ches", "shes")) else word.removesuffix("s")
