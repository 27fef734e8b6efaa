"""Equations → a computation graph over the question's numbers: each number of an equation finds where it comes from.

A number equal to an earlier result is that result, unless the question's own fits better.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Final

from mlx_trace.problems.compile.choice import Origin, Use, repeated
from mlx_trace.problems.compile.equations import Equation
from mlx_trace.problems.compile.evidence import Asked
from mlx_trace.problems.compile.expression import Expression, Number, Operation, Symbol, evaluate
from mlx_trace.problems.compile.grounding import Grounding, pairs
from mlx_trace.problems.compile.node import HUNDRED, Node, compute, share_of, walk

_SHARE: Final = Fraction(1, 100)
_SCALES: Final = tuple(map(Fraction, (100, 60, 1000, 12, 7, 24)))  # a result may be told in another unit


@dataclass(slots=True, eq=False)
class Result:
    """What an equation gave: its node, what the solution calls it, and how often it was used."""

    node: Node
    stated: Number
    uses: int = 0


class Graph:
    """The graph of one solution, grown an equation at a time.

    `forced` says where a number of the solution comes from, by its place among them.
    """

    def __init__(self, grounding: Grounding, forced: Mapping[int, Origin] | None = None) -> None:
        self.grounding = grounding
        self.forced = forced or {}
        self.results: list[Result] = []
        self.uses: list[Use] = []
        self.faults: list[str] = []
        self._resolved = 0
        self._equation = 0
        self._taken: Counter[tuple[int | None, int | None]] = Counter()
        self._here: Counter[tuple[int | None, int | None]] = Counter()  # taken by the equation at hand
        self._line = ""  # of the solution, that the equation at hand stands in
        self._percent = Fraction(1)  # what a percent sign is worth in it
        self._money = False  # whether it gives dollars
        self._is_list = False  # whether it is a sum of three or more

    def add(self, equation: Equation) -> None:
        """Add an equation if one of its expressions gives what is stated; note a fault if none does."""
        fault = ""
        self._line, self._here = equation.line, Counter()
        self._equation += 1
        for expression in equation.expressions:
            for percent in percent_readings(expression, equation.stated.percent):
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
        if not (node.args or node.mention is not None) or not agrees(node.value, value, stated.places):
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
            return self.resolve(Asked(value, expression.unit, op, self._line, kind, money, expression.percent))
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
        is_result = any(self._earlier(Asked(value)))
        if value.denominator == 1 or not (self.grounding.states(value) or is_result):
            return None
        if not is_result and self.grounding.offers(above.value) and self.grounding.offers(below.value):
            return None  # 3 miles at 6 miles an hour are no half
        part = self.resolve(Asked(value, below.unit, "mul", self._line))
        return part if product is None else compute("mul", self._build(product.left, "", "mul"), part, unit)

    def resolve(self, asked: Asked) -> Node:
        """Return where a number comes from: an earlier result, the question or common knowledge, as fits best."""
        self._resolved += 1
        candidates = self._candidates(asked)
        op = "square" if asked.op == "mul" and self.grounding.evidence.is_square else asked.op
        forced = self.forced.get(self._resolved)
        taken = next((other for other in candidates if forced is not None and other.source == forced.source), None)
        if taken is None:
            taken = min(candidates, key=lambda candidate: self._cost(candidate, op), default=None)
        if taken is None:
            return self._known(asked)
        self.uses.append(Use(self._resolved, self._equation, asked.value, op, tuple(candidates), taken))
        self._taken[taken.source] += 1
        self._here[taken.source] += 1
        if taken.result is not None:
            result = self.results[taken.result]
            result.uses += 1
            return result.node if result.stated.value == asked.value else share_of(result.node)
        if taken.mention is None:
            return self._known(asked)
        if self.grounding.evidence.is_spoken_of(taken.mention, asked):
            self.grounding.spoken_of.add(taken.mention)
        return self.grounding.take(taken.mention, asked.value)

    def _cost(self, candidate: Origin, op: str) -> float:
        source = candidate.source
        return candidate.penalty + repeated(candidate, op, self._taken[source], self._here[source])

    def _candidates(self, asked: Asked) -> list[Origin]:
        """Return where a number may come from, and how ill each place fits what the solution says of it."""
        origins, indices = list(self._earlier(asked)), self.grounding.by_value.get(asked.value, ())
        constant = self.grounding.evidence.of_constant(asked) if origins or indices else None
        is_choice = len(origins) + len(indices) + (constant is not None) > 1
        origins += [self._mentioned(index, rank, asked, is_choice) for rank, index in enumerate(indices)]
        return origins if constant is None else [*origins, Origin(constant)]

    def _mentioned(self, index: int, rank: int, asked: Asked, is_choice: bool) -> Origin:
        """Return a mention as a candidate; of equal ones the first is a little likelier."""
        mention = self.grounding.mentions[index]
        penalty = self.grounding.evidence.of_mention(index, asked) + 0.05 * rank if is_choice else 0.0
        if asked.value == mention.value and mention.kind != "percent" and self.grounding.is_worked_out(index, mention):
            penalty += 2.0  # 10 dozen, once 10 * 12 was computed
        is_part = mention.kind in ("fraction", "relation")
        counts = mention.kind != "ordinal" and asked.value != 1
        sentence = self.grounding.evidence.sentences[index]
        return Origin(penalty, mention=index, is_part=is_part, counts=counts, sentence=sentence)

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

    def _earlier(self, asked: Asked) -> Iterator[Origin]:
        """Yield the earlier results of a value: the latest, those of its noun and those that its line names first."""
        for age, index in enumerate(range(len(self.results) - 1, -1, -1)):
            result = self.results[index]
            if result.stated.value != asked.value and not (
                result.node.rate and result.stated.value / 100 == asked.value
            ):
                continue
            penalty = -0.5 + 0.01 * age
            if liked := asked.likes((result.stated.unit,)):
                penalty -= liked
            elif result.stated.unit and result.stated.unit in asked.line:
                penalty -= 0.3
            yield Origin(penalty, result=index, is_part=self._is_list)

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
                    grounding.guessed.append(node)
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


def mentions_of(node: Node) -> set[int]:
    """Return the mentions that a node needs."""
    if node.op == "leaf":
        return set() if node.mention is None else {node.mention}
    return {leaf.mention for leaf in walk(node) if leaf.mention is not None}


def percent_readings(expression: Expression, is_share: bool = False) -> Iterable[Fraction]:
    """Return what a percent sign may be worth in an expression: a point where all have it, else a hundredth first.

    `is_share`: what it comes to has one, too: 9/10=90%.
    """
    signs = {number.percent for number in _numbers(expression)}
    if signs <= {False}:
        return (Fraction(1), _SHARE) if is_share else (Fraction(1),)
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
