"""Of the ways to wire a solution's numbers to its question the likeliest, or none where the words do not decide.

Takes a graph that was grown by taking each number where it fits best by itself, and a function that grows it anew.
"""

from collections.abc import Callable, Mapping, Sequence, Set
from itertools import islice
from typing import Final

from mlx_trace.problems.compile.choice import Origin, Use, Way, ambiguous, ways
from mlx_trace.problems.compile.emit import shortest
from mlx_trace.problems.compile.evidence import same_noun
from mlx_trace.problems.compile.graph import Graph
from mlx_trace.problems.compile.grounding import Grounding
from mlx_trace.problems.compile.kinds import Kinds
from mlx_trace.problems.compile.node import Node, walk
from mlx_trace.problems.compile.words import STOPS

Wired = tuple[Graph, Node]
Grow = Callable[[Mapping[int, Origin]], Wired | None]  # from candidates by a number's place in the solution

_CLOSE: Final = 0.2  # two ways are as likely if their costs differ by less
_NEAR: Final = 0.5  # by which a way may cost more and still be the one, for the kinds of its numbers
_KINDS: Final = 0.3  # what their agreement counts, if it differs clearly
_CLEARLY: Final = 1.0
_MOST_TRIED: Final = 6  # ways of one value


def decide(wired: Wired, grow: Grow) -> tuple[Wired, bool]:
    """Return the likeliest graph and target, and whether no other one that means something else is as likely."""
    choices = [(group, ways(group, wired[0].uses)) for group in ambiguous(wired[0].uses)]
    if not choices:
        return wired, True
    best = {place: candidate for group, options in choices for place, candidate in _places(group, options[0]).items()}
    if any(best[use.place].source != use.taken.source for group, _ in choices for use in group):
        wired = grow(best) or wired
    kinds, meaning = Kinds(wired[0].grounding), _meaning(wired)
    for group, options in choices:
        for way in islice(options, 1, _MOST_TRIED if group[0].value != 1 else 1):  # one is one, wherever it stands
            loss = way.cost - options[0].cost
            other = grow(best | _places(group, way)) if loss <= _NEAR else None
            if other is None or (told := _meaning(other)) == meaning:
                continue
            gain = kinds.fit(other[1]) - kinds.fit(wired[1])
            loss -= _KINDS * gain if abs(gain) >= _CLEARLY else 0.0
            wired, meaning = (other, told) if loss < 0 else (wired, meaning)
            if abs(loss) < _CLOSE:
                return wired, False
    return wired, True


def _places(group: Sequence[Use], way: Way) -> dict[int, Origin]:
    return {use.place: candidate for use, candidate in zip(group, way.chosen, strict=True)}


def _meaning(wired: Wired) -> str:
    """Return what is computed of what: order does not matter in sums, nor which of two places that say the same."""
    graph, target = wired
    told: dict[int, str] = {}
    nodes = list(walk(target := shortest(target)))
    used = {node.mention for node in nodes if node.mention is not None}
    for node in nodes:
        if node.op == "leaf":
            told[id(node)] = f"{node.value}@{_first_told(node.mention, used, graph.grounding)}"
            continue
        args = [told[id(arg)] for arg in node.args]
        told[id(node)] = f"{node.op}({','.join(sorted(args) if node.op in ('add', 'mul') else args)})"
    return told[id(target)]


def _first_told(index: int | None, used: Set[int], grounding: Grounding) -> int | None:
    """Return the first mention that says the same as one, number and noun, if no more than one of them is used."""
    if index is None or not grounding.units[index] or grounding.units[index][0] in STOPS:
        return index
    mention, noun = grounding.mentions[index], grounding.units[index][0]
    same = [
        place
        for place, other in enumerate(grounding.mentions)
        if (other.value, other.kind) == (mention.value, mention.kind)
        and any(same_noun(first, noun) for first in grounding.units[place][:1])
    ]
    return same[0] if len(used & set(same)) == 1 else index
