"""Which of several equal numbers of a question is meant: what they count, and for each of what, decides.

Takes a computation whose numbers were found by value; returns the one whose sums are of one kind. Apples are not added
to dollars, nor 3 lives for each player to 8 friends, though both be 3.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import islice, permutations, product
from typing import Final

from mlx_trace.problems.compile.context import Place
from mlx_trace.problems.compile.evidence import same_noun
from mlx_trace.problems.compile.graph import mentions_of
from mlx_trace.problems.compile.grounding import Grounding
from mlx_trace.problems.compile.node import PERCENT_OPS, Node, walk
from mlx_trace.problems.compile.nouns import words_in
from mlx_trace.problems.compile.words import AMOUNTS, COMPARATIVES

_ASKED: Final = re.compile(r"(?i)\bhow many (?:more |fewer |total |extra )?([a-z]+)")
_MOST_WAYS: Final = 120  # in which equal numbers are tried
_MOST_USES: Final = 400  # of numbers in one computation that are tried elsewhere
_CLEARLY: Final = 0.75  # by which another way must be better than the first
_MOST_MENDED: Final = 8  # of them that are mended
_CLASH: Final = -2.0
_COMPARED: Final = COMPARATIVES | {"as", "the", "that", "his", "her"}  # behind times: how many times as many
_EXCHANGED: Final = frozenset(("dollar", "euro", "rupee", "yen"))
_PRICED: Final = ("price", "pay")


@dataclass(frozen=True, slots=True)
class Kind:
    """What a number counts: its noun (none where it is unknown), for each of what (`per`), whether it is money.

    `of` is what money is the price of; a `factor` says how many times, or what part.
    """

    noun: str = ""
    per: str = ""
    money: bool = False
    of: str = ""
    factor: bool = False


_PLAIN: Final = Kind("1")
_FACTOR: Final = Kind("1", factor=True)
_UNSURE: Final = "?"  # per something, or not


class Kinds:
    """The kinds of a question's numbers, and how well computations agree with them."""

    def __init__(self, grounding: Grounding) -> None:
        self.grounding = grounding
        self._text = words_in(grounding.question)
        self._known: dict[tuple[int, Fraction], Kind] = {}
        asked = _ASKED.findall(grounding.question)
        self._asked = asked[-1].lower() if asked else ""

    def settle(self, target: Node) -> Node:
        """Return the computation with those of equal numbers that fit it best; itself where none is clearly better.

        First a use at a time, of mentions and results alike; then all mentions of a value together.
        """
        used = len(mentions_of(target))
        settled = self._by_uses(target)
        settled = settled if len(mentions_of(settled)) >= used else target
        best, most = settled, self.fit(settled) + _CLEARLY
        for way in islice(self._ways(settled), _MOST_WAYS):
            other = _put(settled, way)
            if (fit := self.fit(other)) > most:
                best, most = other, fit
        return best

    def _by_uses(self, target: Node) -> Node:
        """Return the computation with each use of a number that another one fits clearly better mended."""
        fit = self.fit(target)
        for _ in range(_MOST_MENDED):
            best = max(islice(self._mended(target), _MOST_USES), key=self.fit, default=target)
            if self.fit(best) <= fit + _CLEARLY:
                break
            target, fit = best, self.fit(best)
        return target

    def _mended(self, target: Node) -> Iterator[Node]:
        """Yield the computation with one use of a number taken from elsewhere, the question or an earlier result."""
        before: list[Node] = []
        for node in walk(target):
            for index, arg in enumerate(node.args):
                for other in (*self._mentions(arg), *(node for node in before if node.value == arg.value)):
                    if other is not arg:
                        args = (*node.args[:index], other, *node.args[index + 1 :])
                        yield _put(target, {id(node): replace(node, args=args)})
            if node.args:
                before.append(node)

    def _mentions(self, number: Node) -> list[Node]:
        """Return the other places where the question states a number, as leaves."""
        stating = [index for index, mention in enumerate(self.grounding.mentions) if mention.value == number.value]
        if number.mention is None and not number.args:
            return []  # common knowledge stays what it is
        if number.value == 1 and number.mention is not None:
            return [self.grounding.leaf(None, number.value)]  # once and twice as much
        own = mentions_of(number)  # two dozen are no 24 that stands elsewhere
        return [self.grounding.leaf(index, number.value) for index in stating if index not in own]

    def _ways(self, target: Node) -> Iterator[dict[int, Node]]:
        """Yield other choices of mentions for the leaves whose value is stated more than once."""
        by_value: dict[Fraction, list[Node]] = {}
        for leaf in walk(target):
            if leaf.mention is not None and not leaf.args:
                by_value.setdefault(leaf.value, []).append(leaf)
        choices = []
        for value, leaves in by_value.items():
            stating = [index for index, mention in enumerate(self.grounding.mentions) if mention.value == value]
            if len(stating) > 1 and all(leaf.mention in stating for leaf in leaves):
                ways = islice(permutations(stating, len(leaves)), _MOST_WAYS)
                choices.append([
                    [(leaf, self.grounding.leaf(index, value)) for leaf, index in zip(leaves, way, strict=True)]
                    for way in ways
                ])  # fmt: skip
        for chosen in product(*choices) if choices else ():
            yield {id(leaf): new for group in chosen for leaf, new in group}

    def clashes(self, target: Node) -> bool:
        """Tell whether a computation adds money to things: then some number of it is not the one that was meant."""
        return self._judge(target)[1]

    def mend(self, target: Node) -> Node | None:
        """Return a computation that adds nothing to what it is not: itself, or another of the numbers; else None.

        What a solution's words chose is not questioned otherwise.
        """
        if not self.clashes(target):
            return target
        settled = self.settle(target)
        return None if self.clashes(settled) else settled

    def fit(self, target: Node) -> float:
        """Return how well the kinds of a computation's numbers agree."""
        return self._judge(target)[0]

    def _judge(self, target: Node) -> tuple[float, bool]:
        kinds: dict[int, Kind] = {}
        total, clashes = 0.0, False
        for node in walk(target):
            if not node.args:
                kinds[id(node)] = self.kind_of(node)
                continue
            args = [kinds[id(arg)] for arg in node.args]
            agreement = _agreement(node.op, args)
            clashes = clashes or agreement <= _CLASH
            total += agreement
            kinds[id(node)] = _combined(node.op, args)
        is_asked = bool(self._asked) and (not kinds[id(target)].noun or same_noun(kinds[id(target)].noun, self._asked))
        return total + (_CLEARLY + 0.1 if is_asked else 0.0), clashes

    def kind_of(self, leaf: Node) -> Kind:
        """Return the kind of a number of the question, by the words around it."""
        if leaf.mention is None:
            return _PLAIN
        key = (leaf.mention, leaf.value)
        if key not in self._known:
            self._known[key] = self._read(leaf, leaf.mention)
        return self._known[key]

    def _read(self, leaf: Node, index: int) -> Kind:
        place = Place(self._text, self.grounding.mentions[index])
        name = place.base(leaf).lower()
        mention = self.grounding.mentions[index]
        if mention.kind == "ordinal" or (name.endswith("parts") and mention.value.numerator > 1):
            return Kind()  # third place, six quarters: who knows
        if leaf.value.denominator > 1 and mention.kind == "fraction":
            return Kind()  # half a mile, half as much
        relation = mention.kind == "relation" or not _COMPARED.isdisjoint(place.after[1:2])
        if (name.startswith("times") and relation) or name.endswith(("percent", "fraction", "parts", "ratio")):
            return _FACTOR
        noun, _, per = name.partition("_per_")
        if name.endswith("_each"):
            noun, per = name.removesuffix("_each"), "each"
        compared = noun.rpartition("_")[2] in COMPARATIVES
        noun = noun.rpartition("_")[0] if compared else noun
        money = place.money or noun.rpartition("_")[2] in AMOUNTS
        of = noun.rpartition("_")[0]
        if money and per in _EXCHANGED:
            return _FACTOR  # dollars for each euro
        if money:
            per = per or ("each" if noun.split("_")[-1] in _PRICED and place.after[:1] == ["each"] else "")
            noun = "money"
        elif compared:
            noun = ""  # 30 more may be dollars
        return Kind(noun, per, money, of if money else "")


def _put(target: Node, way: dict[int, Node]) -> Node:
    """Return a computation with other nodes in place of some."""
    made: dict[int, Node] = {}
    for node in walk(target):
        changed = way.get(id(node), node)
        args = tuple(made.get(id(arg), arg) for arg in changed.args)
        same = all(arg is other for arg, other in zip(args, changed.args, strict=True))
        made[id(node)] = changed if same else replace(changed, args=args)
    return made[id(target)]


def _agreement(op: str, args: Sequence[Kind]) -> float:
    first, other = args[0], args[-1]
    if op in PERCENT_OPS:
        return 1.0 if other.factor and not first.factor else -1.0
    if _PLAIN in (first, other):
        return 0.0
    if first.factor or other.factor:
        return 1.0 if op in ("mul", "div") else _CLASH if first.factor != other.factor else 0.0
    if op in ("add", "sub"):
        return _alike(first, other)
    if op in ("mul", "div"):
        return _together(op, first, other)
    return 0.0


def _alike(first: Kind, other: Kind) -> float:
    """Return how well two numbers are added or taken from each other."""
    if "" in (first.noun, other.noun):
        return 0.5  # who knows
    if first.money != other.money:
        return _CLASH
    if bool(first.per) != bool(other.per) and _UNSURE not in (first.per, other.per):
        return -1.0
    return 1.0 if same_noun(first.noun, other.noun) else 0.0


def _together(op: str, first: Kind, other: Kind) -> float:
    """Return how well two numbers are multiplied, or one is divided by the other."""
    if op == "div":
        if other.per and not first.per:
            return 1.0 if same_noun(first.noun, other.noun) else -0.5
        return -1.0 if first.per and not other.per and not first.money else 0.0
    if first.money and other.money:
        return _CLASH
    if any(left.of and same_noun(left.of, right.noun) for left, right in ((first, other), (other, first))):
        return 1.0
    if bool(first.per) == bool(other.per):
        return -1.0 if not first.per and same_noun(first.noun, other.noun) and not first.money else 0.0
    rate, count = (first, other) if first.per else (other, first)
    if same_noun(rate.noun, count.noun):
        return -1.0
    return 1.0 if rate.per == "each" or same_noun(rate.per, count.noun) else 0.0


def _combined(op: str, args: Sequence[Kind]) -> Kind:
    """Return the kind of what an operation gives."""
    first, other = args[0], args[-1]
    if op == "mul":
        return _product(first, other)
    if op in PERCENT_OPS:
        return first
    if op == "div":
        if other.noun == _PLAIN.noun:
            return first if other.factor else _converted(first)
        if same_noun(first.noun, other.noun) and first.money == other.money:
            return Kind(other.per.replace("each", "")) if other.per else _PLAIN
        return Kind(first.noun, other.noun, first.money)
    if op == "add" and not same_noun(first.noun, other.noun):
        return replace(first, noun="") if first.money == other.money else Kind()
    return first if first != _PLAIN else other


def _converted(kind: Kind) -> Kind:
    """Return the kind of a number that a constant was applied to: minutes for hours, dollars for dimes."""
    return replace(kind, noun="" if kind.noun != _PLAIN.noun else kind.noun, per=_UNSURE if kind.per else "", of="")


def _product(first: Kind, other: Kind) -> Kind:
    for left, right in ((first, other), (other, first)):
        if left.noun == _PLAIN.noun:
            return right if left.factor else _converted(right)
    if first.money or other.money:
        return Kind("money", _UNSURE if first.per and other.per else "", money=True)
    if bool(first.per) == bool(other.per):
        return Kind()
    return Kind(first.noun if first.per else other.noun)
