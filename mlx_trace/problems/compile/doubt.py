"""Why a computation that gives the answer is not believed: it comes to it by a coincidence of values.

Takes a computation and the numbers of its question; returns what is senseless about it, or nothing.
"""

import re
from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from itertools import combinations
from math import prod
from typing import Final

from mlx_trace.language.knowledge import called_numbers
from mlx_trace.problems.compile.grounding import Grounding
from mlx_trace.problems.compile.node import PERCENT_OPS, Node, walk

_COMPANY: Final = frozenset("friends brothers sisters siblings cousins sons daughters children kids others".split())
_IN_PERCENT: Final = re.compile(r"(?i)%|percent")
UNDECIDED: Final = "equal numbers that no word tells apart"
_LEAST_TELLING: Final = 3  # smaller numbers need no word that calls for them


def doubt(target: Node, grounding: Grounding) -> str:
    """Return why a computation is senseless, or an empty text."""
    return next(_doubts(target, grounding), "")


def _doubts(target: Node, grounding: Grounding) -> Iterator[str]:
    question = grounding.question
    for node in walk(target):
        leaves = [arg for arg in node.args if arg.op == "leaf"]
        if node.op == "mul" and sum(arg.rate for arg in leaves) > 1:
            yield "a percentage times a percentage"
        if node.op in PERCENT_OPS and node.args[0] in leaves and node.args[0].rate and not _in_percent(question):
            yield "a percentage times a percentage"
        again = any(count > 1 for count in Counter(id(arg) for arg in leaves if arg.mention is not None).values())
        if again and (node.op in ("div", "sub") or (node.op == "mul" and not grounding.evidence.is_square)):
            yield "a number with itself"
        if node.op == "div" and node.value == node.args[1].value and _is_constant(node.args[1]):
            yield "a square root"
        if node.op in ("sub", "div") and node.args[1].op == node.op and node.args[1].args[0] is node.args[0]:
            yield "a step that is undone"  # 52 - (52 - 7)
    if _comes_from_nowhere(target, grounding):
        yield "a number that no word calls for"
    if _is_bypassed(target, grounding):
        yield "a number used in place of another"


def _in_percent(question: str) -> bool:
    """Tell whether a question asks for a percentage, by its last sentence."""
    return _IN_PERCENT.search(re.split(r"(?<=[.!?]) ", question.strip())[-1]) is not None


def _is_constant(node: Node) -> bool:
    return node.op == "leaf" and node.mention is None and node.grounded


def _comes_from_nowhere(target: Node, grounding: Grounding) -> bool:
    """Tell whether common knowledge that nothing calls for stands in while a number of the question goes unused."""
    leaves = [node for node in walk(target) if node.op == "leaf"]
    called = called_numbers(grounding.question)
    uncalled = [leaf.value for leaf in leaves if _is_constant(leaf) and leaf.value not in called]
    if not any(value.denominator > 1 or value >= _LEAST_TELLING for value in uncalled):
        return False
    used = {leaf.mention for leaf in leaves}
    return any(index not in used and mention.value != 1 for index, mention in enumerate(grounding.mentions))


def _is_bypassed(target: Node, grounding: Grounding) -> bool:
    """Tell whether a number is used again for what others come to: 3 friends and oneself, 2 times 25 for another 50."""
    counted = {
        index: mention.value
        for index, mention in enumerate(grounding.mentions)
        if mention.kind in ("digits", "words") and mention.value != 1
    }
    uses = Counter(arg.mention for node in walk(target) for arg in node.args if arg.mention is not None)
    again = {counted[index] for index, count in uses.items() if count > 1 and index in counted}
    spare = counted.keys() - uses.keys()
    told = {counted[index] + 1 for index in spare if not _COMPANY.isdisjoint(grounding.units[index])}
    used = [counted[index] for index in spare & grounding.used]
    for several in (*combinations(used, 2), *combinations(used, 3)):
        told |= {Fraction(prod(several)), Fraction(sum(several))}
    return not again.isdisjoint(told)
