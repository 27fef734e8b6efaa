"""The computation graph's nodes: numbers from the question or from common knowledge, and what is computed of them.

Constructors fold what changes nothing (times 1, plus 0) and see percentages where a solution divides by 100.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Final, Literal

Op = Literal["leaf", "add", "sub", "mul", "div", "percent_of", "percent_off", "percent_increase"]
PERCENT_OPS: Final = frozenset({"percent_of", "percent_off", "percent_increase"})
ONE: Final = Fraction(1)
HUNDRED: Final = Fraction(100)


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """A number: a leaf, or `op` of `args`. Two nodes are one if they are the same object.

    A leaf is stated by `mention` (an index into the question's numbers), or common knowledge, or else not `grounded`.
    `rate` tells that it counts percent points; `unit` is the noun it counts.
    """

    op: Op
    value: Fraction
    args: "tuple[Node, ...]" = ()
    mention: int | None = None
    grounded: bool = True
    rate: bool = False
    unit: str = ""


def is_constant(node: Node, value: Fraction) -> bool:
    """Tell whether a node is a leaf of this value that stands nowhere in the question."""
    return node.op == "leaf" and node.mention is None and node.value == value


def compute(op: str, left: Node, right: Node, unit: str = "") -> Node:
    """Return the node of an operation; raises ZeroDivisionError."""
    return _CONSTRUCTORS[op](left, right, unit)


def share_of(rate: Node) -> Node:
    """Return the hundredth part of a number of percent points."""
    if rate.op == "mul" and is_constant(rate.args[1], HUNDRED):
        return rate.args[0]
    return Node("div", rate.value / 100, (rate, Node("leaf", HUNDRED)))


def rate_of(node: Node) -> Node | None:
    """Return the percent points that a node is the hundredth part of, if it is one."""
    if node.op == "div" and node.args[0].rate and is_constant(node.args[1], HUNDRED):
        return node.args[0]
    return None


def _add(left: Node, right: Node, unit: str) -> Node:
    for base, other in ((left, right), (right, left)):
        if is_constant(other, Fraction(0)):
            return base
        if (loss := _loss(other)) is not None:  # 71 + -3
            return _sub(base, loss, unit)
        if other.op == "percent_of" and other.args[0] is base:
            return Node("percent_increase", left.value + right.value, other.args, unit=unit)
    for whole, other in ((left, right), (right, left)):
        if is_constant(whole, ONE) and (rate := rate_of(other)) is not None:  # 1 + 20% is 120%
            return share_of(_add(Node("leaf", HUNDRED), rate, ""))
    rate_like = _counts_points(left, right)
    return Node("add", left.value + right.value, (left, right), rate=rate_like, unit=unit)


def _sub(left: Node, right: Node, unit: str) -> Node:
    if is_constant(right, Fraction(0)):
        return left
    if (loss := _loss(right)) is not None and not is_constant(left, Fraction(0)):
        return _add(left, loss, unit)
    if right.op == "percent_of" and right.args[0] is left:
        return Node("percent_off", left.value - right.value, right.args, unit=unit)
    if is_constant(left, ONE) and (rate := rate_of(right)) is not None:  # 1 - 20% is 80%
        return share_of(_sub(Node("leaf", HUNDRED), rate, ""))
    return Node("sub", left.value - right.value, (left, right), rate=_counts_points(left, right), unit=unit)


def _loss(node: Node) -> Node | None:
    """Return the number that a node is the negative of, if it was made so: 0 - 5."""
    return node.args[1] if node.op == "sub" and is_constant(node.args[0], Fraction(0)) else None


def _counts_points(left: Node, right: Node) -> bool:
    return (left.rate or right.rate) and all(node.rate or is_constant(node, HUNDRED) for node in (left, right))


def _mul(left: Node, right: Node, unit: str) -> Node:
    for base, other in ((left, right), (right, left)):
        if is_constant(other, ONE):
            return base
        if (rate := rate_of(other)) is not None:
            return percent_of(base, rate, unit)
        if other.rate and base.op == "div" and is_constant(base.args[1], HUNDRED):  # 50/100*20
            return percent_of(base.args[0], other, unit)
        if is_constant(other, Fraction(1, 100)) and base.op == "mul":  # 50*20*.01
            return _hundredth(base, unit) or Node("mul", left.value * right.value, (left, right), unit=unit)
        if is_constant(other, Fraction(1, 100)) and base.rate:
            return share_of(base)
    return Node("mul", left.value * right.value, (left, right), unit=unit)


def _div(left: Node, right: Node, unit: str) -> Node:
    value = left.value / right.value
    above, below = _loss(left), _loss(right)
    if above is not None and below is not None:
        return _div(above, below, unit)
    if is_constant(right, ONE):
        return left
    if is_constant(right, HUNDRED):
        if left.rate:
            return share_of(left)
        if left.op == "mul" and (share := _hundredth(left, unit)) is not None:
            return share
    return Node("div", value, (left, right), unit=unit)


def _hundredth(product: Node, unit: str) -> Node | None:
    """Return a hundredth of a product as a percentage, if one of its factors counts percent points."""
    left, right = product.args
    if right.rate:
        return percent_of(left, right, unit)
    return percent_of(right, left, unit) if left.rate else None


def percent_of(base: Node, rate: Node, unit: str = "") -> Node:
    """Return a percentage of a number; of 100 - r percent it is r percent off, of 100 + r an increase."""
    value = base.value * rate.value / 100
    if rate.op in ("add", "sub"):
        first, second = rate.args
        if is_constant(first, HUNDRED) and second.rate:
            return Node("percent_off" if rate.op == "sub" else "percent_increase", value, (base, second), unit=unit)
    return Node("percent_of", value, (base, rate), unit=unit)


_CONSTRUCTORS: Final = {"add": _add, "sub": _sub, "mul": _mul, "div": _div}


def walk(target: Node) -> Iterator[Node]:
    """Yield every node a target needs, once, arguments before what uses them."""
    seen: set[int] = set()
    waiting: list[tuple[Node, bool]] = [(target, False)]
    while waiting:
        node, ready = waiting.pop()
        if id(node) in seen:
            continue
        if ready or not node.args:
            seen.add(id(node))
            yield node
            continue
        waiting.append((node, True))
        waiting.extend((arg, False) for arg in reversed(node.args))
