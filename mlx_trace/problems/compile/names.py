"""Names for the numbers of a trace, from the question's own nouns: eggs, clips_april, price_per_box, tax_percent.

Takes a question and its mentions; gives each leaf a name of its own. Word lists and word order, no parser.
"""

import re
from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import Final

from mlx_trace.language.numbers import Mention
from mlx_trace.problems.compile.grounding import UNITS, same_noun
from mlx_trace.problems.compile.node import Node
from mlx_trace.problems.compile.words import MEASURES, PAY, PRICE, SKIPPED, STOPS, TIMES_OF_DAY, VERBS

RESERVED: Final = re.compile(r"step[0-9]+|result")
LONGEST: Final = 32  # characters of a name
_TOKEN: Final = re.compile(r"(?<![A-Za-z]['’])[A-Za-z]+|[.!?;:,]|\d+(?:[.,/]\d+)*")
_MONEY: Final = re.compile(r"[$€£]\s?$|\bUSD\s?$")
_REACH: Final = 8  # tokens to either side of a number in which its noun is looked for
_MOST_PHRASE: Final = 3  # words of a noun phrase
_SENTENCE_ENDS: Final = frozenset(".!?;")
_CLAUSE_ENDS: Final = _SENTENCE_ENDS | {",", ":", "but", "and", "or", "while", "if", "when", "because", "so", "then"}
_NOT_NOUNS: Final = ("ed", "ly")
_NAMES_OF_NUMBERS: Final = (
    "0 zero, 1 one, 2 two, 3 three, 4 four, 5 five, 7 seven, 10 ten, 12 twelve, 14 fourteen, 16 sixteen, "
    "24 twenty_four, 28 days, 30 days, 31 days, 50 fifty, 52 fifty_two, 60 sixty, 90 ninety, 100 hundred, "
    "180 half_circle, 360 circle, 365 days_per_year, 366 leap_year, 1000 thousand, 1/2 half, 1/3 third, 1/4 quarter, "
    "3/4 three_quarters, 0.01 hundredth"
)
_NUMBER_WORDS: Final = {Fraction(number): name for number, name in map(str.split, _NAMES_OF_NUMBERS.split(", "))}


class Namer:
    """Names the leaves of one trace."""

    def __init__(self, question: str, mentions: list[Mention]) -> None:
        self.question = question
        self.mentions = mentions
        self.tokens = list(_TOKEN.finditer(question))
        self.given: set[str] = set()

    def name(self, leaf: Node) -> str:
        """Return a name for a leaf: the plainest that no other leaf has."""
        base = ""
        for candidate in self._candidates(leaf):
            name = _clean(candidate)
            base = base or name
            if name and name not in self.given and not RESERVED.fullmatch(name):
                break
        else:
            base = base or "number"
            number = next(n for n in range(1, len(self.given) + 3) if _numbered(base, n) not in self.given)
            name = _numbered(base, number)
        self.given.add(name)
        return name

    def _candidates(self, leaf: Node) -> Iterator[str]:
        if leaf.mention is None:
            yield from self._constant(leaf)
            return
        place = _Place(self, self.mentions[leaf.mention])
        base = place.base(leaf)
        yield base
        for qualifier in place.qualifiers():
            if qualifier.lower() not in base.lower().split("_"):
                yield f"{base}_{qualifier}"

    def _constant(self, leaf: Node) -> Iterator[str]:
        """Yield minutes_per_hour for a 60 where minutes or hours are spoken of; else what the solution calls it."""
        spoken = {word[0].lower() for word in self.tokens}
        for whole, part, count in UNITS:
            if count == leaf.value and (same_noun(part, leaf.unit) or ({whole, _many(whole)} & spoken and
                                                                       {part, _many(part)} & spoken)):  # fmt: skip
                yield f"{_many(part)}_per_{whole}"
        known = _NUMBER_WORDS.get(leaf.value, "")
        yield leaf.unit if leaf.unit not in STOPS | VERBS and leaf.grounded and not known else known
        yield leaf.unit


class _Place:
    """The words around one number."""

    def __init__(self, namer: Namer, mention: Mention) -> None:
        self.mention = mention
        self.money = bool(_MONEY.search(namer.question[max(0, mention.start - 4) : mention.start]))
        self.hyphen = namer.question[mention.end : mention.end + 1] == "-"
        tokens = namer.tokens
        first = next((at for at, token in enumerate(tokens) if token.start() >= mention.end), len(tokens))
        last = next((at for at in range(len(tokens) - 1, -1, -1) if tokens[at].end() <= mention.start), -1)
        self.after = list(_until(_CLAUSE_ENDS, (token[0] for token in tokens[first : first + _REACH])))
        before = [token[0] for token in tokens[max(0, last - 2 * _REACH) : last + 1][::-1]]
        self.before = list(_until(_CLAUSE_ENDS, before))
        self.sentence = list(_until(_SENTENCE_ENDS, before))  # what stands before the number, the nearest first

    def base(self, leaf: Node) -> str:
        """Return what the number is first called."""
        phrase = self._phrase()
        if leaf.rate:
            return f"{phrase[-1] if phrase else self._nearby('rate')}_percent"
        if self.mention.kind == "fraction" and leaf.value.denominator > 1 and self.mention.value < 1:
            return f"{phrase[-1] if phrase else self._nearby('whole')}_fraction"
        if self.mention.kind == "fraction" and leaf.value != self.mention.value:
            return "parts"
        if self.mention.kind == "relation" or (self.after and self.after[0].lower() in ("times", "time", "x")):
            return "times"
        per = self._per()
        if self.money:
            return self._money(phrase, per)
        if self.hyphen and phrase:
            return _many(phrase[0])
        if per.startswith("per_") and not phrase:
            return per
        if len(phrase) > 1 and phrase[0].lower() in MEASURES:
            return f"{phrase[-1]}_{phrase[0]}"
        head = phrase[-1] if phrase else self._nearby("number")
        return f"{head}_{per}" if per and phrase else head

    def _money(self, phrase: list[str], per: str) -> str:
        words = {word.lower() for word in (*self.before, *self.after[:3])}
        kind = (
            "price"
            if words & PRICE
            else "pay"
            if words & PAY or per.removeprefix("per_") in TIMES_OF_DAY
            else "dollars"
        )
        if per.startswith("per_"):
            return f"{'price' if kind == 'dollars' else kind}_{per}"
        if phrase:
            return f"{phrase[-1]}_{kind}"
        noun = next(_nouns(self.before), "") or next(_nouns(self.after), "") or next(_nouns(self.sentence), "")
        return noun if noun in ("price", "cost", "pay", "salary") or not noun else f"{noun}_{kind}"

    def _phrase(self) -> list[str]:
        """Return the noun phrase that follows: `large stickers` of 3 large stickers; nothing if another word does."""
        found: list[str] = []
        for word in self.after:
            low = word.lower()
            if not found and low in SKIPPED:
                continue
            if (
                not word[0].isalpha()
                or low in STOPS
                or (low in VERBS and not self.hyphen)
                or len(found) == _MOST_PHRASE
            ):
                break
            found.append(word)
        while len(found) > 1 and found[-1].lower().endswith(_NOT_NOUNS):
            found.pop()
        return found

    def _per(self) -> str:
        """Return per_hour of `6 miles per hour`, each of `7 cookies each`."""
        for at, word in enumerate(self.after[: _MOST_PHRASE + 1]):
            low = word.lower()
            placed = at > 0 and self.after[at - 1].lower() in ("in", "on", "for", "of", "at")
            if low in ("each", "every") or (low in ("per", "a", "an") and not placed and (at > 0 or self.money)):
                following = [other for other in self.after[at + 1 : at + 2] if other[0].isalpha()]
                if following and following[0].lower() not in STOPS | VERBS:
                    return f"per_{following[0]}"
                if low == "each":
                    return "each"
            if low in STOPS and low not in ("in", "on", "for", "of"):
                break
        return ""

    def _nearby(self, otherwise: str) -> str:
        return next(_nouns(self.after), "") or next(_nouns(self.sentence), otherwise)

    def qualifiers(self) -> Iterator[str]:
        """Yield words that tell this number from one of the same noun, the most telling first."""
        phrase = self._phrase()
        yield from phrase[:-1]
        yield from (word for word in self.after if _is_name(word))
        yield from (word for word in self.sentence if _is_name(word))
        yield from _nouns(self.after[len(phrase) :])
        yield from _nouns(self.before)
        yield from (word for word in self.before if word.lower() in VERBS)


def _until(ends: frozenset[str], words: Iterable[str]) -> Iterator[str]:
    """Yield words up to the first that ends what they are part of."""
    for word in words:
        if word.lower() in ends:
            return
        yield word


def _nouns(words: list[str]) -> Iterator[str]:
    for word in words:
        low = word.lower()
        if (
            word[0].isalpha()
            and len(word) > 1
            and low not in STOPS
            and low not in VERBS
            and low not in SKIPPED
            and (not low.endswith(_NOT_NOUNS))
        ):
            yield word


def _is_name(word: str) -> bool:
    return word[0].isupper() and word.lower() not in STOPS | VERBS | SKIPPED


def _many(noun: str) -> str:
    """Return a plain plural: a name needs no better one."""
    if noun.endswith(("s", "x", "ch", "sh")):
        return noun if noun.endswith("s") else noun + "es"
    return noun + "s"


def _clean(text: str) -> str:
    name = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")[:LONGEST].rstrip("_")
    return name if name[:1].isalpha() else ""


def _numbered(base: str, number: int) -> str:
    return base if number == 1 else f"{base}_{number}"
