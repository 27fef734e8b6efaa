"""Why an answer is what it is: the tree of its computation, down to the words of the question that state numbers."""

import re
from fractions import Fraction
from typing import Final

from rich.console import Group, RenderableType
from rich.text import Text
from rich.tree import Tree

from mlx_trace.evaluate.report.graph import ComputationGraph, GraphNode, graph
from mlx_trace.language.mentions import find_numbers
from mlx_trace.language.syntax import Trace

_BEFORE: Final = re.compile(r"(?:\S+\s+){0,2}$")
_AFTER: Final = re.compile(r"\S*(?:\s+\S+){0,2}")
_MOST: Final = 400  # lines of a tree


def render_graph(question: str, trace: Trace) -> RenderableType:
    """Return what leads to a trace's answer, or what it came to before it failed, as trees.

    What is used twice is shown once in full.
    """
    made, stated = graph(trace), _stated(question)
    behind = {arg for node in made.nodes for arg in node.args}
    answers = [number for number, node in enumerate(made.nodes) if node.is_answer]
    roots = answers or [number for number in range(len(made.nodes)) if number not in behind]
    shown: set[int] = set()
    return Group(*(_tree(made, root, stated, shown) for root in roots))


def _tree(made: ComputationGraph, root: int, stated: dict[Fraction, str], shown: set[int]) -> Tree:
    tree = Tree(_label(made, root, stated, root in shown))
    waiting = [(tree, root)]
    while waiting and len(shown) < _MOST:
        branch, number = waiting.pop()
        if number in shown:
            continue
        shown.add(number)
        inner = [(branch.add(_label(made, arg, stated, arg in shown)), arg) for arg in made.nodes[number].args]
        waiting += reversed(inner)
    return tree


def _label(made: ComputationGraph, number: int, stated: dict[Fraction, str], is_known: bool) -> Text:
    node, expression = made.nodes[number], made.expressions[number]
    text = Text(_named(node), style="bold green" if node.is_answer else "")
    if expression.op == "number":
        words = stated.get(expression.number)
        return text.append(f"  “{words}”" if words else "  not stated in the question", "dim" if words else "yellow")
    return text.append("  (see above)", "dim") if is_known and node.args else text


def _named(node: GraphNode) -> str:
    return f"{node.name} = {node.label}" if node.name else node.label


def _stated(question: str) -> dict[Fraction, str]:
    """Return for each number that a question states the words around it, of the first place that does."""
    words: dict[Fraction, str] = {}
    for mention in find_numbers(question):
        around = _around(question, mention.start, mention.end)
        for reading in mention.readings:
            words.setdefault(reading, around)
    return words


def _around(question: str, start: int, end: int) -> str:
    before, after = _BEFORE.search(question[max(0, start - 40) : start]), _AFTER.match(question, end, end + 40)
    return " ".join(f"{before[0] if before else ''}{question[start:end]}{after[0] if after else ''}".split())
