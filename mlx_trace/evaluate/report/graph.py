"""A trace's computation as a graph: its numbers, its operations with what they come to, and what leads to the answer.

Takes a trace, which may have failed: what ran before its fault is drawn. Knows nothing of places on a page.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Final

from mlx_trace.evaluate.computation import Expression, defined
from mlx_trace.language.numbers import spell
from mlx_trace.language.solver import MAX_PARTS, Failed, solve
from mlx_trace.language.steps import Query
from mlx_trace.language.syntax import Trace

_SIGNS: Final = {"add": " + ", "sub": " − ", "mul": " × ", "div": " ÷ "}
_PERCENT: Final = {"percent_of": "{1}% of {0}", "percent_off": "{0} − {1}%", "percent_increase": "{0} + {1}%"}
_LONGEST: Final = 10  # characters of a number
_MOST_SHOWN: Final = 4  # operands in a label
_MOST_COMPARED: Final = 200  # operations and numbers: adding a to a 60 times makes 2^60


@dataclass(frozen=True, slots=True)
class GraphNode:
    """A number or an operation; `args` are the numbers of the nodes it is computed from, which come before it.

    `is_other` says that the computation it is compared with has nothing like it.
    """

    label: str
    name: str
    args: tuple[int, ...]
    leads: bool = True  # to the answer
    is_answer: bool = False
    is_other: bool = False


@dataclass(slots=True)
class ComputationGraph:
    """The nodes of a computation, operands before operations."""

    nodes: list[GraphNode] = field(default_factory=list)
    expressions: list[Expression] = field(default_factory=list)  # of the nodes

    @property
    def known(self) -> set[Expression]:
        """Return what is computed on the way, in the usual form; of what is too large to compare, nothing."""
        return {expression.usual for expression in self.expressions if expression.size <= _MOST_COMPARED}

    def marked(self, usual: set[Expression]) -> "ComputationGraph":
        """Return it with the nodes marked that are not among what another computation has."""
        nodes = [replace(node, is_other=expression.size <= _MOST_COMPARED and expression.usual not in usual)
                 for node, expression in zip(self.nodes, self.expressions, strict=True)]  # fmt: skip
        return ComputationGraph(nodes, self.expressions)

    def marked_numbers(self, stated: set[Fraction]) -> "ComputationGraph":
        """Return it with the numbers marked that are not stated."""
        nodes = [replace(node, is_other=expression.op == "number" and expression.number not in stated)
                 for node, expression in zip(self.nodes, self.expressions, strict=True)]  # fmt: skip
        return ComputationGraph(nodes, self.expressions)


def graph(trace: Trace) -> ComputationGraph:
    """Return the graph of what a trace computes, up to the step that failed if one did."""
    failed = solve(trace)
    growing = _Growing()
    answers: list[Expression] = []
    for number, part in enumerate(trace.parts[:MAX_PARTS]):
        ran = len(part.steps)
        if isinstance(failed, Failed):
            ran = 0 if number > failed.part else failed.step if number == failed.part else ran
        values: dict[str, Expression] = {}
        for _, (step, changed) in zip(range(ran), defined(part, answers), strict=False):
            values |= changed
            growing.add(changed)
            if isinstance(step, Query):
                answers.append(values[step.var])
    return growing.finished(answers[-1] if answers and not isinstance(failed, Failed) else None)


class _Growing:
    """A graph to which steps add nodes; the same object is the same node."""

    def __init__(self) -> None:
        self._graph = ComputationGraph()
        self._at: dict[int, int] = {}  # node by its expression's identity
        self._values: dict[int, Fraction] = {}

    def add(self, changed: Mapping[str, Expression]) -> None:
        """Add what a step changed, under the names that it gives."""
        for name, expression in changed.items():
            for arg in expression.args:
                self._node(arg, "")
            self._node(expression, name)

    def _node(self, expression: Expression, name: str) -> None:
        if id(expression) in self._at:
            return
        for arg in expression.args:  # an operation within one has been a step, so this ends at once
            self._node(arg, "")
        args = [self._values[id(arg)] for arg in expression.args]
        value = expression.number if expression.op == "number" else _computed(expression.op, args)
        self._at[id(expression)], self._values[id(expression)] = len(self._graph.nodes), value
        self._graph.nodes.append(
            GraphNode(_label(expression.op, args, value), name, tuple(self._at[id(arg)] for arg in expression.args))
        )
        self._graph.expressions.append(expression)

    def finished(self, answer: Expression | None) -> ComputationGraph:
        """Return the graph, with what leads to the answer told apart, if there is one."""
        if answer is None:
            return self._graph
        last = self._at[id(answer)]
        used = set(_behind(self._graph.nodes, last))
        self._graph.nodes = [replace(node, leads=number in used, is_answer=number == last)
                             for number, node in enumerate(self._graph.nodes)]  # fmt: skip
        return self._graph


def _behind(nodes: list[GraphNode], last: int) -> Iterator[int]:
    """Yield the nodes on which one depends, and it."""
    waiting, seen = [last], {last}
    while waiting:
        number = waiting.pop()
        yield number
        new = set(nodes[number].args) - seen
        seen |= new
        waiting += new


def _computed(op: str, args: list[Fraction]) -> Fraction:
    first, *others = args
    for other in others:
        match op:
            case "add":
                first += other
            case "sub":
                first -= other
            case "mul":
                first *= other
            case "div":
                first /= other
            case "percent_of":
                first = first * other / 100
            case "percent_off":
                first = first * (100 - other) / 100
            case "percent_increase":
                first = first * (100 + other) / 100
            case _:
                raise ValueError(op)
    return first


def _label(op: str, args: list[Fraction], value: Fraction) -> str:
    if op == "number":
        return brief(value)
    shown = [brief(arg) for arg in args]
    if op in _PERCENT:
        return f"{_PERCENT[op].format(*shown)} = {brief(value)}"
    if len(shown) > _MOST_SHOWN:
        shown = [*shown[: _MOST_SHOWN - 2], "…", shown[-1]]
    return f"{_SIGNS[op].join(shown)} = {brief(value)}"


def brief(value: Fraction) -> str:
    """Return a number in at most ten characters, or about it."""
    text = spell(value)
    return text.replace("-", "−") if len(text) <= _LONGEST else f"{float(value):.4g}".replace("-", "−")
