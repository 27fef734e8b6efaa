"""A number of the question that stands where another is meant, which happens to have its value.

Takes the nodes of a computation and the numbers of its question; tells whether one may stand for what everybody knows,
or for the other part of a number that is used in parts.
"""

from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from typing import Final

from mlx_trace.language.knowledge import called_numbers
from mlx_trace.language.mentions import Mention
from mlx_trace.problems.compile.grounding import Grounding
from mlx_trace.problems.compile.node import Node
from mlx_trace.problems.compile.words import MEASURES

_LEAST_UNIT: Final = 7  # smaller numbers are called for by too many words


def is_known_to_all(nodes: Sequence[Node], grounding: Grounding) -> bool:
    """Tell whether 12 members stand where the months of a year are called for: no step names the members."""
    constants = {node.value for node in nodes if node.op == "leaf" and node.mention is None}
    called = {value for value in called_numbers(grounding.question) - constants if value >= _LEAST_UNIT}
    factors = [arg for node in nodes for place, arg in enumerate(node.args)
               if arg.value in called and (node.op == "mul" or (node.op == "div" and place == 1))]  # fmt: skip
    again = Counter(id(arg) for arg in factors if arg.args)
    return any(count > 1 for count in again.values()) or any(
        grounding.mentions[arg.mention].is_plain
        and grounding.mentions[arg.mention].value == arg.value
        and arg.mention not in grounding.spoken_of
        and arg.unit not in MEASURES
        for arg in factors
        if arg.mention is not None
    )


def is_torn(nodes: Sequence[Node], mentions: Sequence[Mention]) -> bool:
    """Tell whether two dozen are twelve, times the two of two brothers, or 2/3 are not left of the 1/3."""
    for node in nodes:
        is_share = node.op == "div" and node.args[0].op == "mul"
        beside = node.args[0].args if is_share else node.args if node.op == "mul" else ()
        for part in (arg for arg in node.args if arg.mention is not None):
            rest = _rest(mentions[part.mention or 0], part.value)
            found = [arg.mention for arg in beside if arg.op == "leaf" and arg.value == rest]
            if found and part.mention not in found:
                return True
    return False


def _rest(mention: Mention, part: Fraction) -> Fraction | None:
    """Return what goes with a part of a number: the 2 of two dozen with 12, the two thirds left of a third with 3."""
    whole = mention.value
    if mention.kind == "fraction":
        left = whole.denominator - whole.numerator
        return Fraction(left) if left > 1 and part == whole.denominator else None
    return whole / part if part in mention.also and part not in (0, whole) else None
