"""Where a number of a solution comes from: the question's words, common knowledge, or one step from these.

Takes a question and a number of its solution; returns the likeliest leaf for it. Knows nothing of equations.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from typing import Final

from mlx_trace.language.knowledge import CONSTANTS, known_numbers
from mlx_trace.language.mentions import Mention, find_numbers
from mlx_trace.problems.compile.node import HUNDRED, ONE, Node, compute, share_of
from mlx_trace.problems.compile.words import MULTIPLES, STOPS

_WORD: Final = re.compile(r"[A-Za-z][A-Za-z'’-]*")
_CLAUSE: Final = re.compile(r"[.,;:?!$0-9]|\b(?:and|but|or)\b")
_SPOKEN: Final = frozenset({"half", "twice", "double", "thrice", "triple"})
_ORDINALS: Final = frozenset({"third", "fourth", "fifth", "quarter"})  # parts, or places in a row
_MULTIPLIED: Final = re.compile(
    r"(?i)\b(?:twice|thrice|doubl\w*|tripl\w*|quadrupl\w*|times|as (?:many|much|long|old))\b"
)
_DIFFERENCES: Final = frozenset({"more", "fewer", "less", "older", "younger"})
_COUNTED: Final = re.compile(
    r"(?i)(?:[0-9]|\b(?:each|per|every|an?|one|two|three|four|five|six|seven|eight|nine|ten|twelve)) $"
)
MOST_MENTIONS: Final = 50  # numbers of a question that count; one with more is no word problem
MOST_IN_VAIN: Final = 50  # numbers from nowhere, after which no more are looked for
_LEAST_UNIT: Final = 7
_TELLING: Final = 20  # from here on a number is no chance hit of two others
_MOST_PAIRED: Final = 10
_AFTER: Final = 40  # characters behind a number in which its noun stands

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

    def likes(self, nouns: Sequence[str]) -> float:
        """Return how well nouns fit: the number's own noun says most, the noun of its sum less."""
        if self.unit:
            return 1.5 if any(same_noun(self.unit, noun) for noun in nouns) else 0.0
        return 0.5 if self.kind and any(same_noun(self.kind, noun) for noun in nouns) else 0.0


class Grounding:
    """The numbers of one question."""

    def __init__(self, question: str) -> None:
        self.question = question
        self.mentions: list[Mention] = find_numbers(question)[:MOST_MENTIONS]
        self.units = [self._words_after(mention) for mention in self.mentions]
        self.known = known_numbers(question)
        self.in_vain = 0  # numbers that no step explained
        self.used: set[int] = set()
        self.taken: set[tuple[int, Fraction]] = set()  # by the equation at hand, as which value
        self.leaves: dict[tuple[int | None, Fraction], Node] = {}
        self.by_value: dict[Fraction, list[int]] = {}
        for index, mention in enumerate(self.mentions):
            for reading in mention.readings:
                self.by_value.setdefault(reading, []).append(index)

    def _words_after(self, mention: Mention) -> list[str]:
        text = _CLAUSE.split(self.question[mention.end : mention.end + _AFTER], maxsplit=1)[0]
        return [word.lower() for word in _WORD.findall(text)][:4]

    def leaf(self, index: int | None, value: Fraction, unit: str = "", grounded: bool = True) -> Node:
        """Return the one leaf for a number of the question (or, with None, for a constant) read as `value`."""
        key = (index, value)
        if key not in self.leaves:
            self.leaves[key] = self._make(index, value, unit, grounded)
        return self.leaves[key]

    def _make(self, index: int | None, value: Fraction, unit: str, grounded: bool) -> Node:
        if index is None:
            return Node("leaf", value, grounded=grounded, unit=unit)
        mention = self.mentions[index]
        unit = self.units[index][0] if self.units[index] else ""
        if mention.kind == "percent" and value == mention.value / 100 and value != mention.value:
            return share_of(self.leaf(index, mention.value))
        return Node("leaf", value, mention=index, rate=mention.kind == "percent" and value == mention.value, unit=unit)

    def begin(self) -> None:
        """Begin an equation: what it takes from the question it will hardly take twice."""
        self.taken = set()

    def stated(self, asked: Asked) -> tuple[float, int] | None:
        """Return the likeliest mention of a number of the solution, with its penalty."""
        indices = self.by_value.get(asked.value)
        if not indices:
            return None
        penalties = [self._penalty(index, asked) + 0.1 * rank for rank, index in enumerate(indices)]
        best = min(range(len(indices)), key=penalties.__getitem__)
        return penalties[best], indices[best]

    def take(self, index: int, value: Fraction) -> Node:
        """Return the leaf of a mention, which is used from now on."""
        self.used.add(index)
        self.taken.add((index, value))
        return self.leaf(index, value)

    def _penalty(self, index: int, asked: Asked) -> float:
        """Return how unlikely a mention is meant: less if its noun is spoken of, more if it is used already."""
        mention, units, line = self.mentions[index], self.units[index], asked.line
        written = self.question[mention.start : mention.end]
        again = 0.3 if mention.kind in ("fraction", "relation") else 1.0  # a half is taken of several things
        penalty = again if index in self.used else 0.0
        penalty += 3.0 if (index, asked.value) in self.taken else 0.0
        if asked.value == mention.value and mention.kind != "percent" and self._is_worked_out(index, mention):
            penalty += 2.0  # 10 dozen, once 10 * 12 was computed
        penalty -= asked.likes(units)
        if units and any(f"{written}{gap}{units[0]}" in line for gap in (" ", "", "-")):
            penalty -= 0.8
        telling = [_stem(word) for word in units if word not in STOPS]
        spaced = f" {line}"  # day is not in Wednesday
        said = sum(f" {word}" in spaced for word in telling)
        penalty -= 0.5 * said / max(1, len(telling))
        if asked.money:
            penalty += -0.6 if self.question[: mention.start].endswith("$") else 0.6
        return penalty + self._fit(mention, written.lower(), units, asked)

    def _is_worked_out(self, index: int, mention: Mention) -> bool:
        """Tell whether a solution took a number's factors one by one, so that their product is a result of its own."""
        return any((index, part) in self.leaves and mention.value / part in mention.readings for part in mention.also
                   if part not in (0, 1, mention.value))  # fmt: skip

    def _fit(self, mention: Mention, word: str, units: list[str], asked: Asked) -> float:
        """Return how ill a mention's kind fits the operation: twice multiplies, a half divides, 3 more is added."""
        penalty = 0.0
        if mention.value != asked.value:
            halves = asked.op == "over" and mention.value == 1 / asked.value and word not in _ORDINALS
            penalty += -0.4 if halves else 0.4
        if word in _SPOKEN and re.search(rf"\b{word}\b", asked.line, re.IGNORECASE):
            penalty -= 0.8
        if word in MULTIPLES or units[:1] == ["times"]:
            spoken = word not in MULTIPLES or _MULTIPLIED.search(asked.line) is not None
            fits = {"mul": -0.6, "div": -0.6, "over": -0.3} if spoken else {"mul": -0.3, "div": 0.0, "over": -0.4}
            penalty += fits.get(asked.op, 0.6)
        if asked.op == "mul" and not _DIFFERENCES.isdisjoint(units[:2]):
            penalty += 0.4
        if word in ("pair", "pairs") and _COUNTED.search(self.question, 0, mention.start):
            penalty += 1.0  # two pairs are two
        return penalty

    def is_worn(self, index: int, asked: Asked) -> bool:
        """Tell whether a mention was used already and common knowledge is meant now: a unit, or 2 without a twice."""
        if index not in self.used:
            return False
        word = self.question[self.mentions[index].start : self.mentions[index].end].lower()
        alone = len(self.by_value[asked.value]) == 1
        twice = alone and word == "twice" and asked.value in CONSTANTS and _MULTIPLIED.search(asked.line) is None
        return twice or self.is_spoken_unit(asked)

    def is_spoken_unit(self, asked: Asked) -> bool:
        """Tell whether a factor is a unit conversion that the solution's line speaks of."""
        if asked.op not in ("mul", "div", "over") or asked.value < _LEAST_UNIT:
            return False
        spoken = asked.line.lower()
        return any(count == asked.value and part and whole in spoken and (part in spoken or part in self.question)
                   for whole, part, count in UNITS)  # fmt: skip

    def states(self, value: Fraction) -> bool:
        """Tell whether the question states a number, in whatever reading."""
        return value in self.by_value

    def offers(self, value: Fraction) -> bool:
        """Tell whether the question states a number in digits that nothing has used."""
        free = (self.mentions[index] for index in self.by_value.get(value, ()) if index not in self.used)
        return any(mention.kind == "digits" and mention.value == value for mention in free)

    def constant(self, value: Fraction, unit: str) -> Node | None:
        """Return a leaf for what everybody knows, None if nobody does; `unit` is what the solution calls it."""
        return self.leaf(None, value, unit) if value in self.known else None

    def unexplained(self, value: Fraction) -> Node | None:
        """Return the leaf of a number that came from nowhere before, None if it is new."""
        leaf = self.leaves.get((None, value))
        return None if leaf is None or leaf.grounded else leaf

    def unknown(self, value: Fraction, unit: str) -> Node:
        """Return a leaf for a number that comes from nowhere."""
        return self.leaf(None, value, unit, grounded=False)

    def derived(self, value: Fraction, results: Sequence[Node]) -> Node | None:
        """Return a value as one step from what is stated or computed, as people compute in their heads; or None."""
        if self.in_vain >= MOST_IN_VAIN:
            return None
        for node in self._in_the_head(results, value):
            if node.value == value:
                return node
        self.in_vain += 1
        return None

    def _in_the_head(self, results: Sequence[Node], value: Fraction) -> Iterator[Node]:
        """Yield what a solution takes for granted, the likeliest first: complements, conversions, what is left over."""
        order = sorted(range(len(self.mentions)), key=lambda index: index in self.used)
        stated = [(index, self.leaf(index, self.mentions[index].value)) for index in order]
        yield from self._complements(stated)
        for index, leaf in stated:
            yield from self._conversions(index, leaf)
        unused = [leaf for index, leaf in stated if index not in self.used]
        yield from pairs(unused, unused)
        latest = list(results[:-4:-1])
        numbers = [*latest, *(leaf for _, leaf in stated)]
        if value >= _TELLING or value.denominator > 1:  # a small number is found too easily
            yield from pairs(latest, numbers)
        else:
            yield from (node for node in pairs(latest[:1], unused) if not _undoes(node))

    def _complements(self, stated: list[tuple[int, Node]]) -> Iterator[Node]:
        """Yield what is left of a whole, or the whole with it: 100% - 20%, 1 - 1/4, 6 - 1 of sixths."""
        hundred, unit = self.leaf(None, HUNDRED), self.leaf(None, ONE)
        left, rest = hundred, unit
        for index, leaf in stated:
            if leaf.rate:
                for points in (compute("sub", hundred, leaf), compute("add", hundred, leaf)):
                    yield points
                    yield share_of(points)
                left = compute("sub", left, leaf)
                yield left
                yield share_of(left)
            elif leaf.value.denominator > 1 and leaf.value < 1:
                rest = compute("sub", rest, leaf)
                yield from (compute("sub", unit, leaf), compute("add", unit, leaf), rest)
                yield from self._parts(index, leaf.value)

    def _parts(self, index: int, fraction: Fraction) -> Iterator[Node]:
        """Yield a fraction counted in its parts: of sixths 5 are left, a quarter is 25 percent."""
        readings = self.mentions[index].readings
        below, above = Fraction(fraction.denominator), Fraction(fraction.numerator)
        if below in readings:
            part = self.leaf(index if above in readings else None, above)
            yield compute("sub", self.leaf(index, below), part)
            yield compute("add", self.leaf(index, below), part)
        yield replace(compute("mul", self.leaf(index, fraction), self.leaf(None, HUNDRED)), rate=True)

    def _conversions(self, index: int, leaf: Node) -> Iterator[Node]:
        words = self.units[index][:2]
        for whole, _, count in UNITS:
            if any(same_noun(whole, word) for word in words):
                yield compute("mul", leaf, self.leaf(None, Fraction(count)))
        for _, part, count in UNITS:
            if part and any(same_noun(part, word) for word in words):
                yield compute("div", leaf, self.leaf(None, Fraction(count)))


def pairs(ones: Sequence[Node], others: Sequence[Node]) -> Iterator[Node]:
    """Yield the sum, product, difference and quotients of two numbers, one of each list, a number never with itself."""
    for left in ones[:_MOST_PAIRED]:
        for right in others[:_MOST_PAIRED]:
            if left is right or left.rate != right.rate or left.value <= 0 or right.value <= 0:
                continue
            yield compute("add", left, right)
            high, low = (left, right) if left.value > right.value else (right, left)
            yield compute("sub", high, low)
            if ONE not in (high.value, low.value):
                yield compute("mul", left, right)
                yield compute("div", high, low)


def _undoes(node: Node) -> bool:
    """Tell whether a node gives what one of its arguments was made of."""
    return any(node.value == inner.value for arg in node.args for inner in arg.args)


def same_noun(first: str, second: str) -> bool:
    """Tell whether two words are one noun, singular or plural."""
    return first == second or _stem(first) == _stem(second)


@lru_cache(maxsize=8192)
def _stem(word: str) -> str:
    word = word.removesuffix("'s").removesuffix("’s")
    if word.endswith("ies"):
        return word[:-3] + "y"
    return word[:-2] if word.endswith(("ses", "xes", "ches", "shes")) else word.removesuffix("s")
