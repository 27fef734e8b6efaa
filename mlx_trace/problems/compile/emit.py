"""A computation graph → the shortest trace that computes it, with names from the question.

A value is init'ed just before its first use; intermediates are step1, step2, …; the target is result.
"""

from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from itertools import count
from typing import Final

from mlx_trace.language.mentions import Mention
from mlx_trace.language.numbers import spell
from mlx_trace.problems.compile.names import Namer
from mlx_trace.problems.compile.node import PERCENT_OPS, Node, walk
from mlx_trace.problems.compile.route import entity_events, route

_JOINED: Final = ("add", "mul")  # of any number of arguments


def emit(target: Node, question: str, mentions: list[Mention]) -> str:
    """Return the canonical text of a trace that computes the target."""
    target = shortest(target)
    namer = Namer(question, mentions)
    expert = route(target, question)
    steps = _events(target, namer) if expert == "entity_track" else _steps(target, namer)
    return "\n".join([f"expert: {expert}", "trace:", *(f"- {{{step}}}" for step in steps)])


def _steps(target: Node, namer: Namer) -> Iterator[str]:
    names: dict[Node, str] = {}
    numbers = count(1)
    for node in walk(target):
        if node.op == "leaf":
            continue
        for arg in node.args:
            if arg.op == "leaf" and arg not in names:
                names[arg] = namer.name(arg)
                yield f"op: init, var: {names[arg]}, value: {spell(arg.value)}"
        names[node] = "result" if node is target else f"step{next(numbers)}"
        args = [names[arg] for arg in node.args]
        if node.op in PERCENT_OPS:
            yield f"op: {node.op}, base: {args[0]}, rate: {args[1]}, var: {names[node]}"
        else:
            yield f"op: compute, compute_op: {node.op}, args: [{', '.join(args)}], var: {names[node]}"
    yield "op: query, var: result"


def _events(target: Node, namer: Namer) -> Iterator[str]:
    """Yield the steps of a possession that only gains and loses."""
    start, events = entity_events(target) or (target, [])
    entity = namer.name(start)
    yield f"op: init, var: {entity}, value: {spell(start.value)}"
    for gained, amount in events:
        yield f"op: {'add_entity' if gained else 'consume'}, entity: {entity}, amount: {spell(amount.value)}"
    yield f"op: query, var: {entity}"


def shortest(target: Node) -> Node:
    """Return a graph of the same value: equal nodes are one, sums of sums and products of products are joined."""
    uses = Counter(id(arg) for node in walk(target) for arg in node.args)
    made: dict[int, Node] = {}
    constants: dict[Fraction, Node] = {}
    known: dict[tuple[str, tuple[int, ...]], Node] = {}
    for node in walk(target):
        if node.op == "leaf":  # a constant may have been made more than once
            made[id(node)] = node if node.mention is not None else constants.setdefault(node.value, node)
            continue
        args: list[Node] = []
        for arg in node.args:
            new = made[id(arg)]
            if node.op in _JOINED and arg.op == node.op and uses[id(arg)] == 1:
                args += new.args
            else:
                args.append(new)
        key = (node.op, tuple(map(id, args)))
        if key not in known:
            known[key] = Node(node.op, node.value, tuple(args), rate=node.rate, unit=node.unit)
        made[id(node)] = known[key]
    return made[id(target)]
