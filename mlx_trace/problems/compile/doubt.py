"""Why a computation that gives the answer may not be the one that is meant: it may come to it by a coincidence.

Takes a computation and the numbers of its question; returns what is senseless or unsure about it, or nothing. A row too
many that is not learnt from costs little, a wrong one much: what could be another number of equal value is doubted.
"""

import re
from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from itertools import combinations
from typing import Final

from mlx_trace.language.knowledge import suggested_numbers
from mlx_trace.language.measures import NUMBER, Measures, computed, counts_per_money, measures
from mlx_trace.language.numbers import spell
from mlx_trace.problems.compile.evidence import SPOKEN, is_time_of_day, same_noun
from mlx_trace.problems.compile.grounding import Grounding
from mlx_trace.problems.compile.node import PERCENT_OPS, Node, walk
from mlx_trace.problems.compile.stand_in import is_known_to_all, is_torn
from mlx_trace.problems.sentences import last_sentence

UNDECIDED: Final = "equal numbers that no word tells apart"
_UNUSED: Final = "a percentage that is not used"
_COMPANY: Final = frozenset("friends brothers sisters siblings cousins sons daughters children kids others".split())
_IN_PERCENT: Final = re.compile(r"(?i)%|percent")
_WHOLES: Final = frozenset(map(Fraction, ("0", "1", "100", "0.01")))  # what a part is taken of
_LEAST_TELLING: Final = 3  # smaller numbers need no word that calls for them
_LEAST_UNIT: Final = 7  # smaller numbers, if known to all, are known of too much
_TOLD_AGAIN: Final = ("all ", "these ", "those ", "the last ")  # all three are those that were told of before
_UNITS: Final = frozenset(map(Fraction, (7, 24, 60)))
_DOZEN: Final = 12
_OFTEN: Final = 2  # a number is multiplied, and added to what comes out


def doubt(target: Node, grounding: Grounding) -> str:
    """Return why a computation is senseless or unsure, or an empty text."""
    return next(_Doubts(target, grounding).reasons(), "")


def doubt_equation(target: Node, grounding: Grounding) -> str:
    """Return why an equation's computation is unsure, or an empty text: no words of a solution tell numbers apart."""
    doubts = _Doubts(target, grounding)
    if doubts.is_one_left():
        return UNDECIDED
    return _UNUSED if doubts.is_percentage_left() else ""


class _Doubts:
    """The numbers of one computation: how often each is used, and which are not."""

    def __init__(self, target: Node, grounding: Grounding) -> None:
        self.grounding = grounding
        self.question, self.mentions = grounding.question, grounding.mentions
        self.nodes = list(walk(target))
        self.uses = Counter(arg.mention for node in self.nodes for arg in node.args if arg.mention is not None)
        self.constants = [node.value for node in self.nodes if _is_constant(node)]
        self.counted = {
            index: mention.value
            for index, mention in enumerate(grounding.mentions)
            if mention.is_plain and mention.value != 1
        }
        self.spare = self.counted.keys() - self.uses.keys()

    def reasons(self) -> Iterator[str]:
        """Yield what is senseless, then what is unsure."""
        yield from self._senseless()
        if self._is_mixed():
            yield "unlike things in a sum, or money times money"
        if self._is_bypassed():
            yield "a number used in place of another"
        guessed = {id(node) for node in self.grounding.guessed}
        if any(id(node) in guessed for node in self.nodes):
            yield "a number worked out in the head"
        if any(self._is_out_of_place(index) for index in self.uses):
            yield "a place in a row or a time of day"
        if any(self._is_misread(node, arg) for node in self.nodes for arg in node.args if arg.op == "leaf"):
            yield "a part or a percentage read as a number"
        if self._comes_from_nowhere():
            yield "a number that no word calls for"
        if self._is_told_alike() or any(self._is_once(node) or _is_level(node) for node in self.nodes):
            yield "equal numbers of equal words"
        if self.is_percentage_left():
            yield _UNUSED
        if self.is_one_left():
            yield "an equal number that is not used"
        if self._is_worn():
            yield "a number used more often than it is stated"
        if is_known_to_all(self.nodes, self.grounding):
            yield "a number that may be common knowledge"
        if is_torn(self.nodes, self.mentions):
            yield "a part of a number beside an equal number for the other part"

    def is_one_left(self) -> bool:
        """Tell as the function does."""
        return any(self._is_left(leaf) for leaf in self.nodes if leaf.op == "leaf")

    def is_percentage_left(self) -> bool:
        """Tell whether a percentage is used nowhere: what it comes to was worked out in the head."""
        return any(mention.kind == "percent" and index not in self.uses for index, mention in enumerate(self.mentions))

    def _senseless(self) -> Iterator[str]:
        for node in self.nodes:
            leaves = [arg for arg in node.args if arg.op == "leaf"]
            if node.op == "mul" and sum(arg.rate for arg in leaves) > 1:
                yield "a percentage times a percentage"
            if node.op in PERCENT_OPS and node.args[0] in leaves and node.args[0].rate and not self._asks_percent():
                yield "a percentage times a percentage"
            again = any(count > 1 for count in Counter(id(arg) for arg in leaves if arg.mention is not None).values())
            if again and (node.op in ("div", "sub") or (node.op == "mul" and not self.grounding.evidence.is_square)):
                yield "a number with itself"
            if node.op == "div" and node.value == node.args[1].value and _is_constant(node.args[1]):
                yield "a square root"
            if node.op in ("sub", "div") and node.args[1].op == node.op and node.args[1].args[0] is node.args[0]:
                yield "a step that is undone"  # 52 - (52 - 7)

    def _is_mixed(self) -> bool:
        """Tell whether dollars are added to hours, or multiplied by dollars: one of them equals what is meant."""
        stated, is_told = measures(self.question), not counts_per_money(self.question)
        known: dict[int, Measures | None] = {}
        for node in self.nodes:  # operands first
            if node.op == "leaf":
                known[id(node)] = stated.get(spell(node.value), NUMBER)
            elif node.op in PERCENT_OPS:
                known[id(node)] = known[id(node.args[0])]
            else:
                known[id(node)] = computed(node.op, (known[id(arg)] for arg in node.args), is_told)
            if known[id(node)] == frozenset():
                return True
        return False

    def _asks_percent(self) -> bool:
        """Tell whether the question asks for a percentage, by its last sentence."""
        return _IN_PERCENT.search(last_sentence(self.question)) is not None

    def _is_bypassed(self) -> bool:
        """Tell whether a number may be used again for what others come to: 3 friends and oneself, 2 times 25 for 50."""
        again = {self.counted[index] for index, count in self.uses.items() if count > 1 and index in self.counted}
        if not again:
            return False
        company = {index for index in self.spare if not _COMPANY.isdisjoint(self.grounding.units[index])}
        told = {self.counted[index] + 1 for index in company}
        return not again.isdisjoint(told) or not self.spare.isdisjoint(self.grounding.used)

    def _is_out_of_place(self, index: int) -> bool:
        """Tell whether a number is the fourth day's, counted as four, or of a time of day."""
        mention = self.mentions[index]
        if mention.kind == "ordinal":
            return mention.value > 1 and any(node.mention == index and node.value > 1 for node in self.nodes)
        return mention.kind == "digits" and is_time_of_day(self.question, mention)

    def _is_misread(self, node: Node, arg: Node) -> bool:
        """Tell whether the 3 of 2/3 is added, or something divided by 10 for 10%, or by 2 for a couple."""
        if arg.mention is None:
            return False
        kind = self.mentions[arg.mention].kind
        if node.op == "div" and node.args[1] is arg:
            written = self.question[self.mentions[arg.mention].start : self.mentions[arg.mention].end].lower()
            return kind == "percent" or written.startswith(("couple", "pair"))
        return kind == "fraction" and arg.value.denominator == 1 and (node.op != "mul" or self._is_half_read(arg))

    def _is_half_read(self, part: Node) -> bool:
        """Tell whether something is multiplied by the two of two-thirds alone, or by the three."""
        whole = self.mentions[part.mention or 0].value
        read = {node.value for node in self.nodes if node.mention == part.mention}
        lone = part.value == whole.numerator and whole.denominator not in read
        return whole.numerator > 1 and (part.value == whole.denominator or lone)

    def _comes_from_nowhere(self) -> bool:
        """Tell whether common knowledge may stand in for a number of the question that goes unused."""
        known = {value for value in self.constants if value not in _WHOLES}
        if not known:
            return False
        added = (arg for node in self.nodes if node.op in ("add", "sub") for arg in node.args if _is_constant(arg))
        if any(arg.value not in _WHOLES | _UNITS for arg in added):  # 7 + 4 letters of names, counted by the solution
            return True
        unused = {mention.kind for index, mention in enumerate(self.mentions) if index not in self.uses}
        is_unread = not unused.isdisjoint(("relation", "fraction")) and not known <= _UNITS  # 24 / 3, for twice
        if is_unread or not known.isdisjoint(self._head()):
            return True
        if not self.spare and "ordinal" not in unused:
            return False
        return any(
            value < _LEAST_UNIT or value not in suggested_numbers(self.question)
            for value in known
            if value.denominator > 1 or value >= _LEAST_TELLING
        )

    def _head(self) -> set[Fraction]:
        """Return what numbers that are not used come to: 14 days for 2 weeks, 2 from table 1 to table 3."""
        spare = [n.value for i, n in enumerate(self.mentions) if n.is_plain and i not in self.uses]
        converted = {value * unit for value in spare for unit in _UNITS}
        beside = {value - 1 for value in self.counted.values()} if 1 in spare else set()  # one of four walls is not
        pairs = (pair for first, other in combinations(spare, 2) for pair in (abs(first - other), first + other))
        return converted.union(beside, pairs)

    def _is_once(self, node: Node) -> bool:
        """Tell whether a node is one of something, that is used on: 6 folders for 6 classes, each can be meant."""
        if node.op != "mul" or all(arg.mention is None or arg.value != 1 for arg in node.args):
            return False
        users = [user for user in self.nodes for arg in user.args if arg is node]
        return len(users) > 1 or any(user.op in ("mul", "div") for user in users)

    def _is_left(self, leaf: Node) -> bool:
        """Tell whether a number could as well be an equal one that is used nowhere, and counts something else."""
        if leaf.value == 1 or (leaf.value in _WHOLES and leaf.mention is None):
            return False
        return any(
            index not in self.uses and index != leaf.mention and self._is_mistakable(leaf, index)
            for index in self.grounding.by_value.get(leaf.value, ())
        )

    def _is_mistakable(self, leaf: Node, index: int) -> bool:
        """Tell whether a number could be meant by a leaf: twice is not two brothers, nor are two a pair of shoes."""
        mentions, units = self.mentions, self.grounding.units
        other = mentions[index]
        if leaf.mention is None:
            return other.is_plain
        if other.kind == "ordinal" or self.grounding.evidence.is_no_part(other):
            return False
        if self.question[: other.start].lower().endswith(_TOLD_AGAIN):
            return False
        own = mentions[leaf.mention]
        spoken, told = (self.question[m.start : m.end].lower() in SPOKEN for m in (own, other))
        if own.kind != other.kind and (spoken or (other.kind == "relation" and not told and other.value != _DOZEN)):
            return False
        first, second = units[leaf.mention][:1], units[index][:1]
        is_restated = own.kind == other.kind and first and second and same_noun(first[0], second[0])
        return not is_restated or len({node.mention for node in self.nodes if node.value == leaf.value} - {None}) > 1

    def _is_worn(self) -> bool:
        """Tell whether a number is used more often than stated: common knowledge or an equal one may be meant."""
        uses: dict[Fraction, list[tuple[int, bool]]] = {}
        for node in self.nodes:
            for arg in node.args:
                if arg.op == "leaf" and arg.mention is not None and not arg.rate and arg.value > 1:
                    uses.setdefault(arg.value, []).append((arg.mention, node.op in ("mul", "div")))
        ones = [(node.op, arg.mention) for node in self.nodes for arg in node.args if arg.value == 1]
        added = [index for op, index in ones if op in ("add", "sub") and index is not None]
        if len(set(added)) < len(added) or any(op == "div" and index is not None for op, index in ones):
            return True
        for value, used in uses.items():
            stated, factors = len({mention for mention, _ in used}), sum(is_factor for _, is_factor in used)
            often = factors > 1 or len(used) > _OFTEN or value in _UNITS
            common = value in _UNITS or value < _LEAST_UNIT
            if value in self.constants or (len(used) > stated and stated > 1) or self._is_halved(value):
                return True
            if len(used) > stated and often and common and value in suggested_numbers(self.question):
                return True
        return False

    def _is_told_alike(self) -> bool:
        """Tell whether equal numbers of one noun are used for different things: 3 bags, and another 3 bags."""
        roles: dict[tuple[Fraction, str], set[tuple[int, str]]] = {}
        for node in self.nodes:
            for place, arg in enumerate(node.args):
                if arg.mention in self.counted and (noun := self.grounding.units[arg.mention][:1]):
                    role = node.op if node.op in ("add", "mul") else f"{node.op} {place}"
                    roles.setdefault((arg.value, noun[0]), set()).add((arg.mention, role))
        return any(
            len({mention for mention, _ in used}) > 1 and len({role for _, role in used}) > 1 for used in roles.values()
        )

    def _is_halved(self, value: Fraction) -> bool:
        """Tell whether one divides by a part and by an equal count: for half, once more, two years may be taken."""
        below = {node.args[1].mention for node in self.nodes if node.op == "div" and node.args[1].value == value}
        kinds = {self.mentions[index].is_plain for index in below if index is not None}
        return len(kinds) > 1


def _is_level(node: Node) -> bool:
    """Tell whether a sum has a number of the question and an equal result: each may be the one that is meant."""
    if node.op != "add":
        return False
    terms = [term for arg in node.args for term in (arg.args if arg.op == "add" else (arg,))]
    stated = {term.value for term in terms if term.mention is not None}
    return any(term.args and term.value in stated for term in (*terms, *node.args))


def _is_constant(node: Node) -> bool:
    return node.op == "leaf" and node.mention is None and node.grounded
