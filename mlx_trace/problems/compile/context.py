"""The words around one number of a question, and what they call it: its noun, its rate, what tells it from others.

Word lists and word order, no parser.
"""

import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import takewhile
from typing import Final

from mlx_trace.language.numbers import Mention
from mlx_trace.problems.compile.grounding import same_noun
from mlx_trace.problems.compile.node import Node
from mlx_trace.problems.compile.words import (
    ADJECTIVES,
    AMOUNTS,
    COMPARATIVES,
    DEEDS,
    GENERIC,
    HOLDERS,
    IRREGULAR,
    JOINED,
    MEASURES,
    NOUNS,
    NUMBERS,
    PAY,
    PLURALS,
    PREPOSITIONS,
    PRICE,
    SKIPPED,
    STATES,
    STOPS,
    TIMES_OF_DAY,
    UNCOUNTED,
    VERBS,
    WORK,
)
from mlx_trace.problems.skeleton import people

_TOKEN: Final = re.compile(
    r"(?:Mrs?|Ms|Dr)\.|[A-Za-z]+n['’]t\b|(?<![A-Za-z]['’])[A-Za-z]+|[.!?:;,]|/(?=[A-Za-z])|\d+(?:[.,/]\d+)*"
)
_MONEY: Final = re.compile(r"[$€£]\s?$|\bUSD\s?$")
_REACH: Final = 10  # tokens to either side of a number in which its noun is looked for
_MOST_PHRASE: Final = 3  # words of a noun phrase
_SENTENCE_ENDS: Final = frozenset(".!?")
_CLAUSE_ENDS: Final = _SENTENCE_ENDS | frozenset(", : ; but and or while if when because so then".split())
_LIST: Final = frozenset({",", "and", "or"})
_NOT_NOUNS: Final = ("ed", "ly", "ing")
_UNKNOWN: Final = NUMBERS | STOPS | VERBS | SKIPPED | ADJECTIVES | GENERIC  # no noun among them


class Place:
    """The words around one number."""

    def __init__(self, text: Words, mention: Mention) -> None:
        self.mention = mention
        question, words = text.question, text.words
        self.written = question[mention.start : mention.end].lower()
        self.money = bool(_MONEY.search(question[max(0, mention.start - 4) : mention.start]))
        self.hyphen = question[mention.end : mention.end + 1] == "-"
        first, last = bisect_left(text.starts, mention.end), bisect_left(text.starts, mention.start)
        self.past = words[:last][::-1]  # what stands before the number, the nearest first
        self.rest = words[_past_list(words, first) :]
        self.after = _until(_CLAUSE_ENDS, self.rest[:_REACH])
        self.before = _until(_CLAUSE_ENDS, self.past[: 2 * _REACH])
        self.sentence = _until(_SENTENCE_ENDS, self.past[: 3 * _REACH])
        self.phrase, self.adjective = self._read_phrase()

    def base(self, leaf: Node) -> str:
        """Return what the number is first called."""
        if leaf.rate:
            return self._difference("percent") or f"{self._head() or self._subject() or 'rate'}_percent"
        if self.mention.kind == "fraction" and (leaf.value != self.mention.value or self.mention.value < 1):
            return f"{self._head() or self._subject() or 'whole'}_fraction" if leaf.value.denominator > 1 else "parts"
        if leaf.value != self.mention.value and (scale := self.written.split()[-1]) in NUMBERS:
            return scale if scale == "dozen" and leaf.value == 12 else many(scale)  # 5 dozen, 2 million
        if self.mention.kind == "relation":
            return self.written.removesuffix("s") if self.written in NOUNS else "times"
        per = self._per()
        if self.after[:1] in (["times"], ["time"], ["x"]):
            return f"times_{per}" if per.startswith("per_") else "times"
        if difference := self._difference("dollars" if self.money else ""):
            return difference
        if self.money:
            return self._money(per)
        name = self._counted()
        return f"{name}_{per}" if per and not same_noun(name, per.removeprefix("per_")) else name

    def _counted(self) -> str:
        """Return what is counted."""
        if self.hyphen and self.phrase:
            return many(self.phrase[0].partition("_")[0])
        if not self.phrase:
            noun = self._missing()
            return f"{noun}_{self.adjective}" if self.adjective else noun
        if len(self.phrase) > 1 and self.phrase[0] in MEASURES:
            return f"{self.phrase[-1]}_{self.phrase[0]}"
        head = self.phrase[-1]
        return many(head) if head in MEASURES and self.mention.value != 1 else head

    def _missing(self) -> str:
        """Return the noun of a number that stands without one: a plural spoken of before it, or else behind it."""
        if self.before and self.before[0] in STATES:
            if noun := next(_nouns(self.before), ""):
                return noun
            if any(word in ("old", "older", "younger", "age", "ages") for word in (*self.past, *self.rest)):
                return "age"
        words = (self.rest, self.past) if self.adjective else (self.past, self.rest)
        for place in words:
            for noun in _nouns(place):
                if is_plural(noun) and noun not in MEASURES and noun not in TIMES_OF_DAY:
                    return noun
        return next(_nouns(self.after), "") or next(_nouns(self.sentence), "number")

    def _money(self, per: str) -> str:
        words = {*self.before, *self.after[:3]}
        rate = per.removeprefix("per_") if per.startswith("per_") else ""
        kind = "dollars"
        if words & PAY or (rate in TIMES_OF_DAY and words & WORK):
            kind = "pay"
        elif words & PRICE or rate in MEASURES - TIMES_OF_DAY or (per == "each" and not words & DEEDS):
            kind = "price"
        if rate:
            return f"{kind}_{per}"
        noun = self._head() or self._subject(spent=self.before[:1] and self.before[0] in VERBS - PRICE)
        return noun if noun in AMOUNTS else f"{noun}_{kind}" if noun else kind

    def _subject(self, spent: bool = False) -> str:
        """Return the noun a number is about: what was bought before it, else what it went for, else what is spoken of."""
        purpose = self.after[1:] if self.after and self.after[0] in PREPOSITIONS else []
        ways = [next(_nouns(self.before), ""), _run(purpose)]
        for noun in ways[::-1] if spent else ways:
            if noun and noun not in TIMES_OF_DAY:
                return noun
        return _run(self.after) or next(_nouns(self.sentence), "")

    def _head(self) -> str:
        return self.phrase[-1] if self.phrase else ""

    def _difference(self, unit: str) -> str:
        """Return `years_older` of `7 years older`, `players_fewer` of `8 fewer players than`; nothing of `3 more apples`."""
        for at, word in enumerate(self.after[:3]):
            if word in COMPARATIVES:
                behind = self.after[at + 1 :]
                compared = behind[: behind.index("than")] if "than" in behind else []
                noun = next(_nouns(self.after[:at][::-1]), "") or _run(compared)
                if not compared and "than" not in behind and _run(behind[:1]):
                    return ""
                return f"{unit or noun or _run(behind) or self._missing()}_{word}"
            if word in STOPS or word in VERBS:
                return ""
        return ""

    def _read_phrase(self) -> tuple[list[str], str]:
        """Return the noun phrase that follows, `large stickers` of 3 large stickers, or else a lone adjective."""
        found: list[str] = []
        many = self.mention.value != 1
        for at, word in enumerate(self.after[: 3 * _MOST_PHRASE]):
            if not found and (word in SKIPPED or (word in GENERIC and self.after[at + 1 : at + 2] == ["of"])):
                continue
            acts = (
                word in VERBS and not self.hyphen and not (many and is_plural(word) and not any(map(is_plural, found)))
            )
            if acts or word in STOPS or word in NUMBERS or not word[0].isalpha() or len(found) == _MOST_PHRASE:
                break
            found.append(word)
        while found and not is_noun(found[-1].lower()):
            lone = found.pop()
            if not found:
                return [], lone if lone in ADJECTIVES else ""
        if many and not self.hyphen:
            while len(found) > 1 and any(map(is_plural, found)) and not is_plural(found[-1]):
                found.pop()
        return found, ""

    def _per(self) -> str:
        """Return per_hour of `6 miles per hour`, each of `7 cookies each`, per_box of `each box holds 7`."""
        for at, word in enumerate(self.after):
            following, before = self.after[at + 1 : at + 2], self.after[at - 1] if at else ""
            if word[0].isdigit() or word in NUMBERS:
                break
            if word in ("each", "every"):
                noun = _run(self.after[at + 1 :])
                if noun and (at <= _MOST_PHRASE or before in PREPOSITIONS or noun in TIMES_OF_DAY):
                    return f"per_{noun}"
                if at <= _MOST_PHRASE and not noun:
                    return "each"
            elif word == "per" and following and at <= _MOST_PHRASE:
                return f"per_{_run(self.after[at + 1 :]) or following[0]}"
            elif word in ("a", "an") and following and before not in PREPOSITIONS and at <= _MOST_PHRASE:
                if following[0] in MEASURES or (self.money and at == 0 and is_noun(following[0])):
                    return f"per_{following[0]}"
        return self._each()

    def _each(self) -> str:
        """Return per_box if the number is told of each box, or of what a box holds."""
        listed = self.sentence[:1] and self.sentence[0] in _LIST
        clause = _until(_CLAUSE_ENDS, self.sentence[1:]) if listed else self.before
        if clause[:1] in (["for"], ["in"], ["over"], ["after"]) and self._head() in TIMES_OF_DAY:
            return ""
        for at, word in enumerate(clause):
            if word in ("each", "every"):
                following = clause[:at][::-1]
                grouped = following[:1] == ["of"]
                noun = _run(following[1:] if grouped else following, skip=grouped)
                return f"per_{_one(noun) if grouped else noun}" if noun else ""
        if clause and clause[0] in HOLDERS:
            nouns = list(takewhile(is_noun, clause[1:]))
            if nouns and clause[1 + len(nouns) : 2 + len(nouns)] in (["a"], ["an"]):
                return f"per_{nouns[0]}"
        return ""

    def qualifiers(self) -> Iterator[str]:
        """Yield words that tell this number from one of the same noun, the most telling first."""
        yield from self.phrase[:-1]
        yield from filter(_is_name, self.after)
        yield from filter(_is_name, self.sentence)
        yield from (word for word in self.before if word in DEEDS)
        yield from _nouns(self.after[len(self.phrase) :])
        yield from _nouns(self.before)
        yield from _nouns(self.sentence)
        yield from (word for word in self.before if word in VERBS)


def _past_list(words: list[str], first: int) -> int:
    """Return where the words behind a number begin, past the numbers listed with it: 2, 5 and 9 pounds."""
    at = first
    while at < len(words) and words[at] in _LIST:
        while at < len(words) and words[at] in _LIST:
            at += 1
        if at == len(words) or not (words[at][0].isdigit() or words[at] in NUMBERS):
            return first
        first = at = at + 1
    return first


def _until(ends: frozenset[str], words: Iterable[str]) -> list[str]:
    return list(takewhile(lambda word: word not in ends, words))


