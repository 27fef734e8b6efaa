"""Where a number of a solution comes from: the question's words, common knowledge, or one step from these.

Takes a question and a number of its solution; returns the likeliest leaf for it. Knows nothing of equations.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from functools import lru_cache
from typing import Final

from mlx_trace.language.knowledge import known_numbers
from mlx_trace.language.mentions import Mention, find_numbers
from mlx_trace.problems.compile.evidence import UNITS, Evidence, same_noun
from mlx_trace.problems.compile.node import HUNDRED, ONE, Node, compute, share_of

MOST_MENTIONS: Final = 50  # numbers of a question that count; one with more is no word problem
MOST_IN_VAIN: Final = 50  # numbers from nowhere, after which no more are looked for
_TELLING: Final = 20  # from here on a number is no chance hit of two others
_MOST_PAIRED: Final = 10


class Grounding:
    """The numbers of one question."""

    def __init__(self, question: str) -> None:
        self.question = question
        self.evidence = _evidence(question)
        self.mentions: list[Mention] = list(self.evidence.mentions)
        self.units = self.evidence.units
        self.known = known_numbers(question)
        self.in_vain = 0  # numbers that no step explained
        self.guessed: list[Node] = []  # steps done in the head with numbers that no word names
        self.used: set[int] = set()
        self.spoken_of: set[int] = set()  # mentions whose noun a step says
        self.leaves: dict[tuple[int | None, Fraction], Node] = {}
        self.by_value: dict[Fraction, list[int]] = {}
        for index, mention in enumerate(self.mentions):
            for reading in mention.readings:
                if reading != 1 or mention.value.denominator == 1:  # the one of 1/4 is no number of its own
                    self.by_value.setdefault(reading, []).append(index)

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

    def take(self, index: int, value: Fraction) -> Node:
        """Return the leaf of a mention, which is used from now on."""
        self.used.add(index)
        return self.leaf(index, value)

    def is_worked_out(self, index: int, mention: Mention) -> bool:
        """Tell whether a solution took a number's factors one by one, so that their product is a result of its own."""
        return any((index, part) in self.leaves and mention.value / part in mention.readings for part in mention.also
                   if part not in (0, 1, mention.value))  # fmt: skip

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
        order = sorted(range(len(self.mentions)), key=lambda index: index in self.used)
        stated = [(index, self.leaf(index, self.mentions[index].value)) for index in order]
        granted = (node for node in self._granted(stated) if node.value == value)
        guessed = (node for node in self._guesses(results, stated, value) if node.value == value)
        if (node := next(granted, None)) is None:
            node = next(guessed, None)
            self.guessed += [] if node is None else [node]
        self.in_vain += node is None
        return node

    def _granted(self, stated: list[tuple[int, Node]]) -> Iterator[Node]:
        """Yield what a solution takes for granted, the likeliest first: complements, conversions."""
        yield from self._complements(stated)
        for index, leaf in stated:
            yield from self._conversions(index, leaf)

    def _guesses(self, results: Sequence[Node], stated: list[tuple[int, Node]], value: Fraction) -> Iterator[Node]:
        """Yield what may have been done in the head: one step with what is left over, or with the latest results."""
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
        for op, count in _changes(tuple(self.units[index][:2])):
            yield compute(op, leaf, self.leaf(None, count))


@lru_cache(maxsize=1024)
def _changes(words: tuple[str, ...]) -> tuple[tuple[str, Fraction], ...]:
    """Return what changes a unit that is among some words into another: hours times 60, minutes by 60."""
    into_parts = [count for whole, _, count in UNITS if any(same_noun(whole, word) for word in words)]
    into_wholes = [count for _, part, count in UNITS if part and any(same_noun(part, word) for word in words)]
    return (*(("mul", Fraction(count)) for count in into_parts), *(("div", Fraction(count)) for count in into_wholes))


@lru_cache(maxsize=8)
def _evidence(question: str) -> Evidence:
    return Evidence(question, find_numbers(question)[:MOST_MENTIONS])


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
