"""Equations → a computation graph over the question's numbers: each number of an equation finds where it comes from.

A number equal to an earlier result is that result, unless the question's own fits better.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Final

from mlx_trace.language.knowledge import CONSTANTS
from mlx_trace.problems.compile.equations import Equation
from mlx_trace.problems.compile.expression import Expression, Number, Operation, Symbol, evaluate
from mlx_trace.problems.compile.grounding import Asked, Grounding, pairs, same_noun
from mlx_trace.problems.compile.node import HUNDRED, Node, compute, share_of, walk

_SHARE: Final = Fraction(1, 100)
_SCALES: Final = tuple(map(Fraction, (100, 60, 1000, 12, 7, 24)))  # a result may be told in another unit


@dataclass(slots=True, eq=False)
class Result:
    """What an equation gave: its node, what the solution calls it, and how often it was used."""

    node: Node
    stated: Number
    uses: int = 0


@dataclass(frozen=True, slots=True)
class TakenResult:
    """A number of the solution that was taken for a result where the question states it too."""

    number: int  # of the solution's numbers, in the order they were resolved
    value: Fraction
    op: str
    result: Result


class Graph:
    """The graph of one solution, grown an equation at a time.

    `forced` says which mention a number of the solution is, by its place among them.
    """

    def __init__(self, grounding: Grounding, forced: Mapping[int, int] | None = None) -> None:
        self.grounding = grounding
        self.forced = forced or {}
        self.results: list[Result] = []
        self.choices: list[TakenResult] = []
        self.faults: list[str] = []
        self._resolved = 0
        self._taken: list[Result] = []  # by the equation at hand
        self._line = ""  # of the solution, that the equation at hand stands in
        self._percent = Fraction(1)  # what a percent sign is worth in it
        self._money = False  # whether it gives dollars
        self._is_list = False  # whether it is a sum of three or more

    def add(self, equation: Equation) -> None:
        """Add an equation if one of its expressions gives what is stated; note a fault if none does."""
        fault = ""
        self._line, self._taken = equation.line, []
        self.grounding.begin()
        for expression in equation.expressions:
            for percent in percent_readings(expression):
                try:
                    value = evaluate(expression, percent)
                except ZeroDivisionError:
                    fault = "division by zero"
                    continue
                except ValueError:
                    continue
                stated = equation.stated.value * (percent if equation.stated.percent else 1)
                if agrees(value, stated, equation.stated.places):
                    self._accept(expression, equation.stated, stated, percent)
                    return
                fault = fault or "an equation that does not hold"
        if fault:
            self.faults.append(fault)

    def _accept(self, expression: Expression, stated: Number, value: Fraction, percent: Fraction) -> None:
        self._percent, self._money, self._is_list = percent, stated.money, _is_list(expression)
        try:
            node = self._build(expression, stated.unit)
        except ZeroDivisionError:
            self.faults.append("division by zero")
            return
        if not node.args or not agrees(node.value, value, stated.places):
            return
        self.results.append(Result(node, Number(value, stated.unit, False, stated.places)))
        if stated.percent and percent != 1 and not node.rate:  # 7/20 is 35%
            points = compute("mul", node, self.grounding.leaf(None, HUNDRED))
            self.results.append(Result(replace(points, rate=True), Number(stated.value, "", True, stated.places)))

    def _build(self, expression: Expression, unit: str, op: str = "") -> Node:
        """Return the node of an expression that counts `unit` and is an operand of `op`."""
        if isinstance(expression, Symbol):
            raise ValueError(f"{expression.name} is unknown")
        if isinstance(expression, Number):
            if expression.percent and expression.value == HUNDRED:
                return self.grounding.leaf(None, HUNDRED * self._percent)
            value = expression.value * (self._percent if expression.percent else 1)
            kind = unit if op in ("add", "sub") else ""
            money = expression.money or (self._money and op in ("add", "sub", "div"))
            return self.resolve(Asked(value, expression.unit, op, self._line, kind, money))
        if expression.op == "div" and (fraction := self._fraction(expression, unit)) is not None:
            return fraction
        if _is_percentage(expression):
            return compute("mul", self._build(expression.left, "", "mul"), self.grounding.leaf(None, HUNDRED), unit)
        kind = unit if expression.op in ("add", "sub") else ""  # one adds things of a kind
        left = self._build(expression.left, kind, expression.op)
        right = self._build(expression.right, kind or left.unit, "over" if expression.op == "div" else expression.op)
        return compute(expression.op, left, right, unit)

    def _fraction(self, quotient: Operation, unit: str) -> Node | None:
        """Return 3/4, or 20*3/4, with the 3/4 as the one number that the question or a result states."""
        above, below = quotient.left, quotient.right
        product = above if isinstance(above, Operation) and above.op == "mul" else None
        above = above if product is None else product.right
        if not (isinstance(above, Number) and isinstance(below, Number)) or above.percent or below.percent:
            return None
        value = above.value / below.value
        if value.denominator == 1 or not (self.grounding.states(value) or self._earlier(Asked(value))):
            return None
        if self.grounding.offers(above.value) and self.grounding.offers(below.value):
            return None  # 3 miles at 6 miles an hour are no half
        part = self.resolve(Asked(value, below.unit, "mul", self._line))
        return part if product is None else compute("mul", self._build(product.left, "", "mul"), part, unit)

    def resolve(self, asked: Asked) -> Node:
        """Return where a number comes from: an earlier result or the question, as fits better; else knowledge."""
        self._resolved += 1
        if self._resolved in self.forced:
            return self.grounding.take(self.forced[self._resolved], asked.value)
        earlier, stated = self._earlier(asked), self.grounding.stated(asked)
        if earlier is not None and stated is None and self._converts(asked, earlier[1]):
            return self._known(asked)
        if earlier is not None and (stated is None or earlier[0] < stated[0]):
            _, result, node = earlier
            result.uses += 1
            self._taken.append(result)
            if stated is not None:
                self.choices.append(TakenResult(self._resolved, asked.value, asked.op, result))
            return node
        if stated is not None and not self.grounding.is_worn(stated[1], asked):
            return self.grounding.take(stated[1], asked.value)
        return self._known(asked)

    def _converts(self, asked: Asked, result: Result) -> bool:
        """Tell whether a number is a unit conversion rather than a result that equals it by chance: 60 min / 60."""
        again = asked.op == "over" and result in self._taken
        return asked.value in CONSTANTS and (again or (asked.op != "div" and self.grounding.is_spoken_unit(asked)))

    def _known(self, asked: Asked) -> Node:
        """Return a number that neither question nor results state: common knowledge, or a step done in the head."""
        grounding = self.grounding
        known = grounding.constant(asked.value, asked.unit) or grounding.unexplained(asked.value)
        if known is not None:
            return known
        derived = grounding.derived(asked.value, [result.node for result in self.results])
        if derived is None and asked.value < 0:  # a loss, told as -5
            return compute("sub", grounding.leaf(None, Fraction(0)), self.resolve(replace(asked, value=-asked.value)))
        if derived is None:
            return grounding.unknown(asked.value, asked.unit)
        grounding.used |= mentions_of(derived)
        return derived

    def _earlier(self, asked: Asked) -> tuple[float, Result, Node] | None:
        """Return the likeliest earlier result of a value, with its penalty: the latest, not yet used, of one noun."""
        best: tuple[float, Result, Node] | None = None
        for age, result in enumerate(reversed(self.results)):
            node = result.node
            if result.stated.value != asked.value:
                if not (node.rate and result.stated.value / 100 == asked.value):
                    continue
                node = share_of(node)
            again = 0.4 if self._is_list else 1.0  # what led to another is summed with it in the end
            penalty = -0.5 + (again if result.uses else 0.0) + 0.01 * age
            penalty += 1.5 if result in self._taken else 0.0
            if liked := asked.likes((result.stated.unit,)):
                penalty -= liked
            elif result.stated.unit and result.stated.unit in asked.line:
                penalty -= 0.3
            if best is None or penalty < best[0]:
                best = (penalty, result, node)
        return best

    def conclude(self, value: Fraction) -> Node | None:
        """Return a value as one step from the results nothing has used: what a solution only says in its last line."""
        grounding = self.grounding
        dangling = [result.node for result in self.results if not result.uses][::-1]
        unused = [leaf for index, mention in enumerate(grounding.mentions) if index not in grounding.used
                  and (leaf := grounding.leaf(index, mention.value)).value > 1]  # fmt: skip
        scales = [grounding.leaf(None, scale) for scale in _SCALES]
        for ones, others in ((dangling, dangling), (dangling, unused), (dangling[:1], scales)):
            for node in pairs(ones, others):
                if node.value == value:
                    return node
        return None if self.results or self.faults else grounding.derived(value, [])


def _is_list(expression: Expression) -> bool:
    inner = expression.left if isinstance(expression, Operation) and expression.op == "add" else None
    return isinstance(inner, Operation) and inner.op == "add"


def _is_percentage(expression: Operation) -> bool:
    """Tell whether an expression is a quotient times 100, as a share is told in percent."""
    part, points = expression.left, expression.right
    if expression.op != "mul" or not isinstance(part, Operation) or not isinstance(points, Number):
        return False
    return part.op == "div" and points.value == HUNDRED and not points.percent


def overlooked(graph: Graph, target: Node) -> dict[int, int]:
    """Return which numbers of the solution had better be mentions of the question, by their place.

    Where a result was taken though the question has that number too, and the question's own went unused or was only
    added, a product meant the question.
    """
    multiplied = {arg.mention for node in walk(target) if node.op not in ("add", "sub") for arg in node.args}
    used = mentions_of(target)
    forced: dict[int, int] = {}
    for index, mention in enumerate(graph.grounding.mentions):
        if mention.kind not in ("digits", "words") or index in multiplied:
            continue
        least = 1 if index in used else 2  # times that the result was used
        fitting = [choice for choice in graph.choices if choice.value == mention.value and choice.result.uses >= least
                   and choice.number not in forced]  # fmt: skip
        fitting = [choice for choice in fitting if not _of_another_kind(choice, graph.grounding.units[index])]
        products = [choice for choice in fitting if choice.op in ("mul", "div", "over")]
        if index in used:
            fitting = [choice for choice in products if choice.op == "mul" and choice.result.uses == 1]
        if fitting:
            forced[(products or fitting)[0].number] = index
    return forced


def _of_another_kind(choice: TakenResult, units: list[str]) -> bool:
    """Tell whether a sum took a result that the solution counts in another noun than the question its number."""
    unit = choice.result.stated.unit
    return choice.op in ("add", "sub") and bool(unit and units) and not any(same_noun(unit, noun) for noun in units)


def mentions_of(node: Node) -> set[int]:
    """Return the mentions that a node needs."""
    if node.op == "leaf":
        return set() if node.mention is None else {node.mention}
    return {leaf.mention for leaf in walk(node) if leaf.mention is not None}


def percent_readings(expression: Expression) -> Iterable[Fraction]:
    """Return what a percent sign may be worth in an expression: a point where all have it, else a hundredth first."""
    signs = {number.percent for number in _numbers(expression)}
    if signs <= {False}:
        return (Fraction(1),)
    return (Fraction(1), _SHARE) if signs == {True} else (_SHARE, Fraction(1))


def _numbers(expression: Expression) -> Iterator[Number]:
    if isinstance(expression, Operation):
        yield from _numbers(expression.left)
        yield from _numbers(expression.right)
    elif isinstance(expression, Number):
        yield expression


def agrees(value: Fraction, stated: Fraction, places: int) -> bool:
    """Tell whether a value is what was stated, or rounds to it at the places written."""
    return value == stated or (value.denominator > 1 and abs(value - stated) <= Fraction(1, 10**places))
