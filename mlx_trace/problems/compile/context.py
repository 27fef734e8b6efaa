"""The words around one number of a question, and what they call it: its noun, its rate, what tells it from others.

Word lists and word order, no parser.
"""

import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from itertools import dropwhile, takewhile
from typing import Final

from mlx_trace.language.measures import currency
from mlx_trace.language.mentions import Mention
from mlx_trace.language.number_words import MULTIPLIERS
from mlx_trace.problems.compile.evidence import same_noun
from mlx_trace.problems.compile.node import Node
from mlx_trace.problems.compile.nouns import SENTENCE_ENDS, Words, head_of, is_noun, is_plural, many, nouns, one
from mlx_trace.problems.compile.words import (
    ADJECTIVES,
    AMOUNTS,
    COMPARATIVES,
    COPULAS,
    DEEDS,
    DIMENSIONS,
    GENERIC,
    HOLDERS,
    MAGNITUDES,
    MEASURES,
    NOUNS,
    NUMBERS,
    PAY,
    PLACES,
    PREPOSITIONS,
    PRICE,
    SKIPPED,
    STOPS,
    TIMES_OF_DAY,
    VERBS,
    WORK,
)

_RATIO: Final = re.compile(r"\s?:\s?\d|\d\s?:\s?$")
_REACH: Final = 10  # tokens to either side of a number in which its noun is looked for
_MOST_PHRASE: Final = 3  # words of a noun phrase
_CLAUSE_ENDS: Final = SENTENCE_ENDS | frozenset(", : ; but and or while if when because so then".split())
_LIST: Final = frozenset({",", "and", "or"})
_FOLDS: Final = frozenset("double triple quadruple".split())
_PER: Final = frozenset("a an per each every".split())
_FIXED: Final = PREPOSITIONS - {"in", "to"}
_OWNERS: Final = frozenset("his her their its my our your the of a an".split())
_PAID: Final = frozenset("pay pays paid".split())
_AGES: Final = frozenset("old older younger age ages".split())


class Place:
    """The words around one number."""

    def __init__(self, text: Words, mention: Mention) -> None:
        self.mention = mention
        question, words = text.question, text.words
        self.written = question[mention.start : mention.end].lower()
        sign = currency(question, mention)
        self.money = sign != ""
        self.coin = "dollars" if sign in ("$", "USD") else "money" if sign else ""
        self.hyphen = question[mention.end : mention.end + 1] == "-"
        beside = (question[mention.end : mention.end + 4], question[max(0, mention.start - 4) : mention.start])
        self.ratio = "ratio" in words and bool(_RATIO.match(beside[0]) or _RATIO.search(beside[1]))
        first, last = bisect_left(text.starts, mention.end), bisect_left(text.starts, mention.start)
        self.past = words[:last][::-1]  # what stands before the number, the nearest first
        self.rest = words[first if self.money else _past_list(words, first) :]
        self.after = _until(_CLAUSE_ENDS, self.rest[:_REACH])
        self.before = list(dropwhile(_is_adverb, _until(_CLAUSE_ENDS, self.past[: 2 * _REACH])))
        self.sentence = _until(SENTENCE_ENDS, self.past[: 3 * _REACH])
        self.phrase, self.adjective = self._read_phrase()
        self.head = self.phrase[-1] if self.phrase else ""

    def base(self, leaf: Node) -> str:
        """Return what the number is first called."""
        if leaf.rate:
            return self._difference("percent") or f"{self._whole()}_percent"
        factor = MULTIPLIERS.get(scale := (self.written.split() or [""])[-1])
        if leaf.value != self.mention.value and factor is not None:  # 5 dozen, 2 million
            return scale.removesuffix("s") if leaf.value == factor else many(scale.removesuffix("s"))
        if self.mention.kind == "fraction" and (leaf.value != self.mention.value or self.mention.value < 1):
            return f"{self._whole()}_fraction" if leaf.value.denominator > 1 else "parts"
        if leaf.value != self.mention.value and scale in NUMBERS:
            return many(scale)
        if self.mention.kind == "relation":
            return self.written.removesuffix("s") if self.written in NOUNS else "times"
        if self.ratio:
            return "ratio"
        if self.after and (self.after[0].endswith(("year_old", "year_olds")) or self.after[:2] == ["years", "old"]):
            return "age"
        per = self._per()
        if self.after[:1] in (["times"], ["time"], ["x"]):
            return f"times_{per}" if self.after[1:2] and self.after[1] in _PER and per.startswith("per_") else "times"
        if difference := self._difference(self.coin):
            return difference
        if self.money:
            return self._money(per)
        name = self._counted()
        return f"{name}_{per}" if per and not same_noun(name, per.removeprefix("per_")) else name

    def _whole(self) -> str:
        """Return what a fraction is of."""
        if self.after[:2] in (["as", "many"], ["as", "much"], ["times", "as"]):
            return next(nouns(self.after), "") or self._missing()
        return self.head or self._subject() or next(nouns(self.sentence), "") or self._missing()

    def _counted(self) -> str:
        """Return what is counted."""
        if self.hyphen and self.phrase:
            return many(self.phrase[0].partition("_")[0])
        if not self.phrase:
            noun = self._missing()
            return f"{noun}_{self.adjective}" if self.adjective else noun
        if len(self.phrase) > 1 and self.phrase[0] in MEASURES:
            return f"{self.head}_{self.phrase[0]}"
        return many(self.head) if self.head in MEASURES and self.mention.value != 1 else self.head

    def _missing(self) -> str:
        """Return the noun of a number that stands without one: a plural spoken of before it, or else behind it."""
        if self.before and self.before[0] in COPULAS:
            if noun := next(filter(is_plural, nouns(self.before)), "") or next(nouns(self.before), ""):
                return noun
            if not _AGES.isdisjoint(self.past) or not _AGES.isdisjoint(self.rest):
                return "age"
        if self.past[:1] in (["of"], ["at"], ["is"], ["was"]) and self.past[1:2] and self.past[1] in MAGNITUDES:
            return self.past[1]
        past = self.past[2:] if self.past[:1] == ["of"] else self.past[1:]  # boxes of 12, drops 12: not boxes, no drops
        for place in (self.rest, past) if self.adjective else (past, self.rest):
            for noun in nouns(place):
                if is_plural(noun) and noun not in MEASURES and noun not in TIMES_OF_DAY:
                    return noun
        return next(nouns(self.after), "") or next(nouns(self.sentence), "number")

    def _money(self, per: str) -> str:
        words = {*self.before, *self.after[:3]}
        rate = per.removeprefix("per_") if per.startswith("per_") else ""
        kind = self.coin
        if words & PAY or (rate in TIMES_OF_DAY and words & WORK):
            kind = "pay"
        elif (
            words & PRICE
            or (words & _PAID and self.after[:1] == ["for"])
            or (rate in MEASURES and rate not in TIMES_OF_DAY)
            or (per == "each" and not words & DEEDS)
        ):
            kind = "price"
        if rate:
            return f"{kind}_{per}"
        if self.before[:1] in (["of"], ["is"], ["was"]) and self.before[1:2] and self.before[1] in AMOUNTS:
            return self.before[1]
        noun = self.head or self._subject()
        if not noun and kind == "price":
            noun = next((noun for noun in nouns(self.sentence) if noun not in TIMES_OF_DAY), "")
        return noun if noun in AMOUNTS else f"{noun}_{kind}" if noun else kind

    def _subject(self) -> str:
        """Return the noun a number is about: what was sold before it, what money went for behind it, or either."""
        purpose = self.after[1:] if self.after and self.after[0] in PREPOSITIONS else []
        told = self.before if self.before[1:2] and self.before[1] in _OWNERS else self.before[1:]  # no verb before $5
        sold = next((noun for noun in nouns(told) if noun not in PLACES), "")
        ways = [sold, head_of(purpose)]
        spent = self.before and self.before[0] in VERBS and self.before[0] not in PRICE
        for noun in reversed(ways) if spent else ways:
            if noun and noun not in TIMES_OF_DAY and noun not in PLACES:
                return noun
        behind = head_of(dropwhile(lambda word: not is_noun(word), self.after))
        return "" if behind in TIMES_OF_DAY or behind in PLACES else behind

    def _difference(self, unit: str) -> str:
        """Return years_older of `7 years older`, players_fewer of `8 fewer players than`, not of `3 more apples`."""
        for index, word in enumerate(self.after[: _MOST_PHRASE + 1]):
            if word in COMPARATIVES:
                behind = self.after[index + 1 :]
                compared = behind[: behind.index("than")] if "than" in behind else []
                if unit != "percent" and "than" not in behind and head_of(behind[:1]):
                    return ""
                noun = self.head if index else head_of(compared) or next(filter(is_plural, nouns(behind)), "")
                return f"{unit or noun or self._missing()}_{word}"
            if (word in STOPS and word != "per") or word in VERBS:
                return ""
        return ""

    def _read_phrase(self) -> tuple[list[str], str]:
        """Return the noun phrase that follows, large stickers of `3 large stickers`, or else a lone adjective."""
        phrase: list[str] = []
        several = self.mention.value != 1 and self.mention.kind not in ("percent", "fraction")
        plural = False
        for index, word in enumerate(self.after):
            if not phrase and (word in SKIPPED or word in _FOLDS):
                continue
            if not phrase and word in GENERIC and self.after[index + 1 : index + 2] == ["of"]:
                continue
            owner = self.after[index - 1] if index else self.past[0] if self.past else ""
            owned = self.hyphen or (owner in _OWNERS and owner != "of")  # her catch, a 10% raise
            acts = word in VERBS and not owned and (plural or not several or not is_plural(word))
            if acts or word in STOPS or word in NUMBERS or not word[0].isalpha() or len(phrase) == _MOST_PHRASE:
                break
            phrase.append(word)
            plural = plural or is_plural(word)
        while phrase and not is_noun(phrase[-1].lower()) and (phrase[-1] not in VERBS):
            lone = phrase.pop()
            if not phrase:
                return [], lone if lone in ADJECTIVES else ""
        if several and not plural and len(phrase) > 1 and self.past[:1] in (["a"], ["an"]):
            self.hyphen = True  # a 500 page book
        while len(phrase) > 1 and plural and several and not self.hyphen and not is_plural(phrase[-1]):
            phrase.pop()
        return phrase, ""

    def _per(self) -> str:
        """Return per_hour of `6 miles per hour`, each of `7 cookies each`, per_box of `each box holds 7`."""
        for index, word in enumerate(self.after):
            if word[0].isdigit() or word in NUMBERS:
                break
            if word not in _PER:
                continue
            noun, following = _member(self.after[index + 1 :]), self.after[index + 1 : index + 2]
            before, near = self.after[index - 1] if index else "", index <= _MOST_PHRASE
            if word in ("each", "every"):
                if noun and (near or before in PREPOSITIONS or noun in TIMES_OF_DAY):
                    return f"per_{noun}"
                if word == "each" and near and before not in STOPS and (not following or following[0] in STOPS):
                    return "each"
            elif word == "per" and near and following and following[0][0].isalpha():
                return f"per_{noun or following[0]}"
            elif (
                word in ("a", "an") and near and noun
                and before not in _FIXED and (noun in MEASURES or self.money > index)
            ):  # fmt: skip
                return f"per_{noun}"
        return self._each()

    def _each(self) -> str:
        """Return per_box if the number is told of each box, or of what a box holds."""
        listed = self.sentence and self.sentence[0] in _LIST
        clause = _until(_CLAUSE_ENDS, self.sentence[1:]) if listed else self.before
        if clause and clause[0] in ("for", "in", "over", "after") and self.head in TIMES_OF_DAY:
            return ""
        for index, word in enumerate(clause):
            if word in ("each", "every"):
                noun = _member(clause[:index][::-1])
                return f"per_{noun}" if noun else ""
        if not self.phrase and clause[:1] == ["of"] and clause[1:2] and is_noun(clause[1]) and is_plural(clause[1]):
            return f"per_{one(clause[1])}"
        if clause and clause[0] in HOLDERS:
            held = list(takewhile(is_noun, clause[1:]))
            if held and clause[1 + len(held) : 2 + len(held)] in (["a"], ["an"]):
                return f"per_{held[0]}"
        return ""

    def qualifiers(self) -> Iterator[str]:
        """Yield words that tell this number from one of the same noun, the most telling first."""
        behind = self.after[len(self.phrase) :]
        yield from self.phrase[:-1]
        yield from filter(DIMENSIONS.__contains__, behind[:1])
        yield from filter(_is_name, (*self.after, *self.sentence))
        yield from (word for word in (*self.before, *behind) if word in DEEDS)
        yield from filter(_tells, (*self.phrase, *behind, *self.before, *self.sentence))
        yield from (word for word in self.before if word in VERBS)


def _past_list(words: list[str], first: int) -> int:
    """Return where the words behind a number begin, past the numbers listed with it: 2, 5 and 9 pounds."""
    index = first
    while index < len(words) and words[index] in _LIST:
        while index < len(words) and words[index] in _LIST:
            index += 1
        if index == len(words) or not (words[index][0].isdigit() or words[index] in NUMBERS):
            return first
        first = index = index + 1
    return first


def _member(words: list[str]) -> str:
    """Return the noun behind each: box of `each box`, `each of the 5 boxes`."""
    if words[:1] == ["of"]:
        return one(head_of(word for word in words[1:] if word not in NUMBERS and word[0].isalpha()))
    return head_of(words, singular=True)


def _until(ends: frozenset[str], words: Iterable[str]) -> list[str]:
    return list(takewhile(lambda word: word not in ends, words))


def _tells(word: str) -> bool:
    return word not in MEASURES and (is_noun(word) or (word in ADJECTIVES and word not in COMPARATIVES))


def _is_adverb(word: str) -> bool:
    return word.endswith("ly") or word in ("now", "only", "just")


def _is_name(word: str) -> bool:
    return word[0].isupper()
